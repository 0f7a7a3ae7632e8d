"""Time, and the end of it: a `Clock` to read, a `CancelToken` to pull, and a `Deadline` that is passed down.

Nothing else in aibemu reads a clock or sleeps (a test checks it). A deadline is a value handed from caller to
callee; no layer adds up timeouts of its own.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from aibemu.errors import BuildCancelled, BuildTimedOut, Expired


class Clock(Protocol):
    """Wall time for people, monotonic time for measuring, and an interruptible wait."""

    def now(self) -> datetime:
        """The time, in UTC, with microseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed instant; never goes back."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Sleep until `event` is set or `seconds` are over; True if it was set."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(max(0.0, seconds))


class _SignalSafeEvent(threading.Event):
    """An event that a signal handler may set. Python runs handlers in the main thread between any two instructions, so
    also in the midst of `wait`: with the usual lock `set` would wait there for ever, with one that may be taken twice
    it would notify nobody yet. So there is none: whoever waits says so, and looks then."""

    def __init__(self) -> None:
        super().__init__()
        self._is_set = False
        self._sleepers: list[threading.Lock] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for sleeper in self._sleepers.copy():
            with contextlib.suppress(RuntimeError):  # somebody else has woken it
                sleeper.release()

    def wait(self, timeout: float | None = None) -> bool:
        sleeper = threading.Lock()
        sleeper.acquire()
        self._sleepers.append(sleeper)
        try:
            return self._is_set or sleeper.acquire(timeout=-1 if timeout is None else timeout)
        finally:
            self._sleepers.remove(sleeper)


class CancelToken:
    """Pulled once, by a signal handler or the cancel watcher; every wait of a run ends on it."""

    def __init__(self) -> None:
        self.event: threading.Event = _SignalSafeEvent()
        self.reason = "cancelled"

    def cancel(self, reason: str) -> None:
        if not self.event.is_set():
            self.reason = reason
            self.event.set()

    def __bool__(self) -> bool:
        return self.event.is_set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """When to stop waiting, and whom to obey.

    `build_ends` is the build's own end (buildTimeoutInMinutes): passing it raises `BuildTimedOut`. `ends` is a
    narrower bound set by `within`: passing it raises `Expired`, which the caller turns into its own error.
    Both in the clock's monotonic seconds. `slowness` scales bounds on hosts without hardware acceleration.
    """

    clock: Clock
    cancel: CancelToken = field(default_factory=CancelToken)
    build_ends: float = math.inf
    ends: float = math.inf
    slowness: float = 1.0

    def within(self, seconds: float, *, scaled: bool = True) -> Deadline:
        """Narrow to `seconds` from now, times the host's slowness unless `scaled` is False."""
        bound = seconds * (self.slowness if scaled else 1.0)
        return replace(self, ends=min(self.ends, self.clock.monotonic() + bound))

    def remaining(self) -> float:
        """Seconds left, never negative; infinity when there is no bound."""
        return max(0.0, min(self.ends, self.build_ends) - self.clock.monotonic())

    def check(self) -> None:
        """Raise `BuildCancelled`, `BuildTimedOut` or `Expired` if it is time to."""
        if self.cancel:
            raise BuildCancelled(self.cancel.reason)
        now = self.clock.monotonic()
        if now >= self.build_ends:
            raise BuildTimedOut("context deadline exceeded")
        if now >= self.ends:
            raise Expired("took too long")

    def sleep(self, seconds: float) -> None:
        """Sleep, but wake for a cancel and never past the end; then `check`."""
        self.check()
        self.clock.wait(self.cancel.event, min(seconds, self.remaining()))
        self.check()

    def poll(self, done: Callable[[], bool], *, every: float = 0.1) -> None:
        """Return when `done()` is true; check the deadline between tries."""
        while not done():
            self.sleep(every)


def forever(clock: Clock | None = None) -> Deadline:
    """A deadline without bound or canceller: for short commands outside a build."""
    return Deadline(clock=clock or SystemClock())
