"""When a login that a guest refuses is not waited for any longer.

While the first boot is not over a refused key is normal: the guest makes the user in the course of it, however long it
takes, and some report that they are provisioned before.
"""

from __future__ import annotations

from aibemu.communicators import Refusal
from aibemu.fabric.handle import Platform

# So many more refusals, once the first boot is over.
MOST_REFUSALS = 3
# Refused for so long (seconds, before scaling) once the guest reported that it is provisioned, or after somebody was in
# it: a guest that restarts refuses everybody for a moment.
REFUSED_BOUND = 60.0


class Logins:
    """What is known of the logins to one machine."""

    def __init__(self, platform: Platform | None, slowness: float) -> None:
        self._platform = platform
        self._bound = REFUSED_BOUND * slowness
        # Whether the first boot is over; whether somebody was logged in.
        self.over = self.entered = False
        # Refusals before it was over: one more may have been under way then.
        self._early = 0

    @property
    def report(self) -> str:
        """What the guest has reported of itself: `Ready`; "" when nothing."""
        verdict = self._platform.verdict if self._platform is not None else None
        return verdict.state if verdict is not None else ""

    def hopeless(self, refusal: Refusal) -> bool:
        """Whether it will be refused for ever."""
        if refusal.for_now:
            return False
        if not self.over or refusal.count <= self._early:
            self._early = 0 if self.over else refusal.count
        if self.over and not self.entered:
            return refusal.count - self._early >= MOST_REFUSALS
        verdict = self._platform.verdict if self._platform is not None else None
        known = self.entered or (verdict is not None and not verdict.failed)
        return known and refusal.seconds >= self._bound
