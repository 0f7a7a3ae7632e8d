"""Room for the machines of a build, before the first of them is made."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType

from aibemu.clock import Deadline
from aibemu.engine.services import Services
from aibemu.engine.turns import Turn
from aibemu.events import Kind
from aibemu.hypervisor import Capabilities
from aibemu.runs.admission import admit
from aibemu.runs.kept import destroy_kept
from aibemu.runs.store import Run, RunStore


def takes_memory(capabilities: Capabilities) -> bool:
    """Whether machines of such a driver have memory that other machines cannot have."""
    return capabilities.boots_guests


@dataclass(slots=True)
class Room:
    """The turn and the memory that a build has for its machines. Leaving it gives both back."""

    services: Services
    # Its turn among the builds of one program; None where it is the only one.
    turn: Turn | None = None
    # Whether it had to wait the last time.
    waited: bool = False
    _held: ExitStack = field(default_factory=ExitStack)
    _asked: bool = False

    def make(self, need_mib: int, deadline: Deadline) -> Deadline:
        """Wait for the build's turn, and until the host has `need_mib` for a machine; the build's deadline, without the
        time that took.

        At first the machine goes that the continued run has kept: it takes memory, and what it was kept for is over.
        `HostNotReady` when the host never has so much.
        """
        services = self.services
        if not self._asked:
            self._end_continued()
        self._asked = True
        endless = replace(deadline, build_ends=float("inf"))
        waited = self.turn.wait(endless, services.emit) if self.turn else 0.0
        if takes_memory(services.driver.capabilities()) and need_mib:
            self._held.close()  # what an earlier attempt had
            admission = admit(
                RunStore(services.home.runs), services.run, need_mib, capacity=services.driver.capacity,
                deadline=endless, emit=services.emit, reserve=services.settings.memory_reserve_mib,
            )  # fmt: skip
            self._held.enter_context(admission)
            waited += admission.waited
        self.waited = waited > 0
        return replace(deadline, build_ends=deadline.build_ends + waited) if waited else deadline

    def _end_continued(self) -> None:
        earlier = self.services.options.continues
        if earlier is None:
            return
        run = Run(self.services.run.directory.with_name(earlier.run))
        if not run.directory.is_dir():  # `aibemu clean` has been here
            return
        for what in destroy_kept(self.services.home, run):
            self.services.emit(Kind.NOTICE, level="note", message=f"destroyed {what}, which run {run.id} had kept")

    def __enter__(self) -> Room:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._held.close()
        finally:
            if self.turn:
                self.turn.failed = self.turn.failed or kind is not None
                self.turn.give_back()
