"""When people are told of a guest that says nothing."""

from __future__ import annotations

from collections.abc import Callable

from aibemu.text import short

# Seconds without a sign of life, or of progress, until people are told, before scaling.
FIRST_NOTICE = 20.0


class Growing:
    """When to tell of a silence: after a while, then whenever it has become twice as long."""

    def __init__(self, first: float) -> None:
        self._first = self._next = first
        self._before = 0.0

    @property
    def told(self) -> bool:
        """Whether the present silence was told."""
        return self._next > self._first

    def due(self, silence: float) -> bool:
        """silence: seconds; a shorter one than before is a new one."""
        if silence < self._before:
            self._next = self._first
        self._before = silence
        if silence < self._next:
            return False
        self._next = silence * 2
        return True


def telling_silence(tell: Callable[[str], None], who: str, slowness: float) -> Callable[[float, str], None]:
    """An `aibemu.communicators.factory.Watch.on_silence` for a person who waits for a command."""
    growing = Growing(FIRST_NOTICE * slowness)

    def on_silence(seconds: float, why: str) -> None:
        if growing.due(seconds):
            tell(f"{who} has not answered for {short(seconds)}: {why}; Ctrl-C waits no longer")

    return on_silence
