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
    """status: pending | running | ok | failed | skipped | cancelled | not run. seconds: None until it is over.

    earlier_seconds: in earlier attempts of the run. waited: seconds of all attempts in which it waited for an answer.
    """

    name: str
    status: str = "pending"
    started: str | None = None
    seconds: float | None = None
    earlier_seconds: float = 0.0
    waited: float = 0.0
    # In a dry run what it would do, in pieces that follow "would "; so of steps and outputs, too.
    would: tuple[str, ...] = ()

    @property
    def total_seconds(self) -> float | None:
        """In all attempts."""
        return total(self.seconds, self.earlier_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """role: customizer | validator | hidden. status as for phases, or cached. span: `file:line:column` or "".

    attempt: of the run, in which it ran or was found cached last. earlier_seconds: in attempts before that.
    """

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
    attempt: int = 1
    earlier_seconds: float = 0.0
    would: tuple[str, ...] = ()

    @property
    def total_seconds(self) -> float | None:
        """In all attempts."""
        return total(self.seconds, self.earlier_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSummary:
    """state: started | restored | connected | ready | stopped | kept | lost. command: how to get in when it is kept.
    boot: how far its last boot is or was: its stage, and what is waited for."""

    id: str
    role: str = ""
    state: str = "started"
    endpoint: str = ""
    hostname: str = ""
    boot: str = ""
    command: str = ""
    why: str = ""
    console: tuple[str, ...] = ()
    saved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSummary:
    """One distribute target. status: running | ok | failed | not written. artifact: resource id or URI."""

    run_output_name: str
    target: str = ""
    status: str = "running"
    started: str | None = None
    artifact: str | None = None
    paths: tuple[str, ...] = ()
    seconds: float | None = None
    error: str | None = None
    would: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run. started, ended: UTC as in the events. error: {code, message, hint, details, span, commands} or None.

    resumes: the run that this one continues. waiting: what it asks a person just now; choices: what may be answered;
    asked_about: the error that it asks about, if it is one. attempts: how often its phases began. waited: seconds for
    which it waited for an answer between them. awaits: what it waits for before it may have a machine ("memory: ...",
    "its turn: ..."). dry_run: nothing is run in it and nothing written, so nothing that it
    says of steps and outputs has happened.
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
    choices: tuple[str, ...] = ()
    asked_about: Mapping[str, Any] | None = None
    attempts: int = 1
    waited: float = 0.0
    awaits: str = ""
    dry_run: bool = False
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
    def shown_state(self) -> str:
        """Its state for people, who must never take a dry run for a build."""
        state = f"{self.state} ({self.sub_state})" if self.sub_state and not self.finished else self.state
        if not self.dry_run:
            return state
        done = {RunState.DRY_RUN.value, RunState.SUCCEEDED.value}  # the latter is what earlier versions wrote
        return "dry run" if self.state in done else f"dry run, {state}"

    @property
    def noun(self) -> str:
        """What it is called: `run ID` or `dry run ID`."""
        return f"{'dry run' if self.dry_run else 'run'} {self.id}"

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
        value["dryRun"] = value.pop("dry_run")  # the name that it has in the answers of all verbs
        value["notices"] = [{"level": level, "message": message} for level, message in self.notices]
        return value | {"lastRunStatus": self.last_run_status()}


def total(seconds: float | None, earlier: float) -> float | None:
    """Of all attempts; None when there is nothing to sum up."""
    return (seconds or 0.0) + earlier if earlier else seconds


def done_steps(summary: RunSummary, role: str) -> tuple[int, int]:
    """How many steps of a role need not be run any more in this attempt, and how many there are."""
    steps = [step for step in summary.steps if step.role == role]
    done = [step for step in steps if step.status in {"ok", "cached"} and step.attempt == summary.attempts]
    return len(done) + sum(step.status == "skipped" for step in steps), len(steps)


def service_time(at: str | None) -> str:
    """An event's time with the service's nine fractional digits."""
    return f"{at.removesuffix('Z')}000Z" if at else ZERO_TIME
