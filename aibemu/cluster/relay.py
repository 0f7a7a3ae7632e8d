"""What a worker tells of a build, and what becomes of it here: each event once, in order, with this run's id."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from aibemu.engine.state import BuildState
from aibemu.errors import AibemuError, BuildError, Span
from aibemu.events import Event, Kind, RunState, RunSubState
from aibemu.plan.model import Plan

# What a worker tells: it has begun; an event of its run; the disk is there to be fetched.
BEGUN, EVENT, MADE = "begun", "event", "made"
# Events that are about the worker's own run: this one has such of its own.
_OWN = frozenset({Kind.RUN_STARTED, Kind.RUN_FINISHED, Kind.RUN_WAITING, Kind.RUN_ANSWERED, Kind.RUN_RETRIED})
# How to get into a machine there: nobody here can.
_ACCESS = ("endpoint", "user", "key", "access")


class Teller:
    """Numbers what one attempt tells, so that who hears it knows whether all came. For several threads."""

    def __init__(self, attempt: str, order: str, send: Callable[[dict[str, Any]], None]) -> None:
        """send: sends one message, of JSON values, without waiting for anything."""
        self.attempt, self.order = attempt, order
        self._send = send
        self._lock = threading.Lock()
        self.count = 0

    def tell(self, what: str, **fields: Any) -> None:
        with self._lock:
            self.count += 1
            head = {"what": what, "attempt": self.attempt, "order": self.order, "number": self.count}
            self._send({**head, "fields": json.dumps(fields)})


class RelayView:
    """An `aibemu.events.View` that tells a run's events from the notice on that is called `opening`: what comes before
    it has been told by who asked for the build."""

    def __init__(self, teller: Teller, opening: str) -> None:
        self._teller, self._opening = teller, opening
        self._open = False

    def on_event(self, event: Event) -> None:
        self._open = self._open or (event.kind is Kind.NOTICE and event.fields.get("message") == self._opening)
        if self._open and event.kind not in _OWN:
            self._teller.tell(EVENT, event=event.as_json())

    def close(self) -> None:
        """There is nothing to close."""


def emit_here(state: BuildState, event: Event, theirs: str) -> None:
    """Tell an event of a worker's run as one of this build's. theirs: the id of the run there."""
    telemetry, fields = state.services.telemetry, renamed(dict(event.fields), theirs, state.services.run.id)
    if event.kind is Kind.RUN_STATE:
        if fields.get("state") == RunState.RUNNING.value and fields.get("sub_state"):
            state.enter(RunSubState(fields["sub_state"]))
        return
    if event.kind is Kind.MACHINE_STARTED:
        fields |= dict.fromkeys(_ACCESS)
    if event.step and fields.get("span"):
        fields["span"] = str(_step_span(state.plan, event.step) or "")
    with telemetry.phase(event.phase or ""), telemetry.step(event.step or ""):
        telemetry.emit(event.kind, **fields)


def renamed(value: Any, theirs: str, ours: str) -> Any:
    """The same where each text names this run instead of the one there."""
    if isinstance(value, str):
        return value.replace(theirs, ours) if theirs else value
    if isinstance(value, list):
        return [renamed(item, theirs, ours) for item in value]
    if isinstance(value, dict):
        return {name: renamed(item, theirs, ours) for name, item in value.items()}
    return value


def error_of(record: Mapping[str, Any], span: Span | None) -> AibemuError:
    """The error that a worker's build ended with, as if it had been raised here. span: its place in the template."""
    made = _classes(AibemuError).get(str(record.get("code")), BuildError)
    return made(
        str(record.get("message")), hint=record.get("hint"), details=tuple(record.get("details") or ()), span=span,
        commands=tuple(record.get("commands") or ()),
    )  # fmt: skip


def span_here(plan: Plan, text: str | None, spans: Mapping[str, str]) -> Span | None:
    """The place in this template of what is at `text` in the one that was sent. spans: id of a step -> its place
    there."""
    step = next((step for step, span in spans.items() if text and span == text), None)
    return _step_span(plan, step) if step else None


def spans_of(plan: Plan) -> dict[str, str]:
    """Id of a step -> its place."""
    return {step.id: str(step.spec.span) for step in (*plan.steps, *plan.validators)}


def _step_span(plan: Plan, step: str) -> Span | None:
    return next((one.spec.span for one in (*plan.steps, *plan.validators) if one.id == step), None)


def _classes(base: type[AibemuError]) -> dict[str, type[AibemuError]]:
    """Code -> class of `base` and those below it; of several with one code the first."""
    found: dict[str, type[AibemuError]] = {base.code: base}
    for below in base.__subclasses__():
        for code, made in _classes(below).items():
            found.setdefault(code, made)
    return found
