"""Azure's platform around real guests: who they think they are, what they get, and what they cannot reach.

One build of generation 1, by a user without any rights, proves most of it and ends with `--verify-boot`; one of
generation 2 runs cut off from the network; one is of an image that cannot be provisioned.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from aibemu.clock import forever
from aibemu.disks import convert
from aibemu.disks.guestfs import GuestFiles, find_root
from aibemu.images import BaseImage
from aibemu.paths import Home
from aibemu.processes import run_tool
from tests.e2e.lab import (
    BOUND,
    MEMORY_MIB,
    PROVIDERS,
    Base,
    Event,
    fresh_home,
    left_over,
    processes_of,
    read_events,
    template,
)

pytestmark = pytest.mark.vm

NOBODY = 65534
IDENTITIES = f"{PROVIDERS}/Microsoft.ManagedIdentity/userAssignedIdentities"
GET = "curl --silent --show-error --max-time 60 --header Metadata:true"
INSTANCE = "http://169.254.169.254/metadata/instance"
TOKEN = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A run that is over."""

    status: int
    said: str
    home: Path
    directory: Path

    @property
    def events(self) -> list[Event]:
        return read_events(self.directory)

    def lines(self, step: str) -> list[str]:
        return [
            event["line"] for event in self.events if event["kind"] == "step.output" and event.get("step") == step
        ]  # fmt: skip

    def values(self, step: str) -> dict[str, str]:
        """Lines `name=value` of a step."""
        return dict(line.split("=", 1) for line in self.lines(step) if "=" in line)

    def journal(self, role: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / f"platform-{role}.ndjson").read_text().splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who runs aibemu. user: None for whoever runs the tests. python: one that this user may execute."""

    user: int | None = None
    python: str = sys.executable

    @property
    def argv(self) -> list[str]:
        if self.user is None:
            return [self.python]
        return [
            "setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", "--inh-caps=-all",
            "--bounding-set=-all", "--no-new-privs", self.python,
        ]  # fmt: skip


# Where aibemu and what it needs are, for a Python that does not know.
IMPORTS = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "drivers"), *sys.path[1:]])


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


def run(home: Path, *words: str | Path, caller: Caller = Caller()) -> Done:
    """`aibemu run`."""
    argv = [*caller.argv, "-P", "-m", "aibemu", "run", *map(str, words)]
    own = {
        "AIBEMU_HOME": str(home), "AIBEMU_MEMORY_CAP_MIB": str(MEMORY_MIB), "HOME": str(home), "NO_COLOR": "1",
        "PYTHONPATH": IMPORTS,
    }  # fmt: skip
    done = subprocess.run(
        argv, env=os.environ | own, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=BOUND, check=False,
    )  # fmt: skip
    (directory,) = [path for path in (home / "runs").iterdir() if not path.name.startswith(".")]
    return Done(status=done.returncode, said=done.stdout + done.stderr, home=home, directory=directory)


@contextlib.contextmanager
def serving(address: str) -> Iterator[int]:
    """A web server of the host's; its port."""

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"hello\n")

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer((address, 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def own_address() -> str | None:
    """An address of this host that is not loopback; None if it has no network at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


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


def shell(name: str, *lines: str) -> dict[str, Any]:
    return {"type": "Shell", "name": name, "inline": list(lines)}


def upload(source: Path, destination: str) -> dict[str, Any]:
    return {"type": "File", "name": source.name, "sourceUri": str(source), "destination": destination}


def leaf(path: str) -> str:
    """The command that asks for one value of `compute`."""
    return f"{GET} '{INSTANCE}/compute/{path}?api-version=2021-02-01&format=text'"


def give(folder: Path, user: int) -> None:
    """Folders become the other user's. Files stay as they are: some are links to what every test shares."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            os.chown(path, user, user)


@pytest.fixture(scope="module")
def first(place: Path, base: Base) -> Iterator[Done]:
    """Generation 1, as nobody where this is root."""
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
                "vmSize": "Standard_D2s_v3",
                "userAssignedIdentities": [f"{IDENTITIES}/web", f"{IDENTITIES}/vault"],
            },
            managedResourceTags={"team": "blue"},
            customize=[
                upload(wheels(home, base.home), "/tmp/w.tar"),
                upload(home / "ask.py", "/tmp/ask.py"),
                shell(
                    "Platform",
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
    assert (said["size"], said["sku"]) == ("Standard_D2s_v3", "12")
    assert "team:blue" in said["tags"].split(";")
    # Generation 1: SMBIOS has the first three fields byte-swapped.
    assert UUID(said["uuid"]) == UUID(bytes=UUID(said["vm"]).bytes_le)
    assert (said["nic"], said["host"][:5]) == ("eth0", "pkrvm")
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


def test_generation_2_cut_off_from_the_network(place: Path, base: Base, base_image: BaseImage) -> None:
    home = fresh_home(place / "second", base)
    words = ["images", "describe", base_image.short, "--generation", "V2"]
    subprocess.run(
        [sys.executable, "-m", "aibemu", *words], env=os.environ | {"AIBEMU_HOME": str(home)}, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    address = own_address() or "192.0.2.1"
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(serving(address)) if own_address() else 80
        value = template(
            "second",
            customize=[
                shell(
                    "Ask",
                    "test -d /sys/firmware/efi",
                    "cloud-init status --wait > /dev/null; echo status=$?",
                    "echo agent=$(systemctl is-active walinuxagent)",
                    f"echo vm=$({leaf('vmId')})",
                    "echo uuid=$(sudo cat /sys/class/dmi/id/product_uuid)",
                    f"{GET} '{TOKEN}' | grep -o 'Identity not found'",
                    f"curl --silent --max-time 60 http://{address}:{port}/ || echo code=$?",
                )
            ],
        )
        file = home / "t.json"
        file.write_text(json.dumps(value))
        done = run(home, file, "--offline")
    assert done.status == 0, done.said
    said = done.values("c1")
    assert (said["status"], said["agent"]) == ("0", "active")
    assert UUID(said["uuid"]) == UUID(said["vm"])
    assert "Identity not found" in done.lines("c1")
    assert said["code"] == "7", "refused at once, not after a minute"
    assert left_over(home) == []


def test_a_guest_that_cannot_be_provisioned_ends_the_build_at_once(
    place: Path, base: Base, base_image: BaseImage, tmp_path: Path
) -> None:
    home = place / "broken"  # with no other image
    shutil.copytree(base.probed, home / "cache" / "qemu")
    broken = with_broken_seed(base_image, tmp_path)
    subprocess.run(
        [sys.executable, "-m", "aibemu", "images", "import", broken, "--alias", "Debian:debian-12:12:0.0.9",
         "--generation", "V1"], env=os.environ | {"AIBEMU_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    file = home / "t.json"
    file.write_text(json.dumps(template("broken")))
    done = run(home, file)
    assert done.status == 1
    assert "the guest reports that its provisioning failed: The VM encountered an error during deployment" in done.said
    (report,) = [entry for entry in done.journal("build") if "ProvisioningFailed" in entry["body"]]
    (ended,) = [event for event in done.events if event["kind"] == "run.finished"]
    waited = datetime.fromisoformat(ended["at"]) - datetime.fromisoformat(report["at"])
    assert waited.total_seconds() < 20
    assert left_over(home) == []


def with_broken_seed(base: BaseImage, folder: Path) -> Path:
    """The image with half a provisioning document in it, which cloud-init prefers to the DVD's."""
    raw = folder / "broken.raw"
    convert.to_raw(base.path, raw, deadline=forever())
    root = find_root(raw, forever())
    assert root is not None
    (folder / "ovf-env.xml").write_text("<Environment>")
    commands = folder / "commands"
    seed = "/var/lib/cloud/seed"
    folders = [seed.rpartition("/")[0], seed, f"{seed}/azure"]
    words = [*(f"mkdir {name}" for name in folders), f"cd {seed}/azure", f"write {folder / 'ovf-env.xml'} ovf-env.xml"]
    commands.write_text("\n".join([*words, ""]))
    run_tool(["debugfs", "-w", "-f", commands, f"{raw}?offset={root.start}"], deadline=forever())
    with GuestFiles(raw, root.start, deadline=forever()) as files:
        assert files.read(f"{seed}/azure/ovf-env.xml") == "<Environment>"
    return raw
