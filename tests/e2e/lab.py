"""What the end-to-end tests share: homes that hold the base image, builds as processes, and plain QEMU machines.

Nothing here uses aibemu's engine or drivers: builds are started as a person starts them, and read from outside.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aibemu.disks.guestfs import GuestFiles
from aibemu.layers import Layer
from aibemu.layers.store import LayerStore
from aibemu.paths import Home
from aibemu.processes import find_program

FIXTURES = Path(__file__).parents[2] / "fixtures"
PROVIDERS = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/aibemu/providers"
# Seconds. A boot takes 45 to 60 of them without hardware acceleration, several times that on a busy host.
BOUND = 900.0
LOOK_EVERY = 0.1
# Guests are small, so that several fit beside each other; and their layers too. Machines of one size share layers.
MEMORY_MIB = 1024
# One virtual processor: under TCG a second one costs a quarter more of the host's CPU time for each boot (two builds
# side by side on two cores: 160 s with one each, 198 s with two). The benchmark's guests have two.
VM_SIZE = "Standard_DS1_v2"
# A line of a customizer, for builds whose generalizing shows nothing new: waagent's own takes 15 s.
QUICK = "echo sync > /tmp/DeprovisioningScript.sh"
# Words for `aibemu run`; they make no layers, whether CI is set or not. WARM: start from a layer (fixture `warm_base`).
COLD = ("--cold", "--no-freeze")
WARM = ("--cache", "--no-freeze")
Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a new home begins with. home: has the base image. probed: the cache of QEMU's driver, if it has one.
    provisioned: the store with the layer of a provisioned machine, or None."""

    home: Home
    probed: Path
    provisioned: LayerStore | None = None


def fresh_home(root: Path, base: Base) -> Path:
    """A home of its own that has the base image already (hard links); give it as AIBEMU_HOME."""
    not_ours = shutil.ignore_patterns("tmp", "locks")
    shutil.copytree(base.home.images, root / "images", copy_function=_link_or_copy, ignore=not_ours)
    if base.probed.is_dir():
        shutil.copytree(base.probed, root / "cache" / "qemu")
    if base.provisioned is not None:
        for layer in base.provisioned.layers():
            copy_layer(layer, base.provisioned, root / "layers")
    return root


def copy_layer(layer: Layer, store: LayerStore, folder: Path) -> None:
    """Put a layer into another store as well; its record last. Copies, for a disk with a second link is in use."""
    for name in ("files", "records"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    run("cp", "--sparse=always", "--preserve=mode", *layer.files, folder / "files")
    run("cp", "--preserve=mode", store.directory / "records" / f"{layer.id}.json", folder / "records")


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def aibemu(home: Path, *words: str | Path, typed: str = "") -> subprocess.CompletedProcess[str]:
    """One short aibemu command, as a person would type it; `typed`: its standard input."""
    return subprocess.run(
        _argv(words), env=_environment(home), input=typed, capture_output=True, text=True, timeout=120, check=False
    )


def answer(home: Path, *words: str | Path) -> Any:
    """The data of one command's JSON envelope; it must succeed."""
    done = aibemu(home, *words, "--output", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["data"]


def _argv(words: Sequence[str | Path]) -> list[str]:
    return [sys.executable, "-m", "aibemu", *(str(word) for word in words)]


def _environment(home: Path) -> dict[str, str]:
    own = {"AIBEMU_HOME": str(home), "AIBEMU_MEMORY_CAP_MIB": str(MEMORY_MIB), "NO_COLOR": "1"}
    return os.environ | own


@dataclass(slots=True)
class Build:
    """One `aibemu run` (or another verb that builds) as a process. `close` ends it if a test left it running."""

    home: Path
    words: Sequence[str | Path]
    folder: Path
    verb: str = "run"
    process: subprocess.Popen[bytes] = field(init=False)
    _directory: Path | None = None
    _record: list[Event] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                _argv([self.verb, *self.words]), env=_environment(self.home), stdin=subprocess.DEVNULL, stdout=out,
                stderr=err, start_new_session=True,
            )  # fmt: skip

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout").read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")

    @property
    def directory(self) -> Path:
        """The run's directory: the one whose record names this process."""
        if self._directory is None:
            directories = (path for path in (self.home / "runs").iterdir() if path.is_dir())  # a lock is there too
            self._directory = next(path for path in directories if self._is_ours(path))
        return self._directory

    @property
    def run(self) -> str:
        return self.directory.name

    def _is_ours(self, directory: Path) -> bool:
        return any(event.get("pid") == self.process.pid for event in read_events(directory))

    def events(self, kind: str | None = None) -> list[Event]:
        """What the run has recorded so far; once it is over, the whole of it, also when a test deletes the run."""
        found = self._record
        if found is None:
            over = self.process.poll() is not None
            try:
                found = read_events(self.directory)
            except (StopIteration, FileNotFoundError):
                return []
            if over:
                self._record = found
        return [event for event in found if kind is None or event["kind"] == kind]

    def wait_for(self, kind: str, **fields: Any) -> Event:
        """Wait until an event with these fields is recorded; fails if the build ends without it."""
        ends = time.monotonic() + BOUND
        while True:
            running = self.process.poll() is None
            for event in self.events(kind):
                if all(event.get(name) == value for name, value in fields.items()):
                    return event
            assert running and time.monotonic() < ends, f"no {kind} {fields}:\n{self.stdout}\n{self.stderr}"
            time.sleep(LOOK_EVERY)

    def wait(self, bound: float = BOUND) -> int:
        return self.process.wait(bound)

    def kill(self) -> None:
        """What no process can do anything about."""
        self.process.kill()
        self.process.wait()

    def lines(self, step: str, stream: str = "stdout") -> list[str]:
        """What one step printed."""
        return [
            str(event["line"]) for event in self.events("step.output")
            if event.get("step") == step and event["stream"] == stream
        ]  # fmt: skip

    def ports(self) -> list[int]:
        """The ports of 127.0.0.1 that this run's machines had."""
        return [int(event["endpoint"].rpartition(":")[2]) for event in self.events("machine.started")]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


