"""What one step printed, from a run's events: attempt by attempt, with what a layer kept of it where it was not run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aibemu.events import Event, Kind
from aibemu.reports.summary import StepSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """A line. attempt: of the run, from 1. heading: aibemu's own line, before what the step printed in an attempt."""

    attempt: int
    text: str
    heading: bool = False


class StepLog:
    """Takes the events of a run one by one, and gives the lines that are due. step: as it is called by the end."""

    def __init__(self, step: StepSummary) -> None:
        self._step = step
        self._id = step.id
        self._attempt = 1
        # How an earlier attempt of it went; "" if there was none.
        self._before = ""

    def read(self, event: Event) -> Iterator[Printed]:
        """The lines that this event adds."""
        if event.kind in (Kind.RUN_STARTED, Kind.RUN_RETRIED):
            self._attempt += event.kind is Kind.RUN_RETRIED
            self._id = self._id_in(event.fields)
        elif event.step == self._id:
            yield from self._of_step(event.kind, event.fields)

    def _of_step(self, kind: Kind, fields: Mapping[str, Any]) -> Iterator[Printed]:
        if kind is Kind.STEP_OUTPUT:
            yield self._line(fields.get("line", ""))
        elif kind is Kind.STEP_STARTED and self._before:
            yield self._heading(f"it runs again; {self._before}")
        elif kind is Kind.STEP_FINISHED:
            why = f": {fields['error']}" if fields.get("error") else ""
            self._before = f"attempt {self._attempt}: {fields.get('status')}{why}"
        elif kind is Kind.STEP_CACHED:
            yield from self._cached(fields)

    def _cached(self, fields: Mapping[str, Any]) -> Iterator[Printed]:
        said, how = fields.get("said"), fields.get("how")
        if self._before:  # what it printed is above
            yield self._heading(f"not run again, {how}")
            return
        kept = "what it printed was not kept" if said is None else "it printed then:"
        yield self._heading(f"not run, {how}; {kept}")
        for one in (said or {}).get("output") or ():
            yield self._line(one.get("line", ""))
        self._before = f"attempt {self._attempt}: {how}"

    def _line(self, text: object) -> Printed:
        return Printed(attempt=self._attempt, text=str(text))

    def _heading(self, text: str) -> Printed:
        return Printed(attempt=self._attempt, text=f"== attempt {self._attempt}: {text}", heading=True)

    def _id_in(self, fields: Mapping[str, Any]) -> str:
        """Its id in this attempt: an edit of the template may have moved it."""
        planned = [step for name in ("steps", "validators") for step in fields.get(name) or ()]
        named = [str(step["id"]) for step in planned if step.get("label") == self._step.label]
        return named[0] if len(named) == 1 else self._step.id


def step_lines(events: Iterable[Event], step: StepSummary) -> Iterator[Printed]:
    """All of them."""
    log = StepLog(step)
    for event in events:
        yield from log.read(event)
