"""A clock that is turned by hand: waiting takes no time, and time passes only by waiting or by `advance`."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)


class FakeClock:
    """An `aibemu.clock.Clock`. Deterministic with one thread; safe with several.

    `at` lets something happen at a moment of fake time, e.g. `clock.at(5, lambda: token.cancel("Ctrl-C"))`.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._lock = threading.RLock()
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Let `seconds` pass at once, but stop where a scheduled action sets `event`; True if it is set.

        Waiting without end for what nothing scheduled can bring is a test that would hang: `AssertionError`.
        """
        if event.is_set():
            return True
        with self._lock:
            end = self._elapsed + max(0.0, seconds)
            while self._due and self._due[0][0] <= end:
                self._run_next()
                if event.is_set():
                    return True
            if math.isinf(end):
                raise AssertionError("waiting for ever on a fake clock: nothing is scheduled that would end it")
            self._elapsed = end
        return event.is_set()

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass; what is scheduled within happens in order."""
        self.wait(threading.Event(), seconds)

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` when the clock has come `seconds` further than now."""
        with self._lock:
            heapq.heappush(self._due, (self._elapsed + seconds, next(self._order), action))

    def _run_next(self) -> None:
        moment, _, action = heapq.heappop(self._due)
        self._elapsed = max(self._elapsed, moment)
        action()
