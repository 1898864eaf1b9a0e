"""Holds each compose file to the published schema, and truepeer's configuration beside it to truepeer and to the server's own.

Called by packaging/compose/check with the program."""

import importlib.util
import ipaddress
import json
import pathlib
import subprocess
import sys
import tempfile

import jsonschema
import yaml

here = pathlib.Path(__file__).parent
program = sys.argv[1]
# Its program is not used, and so not imported.
carried_by = pathlib.Path(importlib.util.find_spec("check_jsonschema").origin).parent
schema = carried_by / "builtin_schemas/vendor/compose-spec.json"
validator = jsonschema.validators.validator_for(json.loads(schema.read_text()))(json.loads(schema.read_text()))
# What of each server's own configuration is read, and how truepeer knows it.
NEIGHBOURS = {
    "docker-mailserver": "dovecot:dovecot.cf",
    "mailcow": "mailcow:mailcow.conf",
    "mailu": "mailu:mailu.env",
    "stalwart": "stalwart:config.toml",
}
problems = 0


def fail(text):
    global problems
    problems += 1
    print("FAILED:", text)


def wrong(text):
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


def run(folder, *arguments):
    return subprocess.run([program, "check", *arguments], capture_output=True, text=True, cwd=folder)


for name, neighbour in NEIGHBOURS.items():
    folder = here / name
    text = (folder / "compose.yaml").read_text()
    for error in wrong(text):
        fail(f"{name}/compose.yaml: {error}")
    if not wrong(text.replace("stop_grace_period", "stop_grace")):
        fail(f"{name}: a misspelt key is taken: this check finds nothing")
    compose = yaml.safe_load(text)
    own = run(folder, "truepeer.toml")
    if own.returncode:
        fail(f"{name}/truepeer.toml: {own.stdout}{own.stderr}")
    # Every published port is one that truepeer listens on, and no header port of the server's is published.
    published = {one.split(":")[-1] for one in compose["services"]["truepeer"]["ports"]}
    for port in published:
        if f"[::]:{port} " not in own.stdout:
            fail(f"{name}: port {port} is published, and truepeer does not listen there")
    for service, said in compose["services"].items():
        if service != "truepeer" and any(not one.startswith("127.0.0.1:") for one in said.get("ports", [])):
            fail(f"{name}: {service} publishes ports: whoever reaches a header port says who its client is")
    # The addresses that the server is told are truepeer's in the network.
    told = compose["services"]["truepeer"]["networks"]
    address = next(one["ipv4_address"] for one in told.values())
    where = neighbour.split(":")[1] if name != "mailcow" else "extra.conf"
    if address not in (folder / where).read_text():
        fail(f"{name}/{where} does not trust {address}")
    for network, of in compose["networks"].items():
        for block in ((of or {}).get("ipam") or {}).get("config", []):
            if network in told and ipaddress.ip_address(address) not in ipaddress.ip_network(block["subnet"]):
                fail(f"{name}: {address} is not in {block['subnet']}")
    both = run(folder, "truepeer.toml", "--neighbour", neighbour, "--json")
    findings = [line for line in both.stdout.splitlines() if '"class"' in line]
    if both.returncode not in (0, 4) or findings:
        fail(f"{name}: truepeer and the server do not agree: {both.stdout}{both.stderr}")
# One side that expects no header is found out: this check can fail.
with tempfile.TemporaryDirectory() as folder:
    off = pathlib.Path(folder) / "mailu.env"
    off.write_text((here / "mailu/mailu.env").read_text().replace("PROXY_PROTOCOL=mail", ""))
    if '"class"' not in run(here / "mailu", "truepeer.toml", "--neighbour", f"mailu:{off}", "--json").stdout:
        fail("a server that reads no header is not found out")
if problems:
    sys.exit(1)
print(f"{len(NEIGHBOURS)} compose files are valid, and truepeer takes each configuration and finds nothing wrong between both sides")
