"""What the serial console says of a guest's end, and when that is believed.

While a machine boots nobody else has been in it, and its console is believed at once. Later anybody in the guest may
write there: what it says counts only with a guest that does not answer, and whose console says nothing more.
"""

from __future__ import annotations

from collections.abc import Callable

from aibemu.engine.machines.console import ConsoleReader
from aibemu.hypervisor import Machine

# Seconds, before scaling, without an answer and without more on the console: while a guest shuts down, it says more.
SETTLED = 10.0


class LastWords:
    """Of one machine. fatal: what its system says of the console's text (`aibemu.systems.GuestSystem`). now: as all
    times here in monotonic seconds."""

    def __init__(self, machine: Machine, fatal: Callable[[str], str | None], now: float) -> None:
        self._console = ConsoleReader(machine)
        self._fatal = fatal
        # What ended the guest, in a sentence, if its console says so; of its present boot only.
        self.said = ""
        self._resets = 0
        self._asked: float | None = None
        # How much the console had said when it last said something, and when that was.
        self._heard = (0, now)

    @property
    def length(self) -> int:
        """How much the console has said, in bytes."""
        return self._console.position

    def read(self, resets: int, *, booting: bool) -> None:
        """Read on. resets: how often the machine was reset so far, which ends what a running guest said before."""
        text = self._console.read()
        if not booting and resets != self._resets:
            text, self.said = "", ""
            self._console.forget()
        self._resets = resets
        self.said = self._fatal(text) or self.said

    def ask(self, now: float) -> None:
        """The guest is asked for an answer."""
        if self._asked is None:
            self._asked = now

    def answered(self) -> None:
        """It gave one, so it lives, whatever its console said."""
        self._asked, self.said = None, ""

    def silence(self, now: float) -> float:
        """Seconds for which the console has said nothing new."""
        if self.length != self._heard[0]:
            self._heard = (self.length, now)
        return now - self._heard[1]

    def settled(self, now: float, slowness: float) -> bool:
        """Whether they are believed."""
        asked = self._asked
        return bool(self.said) and asked is not None and now - max(asked, self._heard[1]) > SETTLED * slowness
