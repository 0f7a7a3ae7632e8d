"""A machine that is only a record: it has a real (empty) overlay, a state and a boot id, and runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid5

from aibemu.clock import Deadline
from aibemu.errors import Expired, FreezeFailed, ProvisionFailed
from aibemu.files import link_or_copy, remove, write_json
from aibemu.hypervisor import (
    CONSOLE_FILE,
    ConsolePart,
    Frozen,
    FrozenRefused,
    MachineEventKind,
    MachineSpec,
    MachineState,
)
from aibemu.records import SHAPE_ERRORS, read_json
from aibemu.testing.script import Boot
from aibemu_drivers.console import ConsoleFile
from aibemu_drivers.overlay import new_name, stack_overlay
from aibemu_drivers.records import FILE, read_record, spec_from_json, spec_to_json, write_record

DRIVER = "scripted"
CONSOLE = CONSOLE_FILE
# Nothing listens there: port 9 is "discard". Who talks to this machine uses its communicator.
ENDPOINT = ("127.0.0.1", 9)


class RecordedMachine:
    """See `aibemu.hypervisor.Machine`. State and boots are kept in the record: another process sees the same.

    boot: how the script wants it to boot; asked when first needed, for a script that is gone must not keep a machine
    from being found and destroyed.
    """

    driver: ClassVar[str] = DRIVER

    def __init__(self, directory: Path, record: Mapping[str, Any], boot: Callable[[], Boot]) -> None:
        self._directory = directory
        self.spec = spec_from_json(record["spec"], directory)
        self._boot_of = boot
        self._console = ConsoleFile(directory / CONSOLE, self.spec.console_bytes)
        self._events: list[MachineEventKind] = []
        # Names of the disks that were put aside last, oldest first.
        self._saved: list[str] = []

    @classmethod
    def first_record(cls, spec: MachineSpec) -> dict[str, Any]:
        return {
            "driver": cls.driver,
            "version": 1,
            "spec": spec_to_json(spec),
            "state": MachineState.CREATED.value,
            "boots": 0,
            "disk": new_name(),
            "frozen_disks": [disk.name for disk in spec.frozen.disks] if spec.frozen else [],
        }

    @cached_property
    def boot(self) -> Boot:
        """How its boot goes."""
        return self._boot_of()

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def directory(self) -> Path:
        return self._directory

    def start(self, deadline: Deadline | None = None) -> None:
        if self.state() is MachineState.RUNNING:
            raise ProvisionFailed(f"the machine {self.id} runs already")
        self._events = []
        if self.spec.frozen and self.spec.frozen.memory:
            self._take_up(self.spec.frozen.memory)
            return
        self.spec = replace(self.spec, frozen=None)
        self._save(spec=spec_to_json(self.spec))
        self._boot()
        lines = self.boot.console or (f"scripted: no guest boots on {self.id}",)
        (self._directory / CONSOLE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        if self.boot.fail == "panic":
            self._events.append(MachineEventKind.PANIC)
        elif self.boot.fail == "off":
            self.power_off()

    def state(self) -> MachineState:
        record = read_record(self._directory, self.driver)
        return MachineState.GONE if record is None else MachineState(record["state"])

    def endpoint(self, guest_port: int) -> tuple[str, int]:
        if guest_port not in self.spec.hardware.guest_ports:
            raise ProvisionFailed(f"port {guest_port} of the machine {self.id} is not reachable")
        return ENDPOINT

    def events(self) -> tuple[MachineEventKind, ...]:
        return tuple(self._events)

    def panic(self) -> str | None:
        return self.boot.told if MachineEventKind.PANIC in self._events else None

    def press_power_button(self) -> None:
        if self.is_up():
            self.power_off()

    def kill(self) -> None:
        if self.state() is MachineState.RUNNING:
            self._save(state=MachineState.STOPPED.value)

    def console(self, since: int = 0) -> ConsolePart:
        return self._console.read(since)

    def screenshot(self, target: Path) -> Path | None:
        return None

    @contextmanager
    def disk(self) -> Iterator[Path]:
        if self.state() is MachineState.RUNNING:
            raise ProvisionFailed(f"the machine {self.id} runs: its disk is not finished")
        overlay = self._directory / str(self._record()["disk"])
        if not overlay.exists():
            raise ProvisionFailed(f"the machine {self.id} has no disk", details=[f"missing: {overlay}"])
        yield overlay

    def freeze(self, folder: Path, deadline: Deadline) -> Frozen:
        """An overlay of its own as any machine's; for memory, how often it has booted."""
        if self.state() is not MachineState.RUNNING:
            raise FreezeFailed(f"the machine {self.id} was not frozen: it does not run")
        record = self._record()
        names = [*record["frozen_disks"], record["disk"]]
        memory = folder / f"{Path(names[-1]).stem}.memory"
        with self._collecting(folder) as collect:
            self._put_aside(deadline)
            # Disks first: by their second link others see that the memory is of somebody who lives.
            disks = collect(names)
            write_json(memory, {"boots": record["boots"]})
        return Frozen(disks=disks, memory=memory)

    @contextmanager
    def saving_at_reset(self, deadline: Deadline) -> Iterator[Callable[[], bool]]:
        """A guest that is played does not stand still: only its reset is waited for."""
        if self.state() is not MachineState.RUNNING:
            raise FreezeFailed(f"the machine {self.id} was not frozen: it does not run")
        before, done = self.events().count(MachineEventKind.RESET), False

        def look() -> bool:
            nonlocal done
            if done or self.events().count(MachineEventKind.RESET) == before:
                return False
            done = True
            try:
                self._saved = self._put_aside(deadline)
            except (OSError, ProvisionFailed, Expired) as error:
                raise FreezeFailed(f"the disk of the machine {self.id} was not put aside: {error}") from error
            return True

        yield look

    def saved_disk(self, folder: Path, deadline: Deadline) -> Frozen:
        if not self._saved:
            raise FreezeFailed(f"no disk of the machine {self.id} was put aside")
        with self._collecting(folder) as collect:
            return Frozen(disks=collect(self._saved), memory=None)

    def _put_aside(self, deadline: Deadline) -> list[str]:
        """Go on with a fresh overlay; the names of those under it."""
        record, fresh = self._record(), new_name()
        names = [*record["frozen_disks"], record["disk"]]
        stack_overlay(self._directory / names[-1], self._directory / fresh, self.spec.disk_bytes, deadline)
        self._save(disk=fresh, frozen_disks=names)
        return names

    @contextmanager
    def _collecting(self, folder: Path) -> Iterator[Callable[[list[str]], tuple[Path, ...]]]:
        """What is given links disks into `folder`. After a failure none of them is there that was not before."""
        made: list[Path] = []

        def collect(names: list[str]) -> tuple[Path, ...]:
            for name in names:
                if not (folder / name).exists():
                    link_or_copy(self._directory / name, folder / name)
                    made.append(folder / name)
            return tuple(folder / name for name in names)

        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            yield collect
        except (OSError, ProvisionFailed, Expired) as error:
            for path in made:
                remove(path)
            raise FreezeFailed(f"the machine {self.id} was not frozen: {error}") from error

    def _take_up(self, memory: Path) -> None:
        try:
            boots = read_json(memory)["boots"]
            # Started again it boots like any other.
            self.spec = replace(self.spec, frozen=None)
            self._save(state=MachineState.RUNNING.value, boots=boots, spec=spec_to_json(self.spec))
        except SHAPE_ERRORS as error:
            raise FrozenRefused(f"the frozen memory {memory} cannot be read", details=[str(error)]) from error

    def destroy(self) -> None:
        if self._directory.is_dir():
            remove(self._directory)

    # What its scripted guest does to it (aibemu.testing.guest).

    def is_up(self) -> bool:
        """Whether a guest would answer: it runs, and its boot did not fail."""
        return self.state() is MachineState.RUNNING and self.boot.fail is None

    def boot_id(self) -> str:
        """Changes with each boot; the same in every process that asks."""
        record = read_record(self._directory, self.driver) or {}
        return str(uuid5(self.spec.uuid, f"boot {record.get('boots')}"))

    def reboot(self) -> None:
        self._boot()
        self._events.append(MachineEventKind.RESET)

    def power_off(self) -> None:
        self._save(state=MachineState.STOPPED.value)
        self._events.append(MachineEventKind.SHUTDOWN)

    def say(self, lines: Sequence[str]) -> None:
        with (self._directory / CONSOLE).open("a", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in lines)

    def _boot(self) -> None:
        self._save(state=MachineState.RUNNING.value, boots=self._record()["boots"] + 1)

    def _record(self) -> dict[str, Any]:
        record = read_record(self._directory, self.driver)
        if record is None:
            raise ProvisionFailed(
                f"the machine {self.id} was destroyed", details=[f"missing: {self._directory / FILE}"]
            )
        return record

    def _save(self, **changes: Any) -> None:
        write_record(self._directory, self._record() | changes)
