"""What came of changes to the code: figures, and survivors that nobody has named. Called by scripts/mutants."""

import collections
import json
import pathlib
import re
import sys

# Of the gateway only what its rooms decide is tried, by unit tests alone: that is shown, and has no bar.
BAR = {"truepeer-proto": 0.97, "truepeer": 0.97}
NAMED = pathlib.Path(__file__).with_name("mutants.equivalent")


def equivalent():
    """Change, without its place in the file, and why it means the same."""
    named = {}
    for line in NAMED.read_text().splitlines():
        if line and not line.startswith("#"):
            change, _, reason = line.partition(" -- ")
            if not reason:
                sys.exit(f"{NAMED}: without a reason: {line}")
            named[change] = reason
    return named


def main(files):
    named = equivalent()
    sums = collections.defaultdict(collections.Counter)
    survivors = {}
    for file in files:
        for outcome in json.loads(pathlib.Path(file).read_text())["outcomes"]:
            mutant = outcome["scenario"]
            if not isinstance(mutant, dict):
                continue
            mutant = mutant["Mutant"]
            name = re.sub(r":\d+:\d+:", ":", mutant["name"], count=1)
            # A change after which nothing ends is noticed, too.
            kind = {"CaughtMutant": "caught", "Timeout": "caught", "MissedMutant": "missed"}.get(outcome["summary"])
            sums[mutant["package"]][kind or "unviable"] += 1
            if kind == "missed":
                survivors[name] = mutant["package"]
                sums[mutant["package"]]["same"] += name in named
    failed = False
    for package, sum in sums.items():
        viable = sum["caught"] + sum["missed"]
        # What means the same can be noticed by nobody.
        other = viable - sum["same"]
        share = sum["caught"] / other if other else 1
        print(
            f"{package}: {sum['caught']} of {other} changes caught ({share:.1%}); of all {viable} that compile"
            f" {sum['same']} mean the same; {sum['unviable']} do not compile"
        )
        failed |= share < BAR.get(package, 0)
    for name in sorted(survivors):
        if name in named:
            print(f"  means the same: {name} ({named[name]})")
        else:
            failed |= survivors[name] in BAR
            print(f"  SURVIVED: {name}")
    sys.exit(failed)


main(sys.argv[1:])
