"""Renders the chart with Helm's own engine, and holds what comes out to Kubernetes' schemas and to truepeer itself.

Called by packaging/kubernetes/check with the program; UPDATE=1 writes the plain manifests anew."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import helm_python
import kubernetes_validate
import yaml

here = pathlib.Path(__file__).parent
program = sys.argv[1]
BALANCERS = ["", "aws", "hetzner", "digitalocean", "openstack", "ovh", "scaleway", "linode", "vultr"]
# The oldest release that the chart takes, and the newest whose schemas are at hand.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
problems = []


def fail(text):
    problems.append(text)
    print("FAILED:", text)


def render(values):
    with helm_python.Chart.load(str(here / "truepeer")) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name="truepeer", namespace="front")
    text = ""
    for name in sorted(files):
        body = files[name].strip()
        if body and name.endswith(".yaml"):
            text += "" if body.startswith("---") else "---\n"
            text += body + "\n"
    return text


def documents(text):
    return [one for one in yaml.safe_load_all(text) if one]


def hold(name, text):
    """What is rendered is what Kubernetes takes, and the configuration in it is what truepeer takes."""
    found = documents(text)
    for one in found:
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except Exception as error:  # each kind of fault has a type of its own
                fail(f"{name}: {one['kind']} {one['metadata']['name']} for {version}: {error}")
    kinds = {one["kind"]: one for one in found}
    pod = next(one for one in found if one["kind"] in ("Deployment", "DaemonSet"))["spec"]["template"]["spec"]
    container = pod["containers"][0]
    selector, labels = kinds["Service"]["spec"]["selector"], None
    for one in found:
        if one["kind"] in ("Deployment", "DaemonSet"):
            labels = one["spec"]["template"]["metadata"]["labels"]
    if not selector.items() <= labels.items():
        fail(f"{name}: the service selects other pods")
    targets = {port["name"] for port in container["ports"]}
    if not {port["targetPort"] for port in kinds["Service"]["spec"]["ports"]} <= targets:
        fail(f"{name}: the service names ports that the pod has not")
    config = kinds["ConfigMap"]["data"]["truepeer.toml"]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / "truepeer.toml").write_text(config)
        checked = subprocess.run([program, "check", str(path / "truepeer.toml")], capture_output=True, text=True)
        if checked.returncode:
            fail(f"{name}: the configuration in it: {checked.stdout}{checked.stderr}")
        listens = {int(port) for port in re.findall(r"\[::\]:(\d+)", checked.stdout)}
        for port in container["ports"]:
            if port["containerPort"] not in listens:
                fail(f"{name}: nobody listens on {port['containerPort']}: {checked.stdout}")


def main():
    plain = {"deployment.yaml": {}, "daemonset.yaml": {"kind": "DaemonSet", "service": {"type": "ClusterIP"}}}
    for name, values in plain.items():
        text = f"# Made from packaging/kubernetes/truepeer with its own values; `packaging/kubernetes/check` holds it to them.\n{render(values)}"
        file = here / name
        if os.environ.get("UPDATE"):
            file.write_text(text)
        elif not file.exists() or file.read_text() != text:
            fail(f"{name} is stale: run packaging/kubernetes/check with UPDATE=1")
        hold(name, text)
    for kind in ("Deployment", "DaemonSet"):
        for balancer in BALANCERS:
            hold(f"{kind} behind {balancer or 'nobody named'}", render({"kind": kind, "service": {"balancer": balancer}}))
    # A mistake in the values is refused, and a mistake in a manifest is found: this check can fail.
    for wrong in ({"kind": "StatefulSet"}, {"service": {"balancer": "azure"}}, {"ports": []}):
        try:
            render(wrong)
        except Exception:
            continue
        fail(f"the values {wrong} are taken")
    broken = documents(render({}))
    broken = next(one for one in broken if one["kind"] == "Deployment")
    broken["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["httpGett"] = {}
    try:
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)
        fail("a misspelt probe is taken")
    except Exception:
        pass
    linted = helm_python.lint(str(here / "truepeer"))
    if linted["errors"]:
        fail(f"lint: {linted}")
    if problems:
        sys.exit(1)
    print(f"rendered with {helm_python.helm_sdk_version()}, valid for Kubernetes {' and '.join(VERSIONS)}: "
          f"{len(plain)} plain files, 2 kinds behind {len(BALANCERS)} balancers, each configuration taken by truepeer")


main()
