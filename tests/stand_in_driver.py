"""The driver `stand-in`: each machine is a process with a WinRM server and, behind it, a Windows machine of
fixtures/guests with a real PowerShell. aibemu talks to it by its own communicator: nothing of a build is played but
Windows itself, which docs/tests.md says what it is not.

Option `pwsh`: the PowerShell. Option `guest`: a JSON file with fields of `fixtures.guests.machine.Settings`; `noted`
may be "public". Option `tests`: the process with which all machines end (`ProcessId.mark`), for tests that are killed.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Credentials
from aibemu.errors import ProvisionFailed, UsageError
from aibemu.files import write_json
from aibemu.hypervisor import Accelerator, Capabilities, Firmware, Machine, MachineEventKind, MachineSpec, MachineState
from aibemu.process_id import ProcessId
from aibemu.records import read_json
from aibemu_drivers.records import read_record
from aibemu_drivers.scripted import ScriptedDriver
from aibemu_drivers.scripted.machine import RecordedMachine

NAME = "stand-in"
ROOT = Path(__file__).parents[1]
# Files in a machine's directory: what its process is told, which one it is, what happened to the machine since it was
# started (a line each), and what the process said.
TOLD, PROCESS, EVENTS, LOG = "stand-in.json", "stand-in.pid", "stand-in.events", "stand-in.log"
WINRM = 5986
# Seconds that the end of a process may take.
_END = 30.0


class StandInMachine(RecordedMachine):
    """See `aibemu.hypervisor.Machine`. Its process starts when it is known who may log in."""

    driver: ClassVar[str] = NAME

    @classmethod
    def first_record(cls, spec: MachineSpec) -> dict[str, Any]:
        # Of the addresses of the loopback nobody else has this one: no port needs to be looked for.
        address = ".".join(["127", *(str(1 + secrets.randbelow(253)) for _ in range(3))])
        return {**super().first_record(spec), "address": address}

    def start(self, deadline: Deadline | None = None) -> None:
        if self.state() is MachineState.STOPPED:
            self._save(state=MachineState.STOPPED.value)
            (self.directory / EVENTS).unlink(missing_ok=True)
            (self.directory / PROCESS).unlink(missing_ok=True)
        super().start(deadline)
        if (self.directory / TOLD).exists():
            self.launch()

    def endpoint(self, guest_port: int) -> tuple[str, int]:
        super().endpoint(guest_port)
        return str(self._record()["address"]), guest_port

    def state(self) -> MachineState:
        state = super().state()
        process = self.process()
        over = MachineEventKind.SHUTDOWN in self.events() or (process is not None and not process.is_alive())
        return MachineState.STOPPED if state is MachineState.RUNNING and over else state

    def events(self) -> tuple[MachineEventKind, ...]:
        try:
            lines = (self.directory / EVENTS).read_text(encoding="ascii").split()
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return tuple(map(MachineEventKind, lines))

    def press_power_button(self) -> None:
        if process := self.process():
            process.send(signal.SIGTERM)
        else:
            self.power_off()

    def power_off(self) -> None:
        """Without a process: nobody has logged in yet."""
        append_event(self.directory, MachineEventKind.SHUTDOWN)

    def kill(self) -> None:
        super().kill()
        self._end()

    def destroy(self) -> None:
        self._end()
        super().destroy()

    def tell(self, credentials: Credentials, options: Mapping[str, str]) -> None:
        """Write down all that the process needs; secrets stay in the files that are named."""
        assert credentials.password_file is not None
        folder = credentials.password_file.parent
        told = {
            "address": self.endpoint(WINRM)[0], "port": WINRM, "user": credentials.user,
            "password_file": str(credentials.password_file), "certificate": str(folder / "winrm.pem"),
            "key": str(folder / "winrm-key.pem"), "computer": f"aib{self.spec.uuid.hex[:12]}",
            **{name: options.get(name, "") for name in _OPTIONS},
        }  # fmt: skip
        write_json(self.directory / TOLD, told)

    def launch(self) -> None:
        """Start the process; it goes on when this one ends."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.directory), "PYTHONHASHSEED": "0"}
        with (self.directory / LOG).open("ab") as log:
            started = subprocess.Popen(
                [sys.executable, "-m", "tests.stand_in_process", str(self.directory)], cwd=self.directory,
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        process = ProcessId.of(started.pid)
        if process is None:
            raise ProvisionFailed(f"the stand-in of {self.id} ended at once", details=[self.said()])
        write_json(self.directory / PROCESS, process.as_json())

    def process(self) -> ProcessId | None:
        """Its process since the last start, alive or not."""
        try:
            value = read_json(self.directory / PROCESS)
        except (OSError, ValueError):
            return None
        return None if value is None else ProcessId.from_json(value)

    def said(self) -> str:
        """What its process said: nothing, when all is well."""
        file = self.directory / LOG
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def _end(self) -> None:
        """The process, and what runs in the guest."""
        process = self.process()
        if process is not None:
            process.send(signal.SIGKILL)
            if not process.wait(_END):
                raise ProvisionFailed(f"the stand-in of {self.id} does not end", details=[f"process {process.pid}"])
        while left := guests_processes(self.directory):
            for one in left:
                one.send(signal.SIGKILL)
                one.wait(_END)


class StandInDriver(ScriptedDriver):
    """See `aibemu.hypervisor.HypervisorDriver`."""

    name = NAME
    machines = StandInMachine

    def capabilities(self) -> Capabilities:
        return Capabilities(
            boots_guests=False, plays_guests=True, listens=True, screenshots=False, firmwares=frozenset(Firmware),
            saves_disks=True,
        )  # fmt: skip

    def accelerator(self) -> Accelerator:
        return Accelerator(name="none", reason="a process stands in for the guest", slowness=1.0)

    def communicator(self, machine: Machine, credentials: Credentials, deadline: Deadline) -> Communicator | None:
        """None: the engine's own gets in. The first login starts the machine's process."""
        if not isinstance(machine, StandInMachine):
            raise UsageError(f"{machine.id} is not a machine of the driver {NAME}")
        if machine.process() is None:
            machine.tell(credentials, self.options)
            machine.launch()
        return None


_OPTIONS = {"pwsh": True, "guest": True, "tests": False}
StandInDriver.known = {"script": True, **_OPTIONS}


def append_event(directory: Path, kind: MachineEventKind) -> None:
    """What happened to the machine in `directory`."""
    with (directory / EVENTS).open("a", encoding="ascii") as stream:
        stream.write(f"{kind.value}\n")


def guests_processes(directory: Path) -> list[ProcessId]:
    """What runs in the guest of the machine in `directory`: its environment names the guest's folder."""
    mark = b"GUEST_BASE=" + os.fsencode(directory) + b"/"
    found = []
    for entry in Path("/proc").iterdir():
        try:
            mine = entry.name.isdecimal() and mark in (entry / "environ").read_bytes()
        except OSError:
            continue
        if mine and (identity := ProcessId.of(int(entry.name))):
            found.append(identity)
    return found


def options(pwsh: Path, guest: Path | None = None) -> list[str]:
    """The words that choose this driver, for `aibemu run`."""
    given = {"pwsh": str(pwsh), "tests": ProcessId.mine().mark(), **({"guest": str(guest)} if guest else {})}
    return ["--driver", NAME, *(word for k, v in given.items() for word in ("--driver-option", f"{k}={v}"))]


def disk_now(directory: Path) -> Path:
    """The disk that the machine in `directory` writes; another one after each restart at which it was put aside."""
    record = read_record(directory, NAME)
    assert record is not None
    return directory / str(record["disk"])


def read_told(directory: Path) -> dict[str, Any]:
    """What the process of the machine in `directory` is told."""
    value = json.loads((directory / TOLD).read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value