def read_events(directory: Path) -> list[Event]:
    """The whole lines of a run's record; the last one may be being written."""
    try:
        text = (directory / "events.ndjson").read_text(errors="replace")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def processes_of(place: Path) -> list[str]:
    """Command lines of living processes that name something below `place`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(f"{place}/" in word for word in words):
            found.append(f"{entry.name}: {shlex.join(words)}")
    return found


def machine_processes(place: Path) -> set[str]:
    """Which processes of machines below `place` live: "QEMU", "platform"."""
    marks = {"QEMU": "qemu-system", "platform": "aibemu.fabric.serve"}
    lines = processes_of(place)
    return {name for name, mark in marks.items() if any(mark in line for line in lines)}


def is_open(port: int) -> bool:
    """Whether something listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def left_over(*folders: Path) -> list[str]:
    """What finished runs may not leave below these folders: processes, machines with their platforms, secrets and
    half-written files.

    A folder may be a whole home, one run's directory, or one of the user's.
    """
    found = []
    for folder in folders:
        found += processes_of(folder)
        for path in folder.rglob("*"):
            of_a_run = path.name in {"machines", "platform", "work"} and path.parent.parent.name == "runs"
            if of_a_run or path.name.endswith(".partial"):
                found.append(str(path))
    return found


@dataclass(slots=True)
class PlainMachine:
    """A disk in a plain QEMU, with a NoCloud seed of its own that makes the user `tester`. The disk is not changed."""

    disk: Path
    disk_format: str
    folder: Path
    hostname: str
    port: int = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)
    _key: Any = field(init=False)
    _client: Any = None

    def __post_init__(self) -> None:
        import paramiko

        self.folder.mkdir(parents=True, exist_ok=True)
        self._key = paramiko.ECDSAKey.generate()
        self._write_seed()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [
                "qemu-system-x86_64", "-machine", "pc", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1024",
                "-display", "none", "-serial", f"file:{self.console}", "-device", "virtio-scsi-pci",
                "-drive", f"if=none,id=disk,file={self.disk},format={self.disk_format},snapshot=on",
                "-device", "scsi-hd,drive=disk",
                "-drive", f"if=none,id=cd,file={self.folder / 'seed.iso'},format=raw,readonly=on",
                "-device", "scsi-cd,drive=cd",
                "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22",
                "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
            ],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    def connect(self) -> None:
        """Wait until `tester` can log in."""
        ends = time.monotonic() + BOUND
        while not (self._greets() and self._logs_in()):
            assert self.process.poll() is None, "QEMU ended"
            assert time.monotonic() < ends, self.console.read_text(errors="replace")[-2000:]
            time.sleep(0.5)

    def _greets(self) -> bool:
        """Whether an SSH server is there. QEMU itself takes each connection, and is silent until the guest answers."""
        with socket.socket() as probe:
            probe.settimeout(5)
            try:
                probe.connect(("127.0.0.1", self.port))
                return probe.recv(4) == b"SSH-"
            except OSError:
                return False

    def _logs_in(self) -> bool:
        import paramiko

        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        try:
            client.connect(
                "127.0.0.1", self.port, "tester", pkey=self._key, allow_agent=False, look_for_keys=False,
                timeout=10, banner_timeout=60, auth_timeout=60,
            )  # fmt: skip
        except (OSError, EOFError, paramiko.SSHException):
            client.close()
            return False
        self._client = client
        return True

    def run(self, command: str) -> tuple[int, str]:
        """Exit status, and both streams as one text."""
        _, stdout, _ = self._client.exec_command(f"exec 2>&1; {command}", timeout=BOUND)
        text = stdout.read().decode()
        return stdout.channel.recv_exit_status(), text.strip()

    def ok(self, command: str) -> str:
        status, text = self.run(command)
        assert status == 0, f"{command}: {status}\n{text}"
        return text

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        self.process.kill()
        self.process.wait()

    def _write_seed(self) -> None:
        import pycdlib

        user = {
            "name": "tester", "sudo": "ALL=(ALL) NOPASSWD:ALL", "shell": "/bin/bash",
            "ssh_authorized_keys": [f"{self._key.get_name()} {self._key.get_base64()}"],
        }  # fmt: skip
        files = {
            "user-data": "#cloud-config\n" + json.dumps({"users": [user]}) + "\n",
            "meta-data": json.dumps({"instance-id": f"i-{self.hostname}", "local-hostname": self.hostname}) + "\n",
        }
        iso = pycdlib.PyCdlib()
        iso.new(interchange_level=3, rock_ridge="1.09", joliet=3, vol_ident="cidata")
        for number, (name, text) in enumerate(files.items()):
            data = text.encode()
            iso.add_fp(io.BytesIO(data), len(data), f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
        iso.write(str(self.folder / "seed.iso"))
        iso.close()


def until(done: Callable[[], bool], why: str, bound: float = BOUND, every: float = 0.01) -> None:
    """Wait for something outside of the record."""
    ends = time.monotonic() + bound
    while not done():
        assert time.monotonic() < ends, why
        time.sleep(every)


def template(name: str, **properties: Any) -> dict[str, Any]:
    """A template on the offline base image that makes a managed image; `properties` replace its own."""
    identity = f"{PROVIDERS}/Microsoft.ManagedIdentity/userAssignedIdentities/builder"
    own: dict[str, Any] = {
        "vmProfile": {"vmSize": VM_SIZE},
        "source": {
            "type": "PlatformImage", "publisher": "Debian", "offer": "debian-12", "sku": "12", "version": "latest",
        },
        "customize": [{"type": "Shell", "name": "Hello", "inline": ["echo hello"]}],
        "distribute": [managed_image(name)],
    }  # fmt: skip
    return {
        "type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01", "name": name,
        "location": "westeurope", "identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}},
        "properties": own | properties,
    }  # fmt: skip


def managed_image(name: str) -> dict[str, Any]:
    """A ManagedImage target."""
    return {
        "type": "ManagedImage", "runOutputName": f"{name}-image", "location": "westeurope",
        "imageId": f"{PROVIDERS}/Microsoft.Compute/images/{name}",
    }  # fmt: skip


def write_template(folder: Path, name: str, **properties: Any) -> Path:
    """`template` as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.json"
    target.write_text(json.dumps(template(name, **properties), indent=1))
    return target


def failing_template(folder: Path, definition: str, checks: Sequence[str]) -> Path:
    """On the latest version of a gallery image; checks: lines that must succeed there. The second customizer fails and
    leaves the machine running."""
    return write_template(
        folder, "chained",
        source={"type": "SharedImageVersion", "imageVersionId": f"{definition}/versions/latest"},
        errorHandling={"onCustomizerError": "abort", "onValidationError": "cleanup"},
        customize=[
            {"type": "Shell", "name": "Inherited", "inline": ["cat /etc/motd", "cat /srv/www/index.html", *checks]},
            {"type": "Shell", "name": "Breaks", "inline": ["echo 'going to fail' >&2", "(exit 3)", "echo not reached"]},
            {"type": "Shell", "name": "Never", "inline": ["echo never"]},
        ],
    )  # fmt: skip


def run(*words: str | Path) -> str:
    """What a tool of the host says; it must succeed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def owner_and_mode(files: GuestFiles, path: str) -> tuple[int, int, str]:
    """User id, group id and octal mode, as debugfs shows them."""
    text = run(find_program("debugfs"), "-R", f'stat "{path}"', f"{files.raw}?offset={files.offset}")
    mode = re.search(r"Mode:\s+(\d+)", text)
    owner = re.search(r"User:\s+(\d+)\s+Group:\s+(\d+)", text)
    assert mode and owner, text
    return int(owner[1]), int(owner[2]), mode[1]
