"""Counting the logins that a guest refuses in a row."""

from __future__ import annotations

from aibemu.clock import Clock
from aibemu.communicators import Refusal


class Refusals:
    """Logins that were refused, one after the other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._first = 0.0
        self.count = 0

    def add(self, answer: str) -> Refusal:
        """One more; what there is to say of them all."""
        now = self._clock.monotonic()
        self._first = now if not self.count else self._first
        self.count += 1
        return Refusal(count=self.count, seconds=now - self._first, answer=answer)
