"""A driver for tests: a script plays its guests. The whole engine runs, every command is recorded, nothing is executed,
and the outputs are copies of the source image.

Nobody may take such a build for a real one, so no installed package registers this driver: tests do that for
themselves, with `aibemu.testing.plugins.write_distribution`.


Option `script`: a YAML file that says what the guest answers and how its boot fails (see `aibemu.testing.script`).
Option `freezes`: `yes` for guests that can be frozen, `disks` for those whose disks alone can be: to try the cache
without a VM.
Option `transcript`: a folder that gets `<machine id>.ndjson` too, for reading after the machine was destroyed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Credentials
from aibemu.errors import AibemuError, ProvisionFailed, UsageError
from aibemu.files import make_folder
from aibemu.hypervisor import (
    Accelerator,
    Capabilities,
    Capacity,
    DriverFolders,
    Finding,
    Firmware,
    Leftover,
    Level,
    Machine,
    MachineSpec,
)
from aibemu.processes import find_program
from aibemu.testing.script import Boot, Script
from aibemu_drivers.local import known_options, local_capacity, recorded
from aibemu_drivers.overlay import check_id, prepare_disk
from aibemu_drivers.records import FILE, read_record, write_record
from aibemu_drivers.scripted.communicator import TRANSCRIPT, TranscriptCommunicator
from aibemu_drivers.scripted.machine import DRIVER, RecordedMachine

_OPTIONS = {"script": True, "transcript": True, "freezes": False}  # name -> whether it is a path


class ScriptedDriver:
    """See `aibemu.hypervisor.HypervisorDriver`."""

    name = DRIVER
    machines: ClassVar[type[RecordedMachine]] = RecordedMachine
    known: ClassVar[Mapping[str, bool]] = _OPTIONS

    def __init__(self, options: Mapping[str, str], folders: DriverFolders) -> None:
        self.options = known_options(self.name, options, self.known)
        self.folders = folders

    @cached_property
    def script(self) -> Script:
        """What the guests answer; read when first needed, for `find` must work without it."""
        path = self.options.get("script")
        return Script.load(Path(path)) if path else Script()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            boots_guests=False,
            plays_guests=True,
            screenshots=False,
            firmwares=frozenset(Firmware),
            freezes=self.options.get("freezes") == "yes",
            saves_disks=self.options.get("freezes") in ("yes", "disks"),
        )

    def accelerator(self) -> Accelerator:
        return Accelerator(name="none", reason="a script plays the guests", slowness=1.0)

    def capacity(self) -> Capacity:
        return local_capacity()

    def check(self) -> Sequence[Finding]:
        findings = []
        try:
            path = find_program("qemu-img")
            findings.append(Finding(check="scripted: qemu-img", level=Level.OK, message=path))
            guests = (
                f"{len(self.script.rules)} rules"
                if self.options.get("script")
                else "no script: every command ends with 0"
            )
            findings.append(Finding(check="scripted: script", level=Level.OK, message=guests))
        except AibemuError as error:
            fix = next(iter(error.commands), error.hint)
            message = ": ".join([error.message, *error.details[:2]])
            findings.append(Finding(check="scripted", level=Level.ERROR, message=message, fix=fix))
        return findings

    def freezing_key(self) -> Sequence[str]:
        return (DRIVER,)

    def create(self, spec: MachineSpec) -> Machine:
        check_id(spec)
        boot = self.script.next_boot_of(spec.id)  # a script that cannot be read is an error before anything is made
        directory = spec.directory.resolve()
        make_folder(directory, mode=0o700)
        if (directory / FILE).exists():
            raise ProvisionFailed(f"there is a machine in {directory} already", hint="destroy it first: aibemu clean")
        record = self.machines.first_record(spec)
        write_record(directory, record)
        prepare_disk(spec, directory / record["disk"])
        return self.machines(directory, record, lambda: boot)

    def find(self, directory: Path) -> Machine | None:
        directory = directory.resolve()
        record = read_record(directory, self.name)
        if record is None:
            return None
        return self.machines(directory, record, lambda: self._boot_of(record["spec"]["id"]))

    def list(self, owner: str) -> Sequence[Leftover]:
        """Records only: there is nothing else of a machine that could be left."""
        found = (self.find(directory) for directory in recorded(self.folders, owner))
        return [machine for machine in found if machine is not None]

    def _boot_of(self, machine_id: str) -> Boot:
        return self.script.boot_of(machine_id)

    def communicator(self, machine: Machine, credentials: Credentials, deadline: Deadline) -> Communicator | None:
        """The scripted guest. A boot that hangs keeps the caller waiting until its deadline raises."""
        if not isinstance(machine, RecordedMachine):
            raise UsageError(f"{machine.id} is not a machine of the driver {DRIVER}")
        while machine.boot.fail == "hang":
            deadline.sleep(5.0)
        return TranscriptCommunicator(self.script, machine, self._transcripts(machine))

    def _transcripts(self, machine: RecordedMachine) -> Sequence[Path]:
        """The machine's own, and one that outlives it if asked for."""
        files = [machine.directory / TRANSCRIPT]
        if folder := self.options.get("transcript"):
            files.append(Path(folder) / f"{machine.id}.ndjson")
            files[-1].parent.mkdir(parents=True, exist_ok=True)
        return files
