"""Azure's platform around real guests: who they think they are, what they get, and what they cannot reach.

One build of generation 2, by a user without any rights, proves it and ends with `--verify-boot`. What generation 1 has
otherwise is seen in test_layers.py, a machine cut off from the network in test_builds.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from aibemu.images import BaseImage
from aibemu.paths import Home
from tests.e2e.lab import (
    PROVIDERS,
    VM_SIZE,
    Base,
    fresh_home,
    left_over,
    processes_of,
    template,
)
from tests.e2e.platform import (
    GET,
    IMPORTS,
    TOKEN,
    Caller,
    Done,
    call,
    leaf,
    own_address,
    run,
    serving,
    shell,
)

pytestmark = pytest.mark.vm

NOBODY = 65534
IDENTITIES = f"{PROVIDERS}/Microsoft.ManagedIdentity/userAssignedIdentities"
REAL = "a-token-that-opens-something"
AZURE_IDENTITY = """
import base64, json
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

own = ManagedIdentityCredential(identity_config={"resource_id": "@WEB@"}).get_token("https://storage.azure.com/.default")
claims = json.loads(base64.urlsafe_b64decode(own.token.split(".")[1] + "=="))
print("claims", claims["aud"], claims["xms_mirid"])
print("real", ManagedIdentityCredential(identity_config={"resource_id": "@VAULT@"}).get_token("https://vault.azure.net/.default").token)
try:
    ManagedIdentityCredential(client_id="00000000-0000-0000-0000-00000000dead").get_token("https://storage.azure.com/.default")
except Exception as error:
    print("unknown", type(error).__name__)
"""


def without_rights() -> Caller:
    """Nobody, without any capability, where the tests run as root: with the tests' own Python, else the system's."""
    if os.geteuid() != 0:
        return Caller()
    twice = "import sys, subprocess as s; s.run([sys.executable, '-c', 'import aibemu, paramiko'], check=True)"
    for python in (sys.executable, "/usr/bin/python3"):
        caller = Caller(user=NOBODY, python=python)
        argv = [*caller.argv, "-P", "-c", twice]
        tried = subprocess.run(argv, env=os.environ | {"PYTHONPATH": IMPORTS}, capture_output=True, check=False)
        if tried.returncode == 0:
            return caller
    pytest.skip("no Python here that another user may execute and that has what aibemu needs")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that another user may use; pytest's own are for this user only."""
    folder = Path(tempfile.mkdtemp(prefix="aibemu-e2e-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def wheels(folder: Path, base_home: Home) -> Path:
    """azure-identity and all it needs, for the guest's Python, as one tar; kept beside the images."""
    kept = base_home.images.parent / "guest-wheels"
    if not kept.is_dir():
        fresh = Path(tempfile.mkdtemp(dir=base_home.images.parent))
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--python-version=3.11",
             *(f"--platform=manylinux{name}_x86_64" for name in ("2014", "_2_17", "_2_28", "_2_34")),
             f"--dest={fresh}", "azure-identity"], check=True,
        )  # fmt: skip
        fresh.rename(kept)
    target = folder / "wheels.tar"
    with tarfile.open(target, "w") as archive:
        for path in sorted(kept.glob("*.whl")):
            archive.add(path, path.name)
    return target


def upload(source: Path, destination: str) -> dict[str, Any]:
    return {"type": "File", "name": source.name, "sourceUri": str(source), "destination": destination}


