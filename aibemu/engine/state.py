"""What a phase of a build leaves for the next one, and what there is to say of the build when it is over."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.engine.beside import Beside
from aibemu.engine.machines.fleet import Fleet
from aibemu.engine.outcome import Conclusion, Ending, conclude
from aibemu.engine.preparing.prepare import Planned
from aibemu.engine.room import Room
from aibemu.engine.services import Services
from aibemu.errors import BuildCancelled
from aibemu.events import Emit, Kind, Phase, RunState, RunSubState
from aibemu.plan.model import Plan


@dataclass(slots=True, kw_only=True)
class BuildState:
    """One build, from provision to distribute. It holds the plan; nobody else does."""

    services: Services
    planned: Planned
    # The build's end (buildTimeoutInMinutes) and its cancel.
    deadline: Deadline
    fleet: Fleet
    room: Room
    beside: Beside = field(default_factory=Beside)
    # The generalised system disk, once there is one.
    disk: Path | None = None
    # Its sha256, where it is a file as the image store makes them, made on another host; else "".
    digest: str = ""
    # What the phases left to say at the end.
    end: Ending = field(default_factory=Ending)
    # Id of the customizer that ran last.
    running: str = ""
    # Ids of steps that a person left out.
    skipped: set[str] = field(default_factory=set)
    # Whether this is not the first attempt.
    again: bool = False

    @property
    def plan(self) -> Plan:
        return self.planned.plan

    @property
    def emit(self) -> Emit:
        return self.services.emit

    @contextmanager
    def phase(self, phase: Phase, sub_state: RunSubState | None) -> Iterator[None]:
        """Bracket a phase with its events; lastRunStatus moves to `sub_state`."""
        clock = self.services.clock
        started = clock.monotonic()
        status = "failed"
        with self.services.telemetry.phase(phase.value):
            self.emit(Kind.PHASE_STARTED)
            if sub_state:
                self.enter(sub_state)
            try:
                self.deadline.check()
                yield
                status = "ok"
            except BuildCancelled:
                status = "cancelled"
                raise
            finally:
                self.emit(Kind.PHASE_FINISHED, status=status, seconds=clock.monotonic() - started)

    def skip(self, phase: Phase) -> None:
        """Record that a phase had nothing to do."""
        with self.services.telemetry.phase(phase.value):
            self.emit(Kind.PHASE_FINISHED, status="skipped", seconds=0.0)

    def enter(self, sub_state: RunSubState) -> None:
        """Move lastRunStatus on."""
        self.end.sub_state = sub_state
        self.emit(Kind.RUN_STATE, state=RunState.RUNNING.value, sub_state=sub_state.value, message="")

    def choose(self, planned: Planned, useless: Collection[str] = ()) -> Planned:
        """`planned` with the layer that it starts from: whichever may be used, in a later attempt also this run's own.

        useless: ids of layers that could not be restored.
        """
        reuser, plan = self.services.reuser, planned.plan
        if self.again:
            return replace(planned, plan=reuser.again(plan, self.fleet.freezer.made, useless, self.skipped))
        return replace(planned, plan=reuser.choose(plan, useless))

    def conclude(self) -> Conclusion:
        """How it ended, as the service would put it; told once, and kept in `end`."""
        services = self.services
        self.end.conclusion = conclude(
            self.end, self.plan, run=services.run.id, log_id=services.log_id, dry=services.dry_run
        )
        return self.end.conclusion
