"""The one way from something that happens to everything that shows or stores it.

One structlog chain: merge the context (phase, step), check the vocabulary, redact, stamp, number, fan out, stop. It
runs under one lock, so that every view sees the same events in the same order with gapless numbers. A view that raises
is switched off with a warning to the others; it never ends a build. Threads must run under
`contextvars.copy_context()`, or their events lose phase and step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars

from aibemu.clock import Clock
from aibemu.events import FIELDS, Event, Kind, View

EventDict = MutableMapping[str, Any]


class UnknownEvent(AssertionError):
    """A kind or field that is not in `aibemu.events`: a bug in the caller."""


class _Logger(structlog.BoundLoggerBase):
    """Hands over a kind and its fields as two values, so that no field's name can clash with structlog's own."""

    def event(self, kind: Kind, fields: dict[str, Any]) -> None:
        self._proxy_to_logger("event", kind, fields=fields)


class Telemetry:
    """The event chain of one run.

    record: views that keep the run; views: those that show it. first: number of the first event, for a record that is
    taken up again. `emit` is an `aibemu.events.Emit`.
    """

    def __init__(
        self, run: str, views: Sequence[View], clock: Clock, redactor: Callable[[Any], Any], *,
        record: Sequence[View] = (), first: int = 1,
    ) -> None:  # fmt: skip
        self.run = run
        self._views = [*record, *views]
        self._record = tuple(record)
        self._shown = True
        self._clock = clock
        self._redactor = redactor
        self._next = first
        self._lock = threading.RLock()
        self._busy = False
        self._log: _Logger = structlog.wrap_logger(
            None,
            processors=[merge_contextvars, _check, self._redact, self._stamp, self._number, self._fan_out],
            wrapper_class=_Logger,
            context_class=dict,
        )

    def emit(self, kind: Kind, /, **fields: Any) -> None:
        """Number `kind` and show it to every view before returning; `UnknownEvent` for what is no event."""
        with self._lock:
            if self._busy:
                raise UnknownEvent("a view must not emit events")
            self._log.event(kind, fields)

    def keep(self, kind: Kind, /, **fields: Any) -> None:
        """Number `kind` and show it to the record only: people have heard of it already."""
        with self._lock:
            self._shown = False
            try:
                self.emit(kind, **fields)
            finally:
                self._shown = True

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

    def close(self) -> None:
        """Close every view, whatever the others do; one that cannot be closed is passed over."""
        with self._lock:
            views, self._views = self._views, []
            for view in views:
                _quietly(view.close)

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
                if not self._shown and view not in self._record:
                    continue
                try:
                    view.on_event(made)
                except Exception as error:  # noqa: BLE001 - whatever a view does, the build goes on
                    self._views.remove(view)
                    _quietly(view.close)
                    failures.append(f"{type(view).__name__} was switched off: {type(error).__name__}: {error}")
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


def _quietly(close: Callable[[], None]) -> None:
    try:
        close()
    except Exception:  # noqa: BLE001 - it is being given up, there is nobody left to tell
        return
