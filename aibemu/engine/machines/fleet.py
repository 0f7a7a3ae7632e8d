"""The machines of one build, with their platforms: made, handed out, kept or destroyed.

Whoever makes a machine or a platform hands it over here at once, so that it is destroyed whatever happens next.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType

from aibemu.clock import Deadline
from aibemu.engine.machines.boot import Booted, boot
from aibemu.engine.machines.console import save_console
from aibemu.engine.machines.devices import Devices, UnfitDevices
from aibemu.engine.machines.freezing import Freezer, restore
from aibemu.engine.machines.starting import Started
from aibemu.engine.machines.watchdog import StarvedBoot
from aibemu.engine.preparing.prepare import Planned
from aibemu.engine.services import Services
from aibemu.errors import AibemuError, FreezeFailed
from aibemu.events import Kind
from aibemu.fabric.handle import Platform
from aibemu.files import remove
from aibemu.hypervisor import Machine
from aibemu.layers import Layer

BUILD = "build"
# How often a person may interrupt one part of the cleaning up before it is given up.
PATIENCE = 5


@dataclass(slots=True)
class Fleet:
    """Leaving it destroys every machine that is not kept. role: build, validate or verify."""

    services: Services
    freezer: Freezer
    _machines: dict[str, Machine] = field(default_factory=dict)
    _platforms: dict[str, Platform] = field(default_factory=dict)
    _started: dict[str, Started] = field(default_factory=dict)
    _booted: dict[str, Booted] = field(default_factory=dict)
    # What the build knows of the devices that its guest comes up with.
    _devices: Devices = field(default_factory=Devices)
    _kept: set[str] = field(default_factory=set)
    _disk_held: ExitStack = field(default_factory=ExitStack)
    # Set when a person did not let it finish: what is left is for the next command, as after a crash.
    abandoned: bool = False

    @property
    def build(self) -> Booted:
        """The machine that is customized."""
        return self._booted[BUILD]

    @property
    def unready(self) -> str | None:
        """The role of a machine that was started and never became ready, if there is one."""
        return next((role for role in self._started if role not in self._booted), None)

    def boot(self, role: str, base: Path, planned: Planned, deadline: Deadline) -> Booted:
        """Boot a machine from a copy of `base` (qcow2) that is changed without changing `base`."""
        self._forget_entry(role)
        forgiving = True
        while True:
            try:
                booted = boot(
                    self.services, role, planned=planned, base=base, deadline=deadline, owner=self,
                    forgiving=forgiving, devices=self._devices,
                )  # fmt: skip
                self._booted[role] = booted
                return booted
            except StarvedBoot as error:
                if not forgiving:
                    raise
                forgiving = False
                what = f"{error.message}; {error.known}, a known fault of virtual machines on a busy host"
                self._start_again(role, f"{what}: the machine is started once more")
            except UnfitDevices as error:
                self._devices = error.devices
                self.freezer.on = False  # a layer goes on with the devices that the system chooses
                what = f"{error.message}: the machine is made once more, on a fresh copy of its disk"
                self._start_again(role, f"{what}, with {error.devices.change()}")

    def _start_again(self, role: str, why: str) -> None:
        self.services.emit(Kind.NOTICE, level="warning", message=why)
        self.release(role)

    def restore(self, layer: Layer, planned: Planned, deadline: Deadline) -> None:
        """Restore the build machine from a layer. `FreezeFailed` leaves none."""
        self._forget_entry(BUILD)
        try:
            self._booted[BUILD] = restore(
                self.services, layer, planned=planned, base=planned.plan.source.image.path, deadline=deadline,
                owner=self,
            )  # fmt: skip
        except FreezeFailed:
            self.release(BUILD)
            raise

    def machine_made(self, role: str, machine: Machine) -> None:
        """From now on the fleet destroys it."""
        self._machines[role] = machine

    def machine_started(self, role: str, started: Started) -> None:
        """It runs, and may never become ready; it can be kept nevertheless."""
        self._started[role] = started

    def platform_made(self, role: str, platform: Platform) -> None:
        """From now on the fleet stops it."""
        self._platforms[role] = platform

    def hold(self, disk: AbstractContextManager[Path]) -> Path:
        """Have the build machine's disk to read until the machine is released, for what comes after it reads it."""
        return self._disk_held.enter_context(disk)

    def keep(self, role: str) -> None:
        """Leave a machine running after the run, and say how to get in."""
        booted, started = self._booted.get(role), self._started.get(role)
        if role not in self._machines or not (booted or started):
            return
        # The validate machine's disk lies over the build machine's, which is off but must stay.
        self._kept |= {role, BUILD} & self._machines.keys()
        if booted:
            command = booted.communicator.describe()
        else:
            assert started is not None
            command = started.connector.describe(started.access)
        self.services.emit(Kind.MACHINE_KEPT, machine=self._machines[role].id, command=command)

    def release(self, role: str) -> None:
        """Close the connection and, unless it is kept, destroy the machine, its platform and its secrets."""
        if booted := self._booted.pop(role, None):
            booted.communicator.close()
        if role == BUILD:
            self._disk_held.close()
        if role in self._kept:
            return
        self._started.pop(role, None)
        try:
            if machine := self._machines.get(role):
                try:
                    self._save_console(role, machine)
                finally:
                    machine.destroy()
                    del self._machines[role]
        finally:  # a machine that cannot be destroyed gets no answers any more
            if platform := self._platforms.get(role):
                platform.stop()
                del self._platforms[role]
        remove(self.services.run.work / role)

    def release_all(self) -> None:
        """Before another attempt: those that were ready first, the newest of the others last."""
        self.freezer.settle()  # as long as the machine has its links, nobody prunes what is being published
        for role in [*self._booted, *(role for role in self._machines if role not in self._booted)]:
            self.release(role)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        roles = list({**self._platforms, **self._machines})[::-1]
        releases = [partial(self._release_at_last, role) for role in roles]
        works: list[Callable[[], None]] = [self.freezer.settle, *releases, self.freezer.prune, self._clear]
        interrupts = [self._finish(work) for work in works]
        if interrupt := next(filter(None, interrupts), None):
            raise interrupt

    def _finish(self, work: Callable[[], None]) -> KeyboardInterrupt | None:
        """Do `work`, which may be done again, whatever an impatient person types; what they typed is raised later. A
        machine that were left here would be nobody's: the record says by then that the run is over."""
        interrupt = None
        for _ in range(PATIENCE):
            try:
                work()
                return interrupt
            except KeyboardInterrupt as error:
                interrupt = error
        self.abandoned = True
        return interrupt

    def _clear(self) -> None:
        if self._machines:
            return
        # Started, but not handed over any more: a second Ctrl-C came between the two.
        run = self.services.run
        for stray in Platform.below(run.platform):
            stray.stop()
        for folder in (run.work, run.machines, run.platform):
            remove(folder)

    def _release_at_last(self, role: str) -> None:
        """One machine that cannot be destroyed must not keep the others alive, nor the run from having an end."""
        try:
            self.release(role)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is said, and the rest goes on
            why = ": ".join([error.message, *error.details[:2]]) if isinstance(error, AibemuError) else str(error)
            self.services.emit(
                Kind.NOTICE, level="warning",
                message=f"the {role} machine was not destroyed: {why}; try `aibemu clean {self.services.run.id}`",
            )  # fmt: skip

    def _save_console(self, role: str, machine: Machine) -> None:
        """For `aibemu logs --console`."""
        with suppress(OSError, AibemuError):
            if self.services.driver.capabilities().boots_guests and (said := machine.console()).data:
                save_console(self.services, role, said)

    def _forget_entry(self, role: str) -> None:
        """Nobody has logged in to the machine that is about to be made."""
        if role == BUILD:
            self.services.run.entered_file.unlink(missing_ok=True)
