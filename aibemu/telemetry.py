"""The one way from something that happens to everything that shows or stores it.

One structlog chain: merge the context (phase, step), check the vocabulary, redact, stamp, number, fan out, stop. It
runs under one lock, so that every view sees the same events in the same order with gapless numbers. What belongs to the
record is written before `emit` returns; the views that are for somebody to look at have threads of their own, so that a
full pipe or a stopped terminal holds up nobody. A view that raises is switched off with a warning to the others; it
never ends a build. Threads must run under `contextvars.copy_context()`, or their events lose phase and step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars

from aibemu.clock import Clock
from aibemu.events import FIELDS, Event, Kind, Passing, SeesPassing, View
from aibemu.views.queued import QueuedView, ReadOn, close_quietly

EventDict = MutableMapping[str, Any]
FLUSH = 5.0  # seconds for which `flush` waits for a view that is blocked


class UnknownEvent(AssertionError):
    """A kind or field that is not in `aibemu.events`: a bug in the caller."""


class _Logger(structlog.BoundLoggerBase):
    """Hands over a kind and its fields as two values, so that no field's name can clash with structlog's own."""

    def event(self, kind: Kind, fields: dict[str, Any]) -> None:
        self._proxy_to_logger("event", kind, fields=fields)


class Telemetry:
    """The event chain of one run.

    views: of the record, shown each event before `emit` returns. shown: views that may be slow, or block for ever; each
    gets a thread. read_on: makes what reads the events back from the record that a view of `shown` has no room for.
    first: number of the first event, for a record that is taken up again. `emit` is an `aibemu.events.Emit`.
    """

    def __init__(
        self, run: str, views: Sequence[View], clock: Clock, redactor: Callable[[Any], Any], *, first: int = 1,
        shown: Sequence[View] = (), read_on: Callable[[], ReadOn] = lambda: lambda after: (),
    ) -> None:  # fmt: skip
        self.run = run
        self._queued = [QueuedView(view, read_on=read_on(), failed=self._drop) for view in shown]
        # The record's first: what a queue has no room for is read from there.
        self._views: list[View] = [*views, *self._queued]
        # Views that failed at what passes.
        self._blind: list[View] = []
        self._clock = clock
        self._redactor = redactor
        # Half a secret must not be shown because its other half has not come yet.
        self._redact_unfinished: Callable[[str], str] = getattr(redactor, "unfinished", redactor)
        self._next = first
        self._lock = threading.RLock()
        self._busy = False
        self._record_only = False
        self._log: _Logger = structlog.wrap_logger(
            None,
            processors=[merge_contextvars, _check, self._redact, self._stamp, self._number, self._fan_out],
            wrapper_class=_Logger,
            context_class=dict,
        )

    def emit(self, kind: Kind, /, **fields: Any) -> None:
        """Number `kind` and put it into the record before returning; `UnknownEvent` for what is no event."""
        with self._lock:
            if self._busy:
                raise UnknownEvent("a view must not emit events")
            self._log.event(kind, fields)

    def keep(self, kind: Kind, /, **fields: Any) -> None:
        """Like `emit`, for the record only: people have heard of it already."""
        with self._lock:
            self._record_only = True
            try:
                self.emit(kind, **fields)
            finally:
                self._record_only = False

    def show_passing(self, *, text: str, step: str = "", machine: str = "") -> None:
        """Show it to views that show such things; see `aibemu.events.Passing`. One that fails at it is told no more."""
        seeing = [one.view for one in self._queued if isinstance(one.view, SeesPassing) and one.view not in self._blind]
        if not seeing:
            return
        passing = Passing(read=lambda: self._redact_unfinished(text), step=step, machine=machine)
        for view in seeing:
            try:
                view.on_passing(passing)
            except Exception as error:  # noqa: BLE001 - whatever a view does, the build goes on
                self._blind.append(view)
                why = f"{type(error).__name__}: {error}"
                self.emit(Kind.NOTICE, level="note", message=f"unfinished lines are not shown any more: {why}")

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Events inside belong to this phase."""
        with bound_contextvars(phase=str(name)):
            yield

    @contextmanager
    def step(self, step_id: str) -> Iterator[None]:
        """Events inside belong to this step."""
        with bound_contextvars(step=step_id):
            yield

    def flush(self) -> None:
        """Wait until all views have seen all events so far, for `FLUSH` seconds at most."""
        for view in self._queued:
            view.flush(FLUSH)

    def close(self, *, soon: bool = False) -> None:
        """Close every view, whatever the others do; one that cannot be closed is passed over. Waits for views that lag
        behind, with `soon` for a moment only, but not for those that are blocked: what they did not show is in the
        record."""
        shown, self._queued = self._queued, []
        try:
            for queued in shown:
                queued.end()
            for queued in shown:
                queued.close(soon=soon)  # without the lock: one that fails is still told to the record
        finally:
            with self._lock:
                views, self._views = self._views, []
            for view in views:
                if not isinstance(view, QueuedView):
                    close_quietly(view)

    def _drop(self, view: QueuedView, error: Exception) -> None:
        with self._lock:
            if view in self._views:
                self._views.remove(view)
        self.emit(Kind.NOTICE, level="warning", message=_switched_off(view.view, error))

    def _redact(self, logger: Any, method: str, event: EventDict) -> EventDict:
        event["fields"] = self._redactor(event["fields"])
        return event

    def _stamp(self, logger: Any, method: str, event: EventDict) -> EventDict:
        event["at"] = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return event

    def _number(self, logger: Any, method: str, event: EventDict) -> EventDict:
        event["seq"] = self._next
        self._next += 1
        return event

    def _fan_out(self, logger: Any, method: str, event: EventDict) -> EventDict:
        made = Event(
            seq=event["seq"], at=event["at"], run=self.run, kind=event["event"], phase=event.get("phase"),
            step=event.get("step"), fields=event["fields"],
        )  # fmt: skip
        interrupt: BaseException | None = None
        failures: list[str] = []
        self._busy = True
        try:
            for view in tuple(self._views):
                if self._record_only and isinstance(view, QueuedView):
                    continue
                try:
                    view.on_event(made)
                except Exception as error:  # noqa: BLE001 - whatever a view does, the build goes on
                    self._views.remove(view)
                    close_quietly(view)
                    failures.append(_switched_off(view, error))
                except BaseException as error:  # noqa: BLE001 - Ctrl-C: first let the other views see the event
                    interrupt = error
        finally:
            self._busy = False
        for message in failures:
            self.emit(Kind.NOTICE, level="warning", message=message)
        if interrupt is not None:
            raise interrupt
        raise structlog.DropEvent


def _check(logger: Any, method: str, event: EventDict) -> EventDict:
    kind = event["event"]
    if not isinstance(kind, Kind):
        raise UnknownEvent(f"unknown event kind {kind!r}")
    if unknown := sorted(set(event["fields"]) - FIELDS[kind]):
        raise UnknownEvent(f"{kind.value} has no field {', '.join(unknown)}")
    return event


def _switched_off(view: View, error: Exception) -> str:
    return f"{type(view).__name__} was switched off: {type(error).__name__}: {error}"
