"""A run as a value: what `aibemu.reports.fold` makes of its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from aibemu.events import RunState

# Go's zero time: what the service shows while a run has no end (facts: service 1.6).
ZERO_TIME = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSummary:
    """status: pending | running | ok | failed | skipped | cancelled. seconds: None until it is over."""

    name: str
    status: str = "pending"
    started: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """role: customizer | validator | hidden. status as for phases, or cached. span: `file:line:column` or ""."""

    id: str
    role: str
    kind: str = ""
    label: str = ""
    phase: str = ""
    status: str = "pending"
    span: str = ""
    source: str = ""
    inline: tuple[str, ...] = ()
    started: str | None = None
    exit_code: int | None = None
    error: str | None = None
    seconds: float | None = None
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSummary:
    """state: started | restored | connected | ready | stopped | kept | lost. command: how to get in when it is kept."""

    id: str
    role: str = ""
    state: str = "started"
    endpoint: str = ""
    hostname: str = ""
    command: str = ""
    why: str = ""
    console: tuple[str, ...] = ()
    saved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSummary:
    """One distribute target. status: running | ok | failed. artifact: resource id or URI."""

    run_output_name: str
    target: str = ""
    status: str = "running"
    started: str | None = None
    artifact: str | None = None
    paths: tuple[str, ...] = ()
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run. started, ended: UTC as in the events. error: {code, message, hint, details, span, commands} or None.

    resumes: the run that this one continues. waiting: what it asks a person just now.
    """

    id: str = ""
    template: str = ""
    template_id: str = ""
    file: str = ""
    image: Mapping[str, Any] = field(default_factory=dict)
    exact_version: str = ""
    driver: str = ""
    driver_options: Mapping[str, str] = field(default_factory=dict)
    accelerator: Mapping[str, Any] = field(default_factory=dict)
    log_id: str = ""
    timeout_minutes: float = 0
    staging: str = ""
    resumes: str = ""
    waiting: str = ""
    state: str = RunState.RUNNING.value
    sub_state: str = ""
    message: str = ""
    started: str | None = None
    ended: str | None = None
    seconds: float | None = None
    error: Mapping[str, Any] | None = None
    phases: tuple[PhaseSummary, ...] = ()
    steps: tuple[StepSummary, ...] = ()
    machines: tuple[MachineSummary, ...] = ()
    outputs: tuple[OutputSummary, ...] = ()
    notices: tuple[tuple[str, str], ...] = ()

    @property
    def finished(self) -> bool:
        """True when the record says how the run ended."""
        return self.ended is not None

    @property
    def failed_step(self) -> StepSummary | None:
        """The step that failed last."""
        return next((step for step in reversed(self.steps) if step.status == "failed"), None)

    @property
    def current_phase(self) -> PhaseSummary | None:
        return next((phase for phase in reversed(self.phases) if phase.status == "running"), None)

    @property
    def current_step(self) -> StepSummary | None:
        return next((step for step in reversed(self.steps) if step.status == "running"), None)

    @property
    def kept(self) -> tuple[MachineSummary, ...]:
        """Machines that were left running for a person."""
        return tuple(machine for machine in self.machines if machine.state == "kept")

    def last_run_status(self) -> dict[str, str]:
        """lastRunStatus as the service writes it: nine fractional digits, Go's zero time until the end, runSubState
        left out when there is none and while Canceling."""
        status = {
            "startTime": service_time(self.started),
            "endTime": service_time(self.ended),
            "runState": self.state,
        }
        if self.sub_state and self.state != RunState.CANCELING.value:
            status["runSubState"] = self.sub_state
        return status | {"message": self.message}

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        value = asdict(self)
        value["notices"] = [{"level": level, "message": message} for level, message in self.notices]
        return value | {"lastRunStatus": self.last_run_status()}


def service_time(at: str | None) -> str:
    """An event's time with the service's nine fractional digits."""
    return f"{at.removesuffix('Z')}000Z" if at else ZERO_TIME