def give(folder: Path, user: int) -> None:
    """Folders become the other user's. Files stay as they are: some are links to what every test shares."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            os.chown(path, user, user)


@pytest.fixture(scope="module")
def first(place: Path, base: Base, base_image: BaseImage) -> Iterator[Done]:
    """Generation 2, as nobody where this is root."""
    caller = without_rights()
    home = fresh_home(place / "home", base)
    (home / "printer").write_text(f"#!/bin/sh\necho {REAL}\n")
    (home / "printer").chmod(0o755)
    script = AZURE_IDENTITY.replace("@WEB@", f"{IDENTITIES}/web").replace("@VAULT@", f"{IDENTITIES}/vault")
    (home / "ask.py").write_text(script)
    with contextlib.ExitStack() as stack:
        secret = stack.enter_context(serving("127.0.0.1"))
        address = own_address()
        public = stack.enter_context(serving(address)) if address else 0
        value = template(
            "platform",
            vmProfile={
                "vmSize": VM_SIZE,
                "userAssignedIdentities": [f"{IDENTITIES}/web", f"{IDENTITIES}/vault"],
            },
            managedResourceTags={"team": "blue"},
            customize=[
                upload(wheels(home, base.home), "/tmp/w.tar"),
                upload(home / "ask.py", "/tmp/ask.py"),
                shell(
                    "Platform",
                    "test -d /sys/firmware/efi",
                    "cloud-init status --wait > /dev/null; echo status=$?",
                    "echo virtualization=$(systemd-detect-virt)",
                    "echo agent=$(systemctl is-active walinuxagent)",
                    "echo source=$(cloud-init query subplatform)",
                    f"echo size=$({leaf('vmSize')})",
                    f"echo tags=$({leaf('tags')})",
                    f"echo sku=$({leaf('storageProfile/imageReference/sku')})",
                    f"echo vm=$({leaf('vmId')})",
                    "echo uuid=$(sudo cat /sys/class/dmi/id/product_uuid)",
                    "echo nic=$(ls /sys/class/net | grep -v lo)",
                    "echo route=$(ip route show 168.63.129.16)",
                    "echo dns=$(resolvectl dns eth0)",
                    "echo host=$(hostname)",
                    "domain=$(sudo sed -n 's/^DOMAINNAME=//p' /run/systemd/netif/leases/*)",
                    "echo domain=$domain",
                    "echo full=$(getent hosts $(hostname).$domain)",
                    "echo back=$(getent hosts $(hostname -I))",
                    "echo warned=$(sudo true 2>&1)",
                ),
                shell(
                    "Tokens",
                    f"{GET} '{TOKEN}'; echo",
                    f"{GET} '{TOKEN}&msi_res_id={IDENTITIES}/web' | grep -o '\"token_type\":\"Bearer\"'",
                    "mkdir /tmp/w /tmp/site && tar -C /tmp/w -xf /tmp/w.tar",
                    "for wheel in /tmp/w/*.whl; do python3 -m zipfile -e $wheel /tmp/site; done",
                    "PYTHONPATH=/tmp/site python3 /tmp/ask.py 2> /dev/null",
                    "rm -r /tmp/w /tmp/site /tmp/w.tar /tmp/ask.py",
                ),
                shell(
                    "Isolation",
                    "ask() { curl --silent --max-time 4 http://$1/ && echo reached || echo refused $?; }",
                    *(f"ask {target} > /tmp/asked-{number} &" for number, target in enumerate(
                        (f"10.0.0.1:{secret}", f"10.0.0.2:{secret}", f"10.0.0.3:{secret}", "169.254.169.254:22"))),
                    "wait; cat /tmp/asked-*",
                    f"curl --silent --max-time 60 http://{address}:{public}/" if address else "echo hello",
                ),
            ],
        )  # fmt: skip
        file = home / "t.json"
        file.write_text(json.dumps(value))
        if caller.user is not None:
            give(home, caller.user)
        described = call(home, "images", "describe", base_image.short, "--generation", "V2", caller=caller)
        assert described.returncode == 0, described.stderr
        words: Sequence[str | Path] = [file, "--verify-boot", "--identity", f"vault={home / 'printer'}"]
        yield run(home, *words, caller=caller)


def test_it_ends_well_without_any_rights(first: Done) -> None:
    assert first.status == 0, first.said
    if os.geteuid() == 0:
        assert first.directory.stat().st_uid == NOBODY
    assert left_over(first.home) == []
    assert processes_of(first.directory) == []


def test_the_guest_reports_for_itself(first: Done) -> None:
    reported = [event for event in first.events if event["kind"] == "machine.reported"]
    assert [event["state"] for event in reported] == ["Ready", "Ready"]
    asked = [entry for entry in first.journal("build") if "comp=health" in entry["target"]]
    assert "Ready" in asked[0]["body"] and asked[0]["agent"].lower().startswith("cloud-init")
    assert any(entry["agent"].startswith("WALinuxAgent") for entry in first.journal("build"))


def test_it_believes_to_be_in_azure(first: Done) -> None:
    said = first.values("c3")
    assert (said["status"], said["virtualization"], said["agent"]) == ("0", "microsoft", "active")
    assert "/dev/sr0" in said["source"]
    assert (said["size"], said["sku"]) == (VM_SIZE, "12")
    assert "team:blue" in said["tags"].split(";")
    assert UUID(said["uuid"]) == UUID(said["vm"])
    assert (said["nic"], said["host"][:5]) == ("eth0", "pkrvm")
    # `hostname -f` has that name where the guest searches in the domain that DHCP gives; Debian's networkd does not.
    assert said["domain"].endswith(".ax.internal.cloudapp.net")
    assert said["full"].split()[0] == "10.0.0.4"
    assert said["back"].split() == ["10.0.0.4", f"{said['host']}.internal.cloudapp.net"]
    assert said["warned"] == ""
    assert "via 10.0.0.1" in said["route"] and "168.63.129.16" in said["dns"]


def test_tokens_are_for_those_who_say_which(first: Done) -> None:
    several, bearer, claims, real, unknown = first.lines("c4")
    assert "Multiple user assigned identities exist" in several
    assert bearer == '"token_type":"Bearer"'
    assert claims == f"claims https://storage.azure.com {IDENTITIES}/web"
    assert unknown == "unknown CredentialUnavailableError"
    assert real == f"real {REAL}"
    # What the guest prints is the guest's affair; the platform's record has it not.
    assert REAL not in (first.directory / "platform-build.ndjson").read_text()


def test_the_hosts_loopback_is_out_of_reach(first: Done) -> None:
    lines = first.lines("c5")
    assert [line.split()[0] for line in lines[:4]] == ["refused"] * 4
    assert lines[4] == "hello"


def test_what_was_asked_is_shown(first: Done) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aibemu", "logs", "--platform"], env=os.environ | {"AIBEMU_HOME": str(first.home)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "build    imds" in done.stdout and "verify   wireserver" in done.stdout
    assert "Multiple user assigned identities exist" in done.stdout


def test_the_image_comes_up_as_another_machine(first: Done) -> None:
    started = {event["role"]: event for event in first.events if event["kind"] == "machine.started"}
    ready = {event["machine"]: event for event in first.events if event["kind"] == "machine.ready"}
    names = {role: ready[event["machine"]]["hostname"] for role, event in started.items()}
    assert set(names) == {"build", "verify"} and names["build"] != names["verify"]
    assert any("comes up as another machine" in str(event.get("message")) for event in first.events)
    ids = {json.loads(entry["answer"])["compute"]["vmId"] for role in names for entry in first.journal(role)
           if entry["target"].startswith("/metadata/instance?") and "extended" in entry["target"]}  # fmt: skip
    assert len(ids) == 2


def test_what_azure_tolerates_is_told_apart_from_what_it_does_not(first: Done) -> None:
    found = [event for event in first.events if event["kind"] == "finding"]
    assert {event["level"] for event in found} == {"warning", "note"}
    assert all(event["azure"] for event in found)
    assert all(event["review"] for event in found if event["level"] == "warning")
