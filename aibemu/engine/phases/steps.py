"""Running one step on one machine: events around it, its lines counted and passed on, a reboot noticed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Credentials, OnLine, Stream
from aibemu.customizers import Customizer, Description, Outcome, Restart, goes_on_after_restart
from aibemu.engine.machines.boot import Booted
from aibemu.engine.machines.console import keep_text
from aibemu.engine.machines.saving import RestartSaver
from aibemu.engine.phases.output import Lines, Output, Unheard
from aibemu.engine.state import BuildState
from aibemu.errors import BuildCancelled, BuildTimedOut, FreezeFailed
from aibemu.events import Kind
from aibemu.systems import GuestSystem


@dataclass(slots=True, kw_only=True)
class StepGuest:
    """The engine's `aibemu.customizers.Guest`: what one step may do to a machine."""

    booted: Booted
    deadline: Deadline
    # Where what it prints goes.
    lines: Lines
    # Puts the disk aside while it restarts the machine, where that is to be a layer.
    saver: RestartSaver | None = None

    @property
    def communicator(self) -> Communicator:
        return self.booted.communicator

    @property
    def credentials(self) -> Credentials:
        return self.booted.credentials

    def say(self, text: str) -> None:
        self.lines.say(text)

    def command_started(self, command: str) -> None:
        self.lines.command(command, None)

    def command_ended(self, command: str, exit_code: int) -> None:
        self.lines.command(command, exit_code)

    @property
    def on_line(self) -> OnLine:
        return self.lines

    @property
    def system(self) -> GuestSystem:
        return self.booted.system

    def keep(self, name: str, text: str) -> str:
        try:
            return str(keep_text(self.booted.watchdog.services, f"{self.booted.role}-{name}", text))
        except OSError as error:
            return f"nowhere ({error})"

    def rebooted(self) -> bool:
        return self.booted.rebooted(self.deadline)

    def restart(self, command: str, check: str | None, timeout: float, *, accept: Collection[int] = (0,)) -> Restart:
        return self.booted.restart(command, check, timeout, self.deadline, accept=accept, saver=self.saver)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """A step about to run."""

    # `c1`, `v2`, or `deprovision`.
    id: str
    # Its type in the template, and what people call it.
    kind: str
    label: str
    # Its place among so many, from 0.
    index: int
    total: int
    step: Customizer
    # What was fetched for it, in the order of its `needs`.
    files: Sequence[Path] = ()
    # `file:line:column`, or "".
    span: str = ""
    # AIB adds it by itself: people do not count it.
    hidden: bool = False
    saver: RestartSaver | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """How a step ended, and what a layer keeps of it, for the log of a build that takes the step from it."""

    outcome: Outcome
    # {started, output, finished, warnings}, as events have them.
    said: Mapping[str, Any]


def run_step(state: BuildState, booted: Booted, run: StepRun) -> StepResult:
    """Run a step to its end; how it ended is data, only cancel, timeout and a dead machine raise."""
    clock = state.services.clock
    started = clock.monotonic()
    lines = Output(
        emit=state.emit, most=state.services.settings.output_limit, check=state.deadline.check,
        passing=partial(state.services.telemetry.show_passing, step=run.id), cut=state.services.redactor.cut,
    )  # fmt: skip
    guest = StepGuest(booted=booted, deadline=state.deadline, lines=lines, saver=run.saver)
    with state.services.telemetry.step(run.id):
        described = _described(run, run.step.describe())
        state.emit(Kind.STEP_STARTED, **described)
        try:
            outcome = run.step.apply(guest, run.files)
        except BaseException as error:
            lines.finish()
            cancelled = isinstance(error, BuildCancelled | BuildTimedOut | KeyboardInterrupt)
            state.emit(
                Kind.STEP_FINISHED, status="cancelled" if cancelled else "failed", exit_code=None, error=str(error),
                seconds=clock.monotonic() - started, bytes=_bytes(lines.sent),
            )  # fmt: skip
            raise
        lines.finish()
        ended = {
            "status": "failed" if outcome.error else "ok", "exit_code": outcome.exit_code, "error": outcome.error,
            "seconds": clock.monotonic() - started, "bytes": _bytes(lines.sent),
        }  # fmt: skip
        state.emit(Kind.STEP_FINISHED, **ended)
    said = {"started": described, "output": lines.said, "finished": ended, "warnings": list(outcome.warnings)}
    for warning in outcome.warnings:
        state.emit(Kind.NOTICE, level="warning", message=f"{run.label}: {warning}")
    if outcome.going_down and not outcome.error:
        state.emit(Kind.NOTICE, level="note", message=f"{run.label} restarts the machine: waiting for its next boot")
        booted.wait_for_reboot(state.deadline)
    return StepResult(outcome=outcome, said=said)


def finish_restart(state: BuildState, step: Customizer) -> None:
    """On a machine that has booted from the disk as it was at the last restart of `step`: do what the step did after
    it. `FreezeFailed` when that goes wrong. What it says is not told again."""
    if going_on := goes_on_after_restart(step):
        booted = state.fleet.build
        outcome = going_on.after_restart(StepGuest(booted=booted, deadline=state.deadline, lines=Unheard()))
        if outcome.error:
            raise FreezeFailed(f"what comes after its restart went wrong: {outcome.error}")


def _bytes(sent: Mapping[str, int]) -> dict[str, int]:
    return {stream.value: sent.get(stream.value, 0) for stream in Stream}


def _described(run: StepRun, what: Description) -> dict[str, Any]:
    return {
        "step_kind": run.kind, "label": run.label, "index": run.index, "total": run.total, "span": run.span,
        "local_name": what.local_name, "remote": what.remote, "command": what.command,
        "lines": list(what.lines) if what.lines else None, "source": what.source, "destination": what.destination,
        "hidden": run.hidden,
    }  # fmt: skip
