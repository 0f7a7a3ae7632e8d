"""Counting the logins that a guest refuses: how often in a row, and since when."""

from __future__ import annotations

from aibemu.clock import Clock
from aibemu.communicators import Refusal


class Refusals:
    """Logins that were refused, one after the other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._first: float | None = None
        self._for_now = False
        self._count = 0
        # All that were counted, for how long to wait before the next.
        self.tries = 0

    def add(self, for_now: bool, *, about_user: bool) -> None:
        """See `aibemu.communicators.ssh.login.LoginRefused`."""
        self.tries += 1
        self._for_now = for_now
        if for_now:
            self._count, self._first = 0, None
        elif about_user:
            self._count += 1
            self._first = self._clock.monotonic() if self._first is None else self._first

    def value(self, answer: str) -> Refusal:
        """What there is to say of them."""
        since = 0.0 if self._first is None else self._clock.monotonic() - self._first
        return Refusal(count=self._count, seconds=since, answer=answer, for_now=self._for_now)
