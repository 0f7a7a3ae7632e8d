"""Turns: how many builds of one program have machines at the same time. Memory is counted besides: `runs.admission`."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from aibemu.clock import Deadline
from aibemu.events import Emit, Kind
from aibemu.text import counted, short

# Seconds between two looks of a build that waits.
LOOK_EVERY = 0.1


@dataclass(slots=True, kw_only=True)
class Turns:
    """At most `most` builds at once, in the order in which they asked. For several threads.

    fail_fast: when one has failed no other gets a turn: those that wait are about to be cancelled.
    """

    most: int
    fail_fast: bool = False
    _failed: str = ""
    _queue: list[Turn] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, name: str) -> Turn:
        """A place in the queue for the build that people call `name`; it is held until `Turn.give_back`."""
        turn = Turn(name=name, turns=self)
        with self._lock:
            self._queue.append(turn)
        return turn

    def before(self, turn: Turn) -> Sequence[str]:
        """Names of the builds that `turn` waits for; none when it may go."""
        with self._lock:
            if self._failed:
                return [self._failed]
            place = self._queue.index(turn) if turn in self._queue else 0
            return [one.name for one in self._queue[:place]] if place >= self.most else []

    def leave(self, turn: Turn) -> None:
        """The next one may go. May be called again."""
        with self._lock:
            if turn in self._queue:
                self._queue.remove(turn)
                self._failed = self._failed or (turn.name if turn.failed and self.fail_fast else "")

    @contextmanager
    def given_back(self, turn: Turn) -> Iterator[None]:
        """Give the turn back if the block raises."""
        try:
            yield
        except BaseException:
            turn.give_back()
            raise


@dataclass(eq=False, slots=True, kw_only=True)
class Turn:
    """One build's."""

    name: str
    turns: Turns
    # Whether its build failed; one that was cancelled did not.
    failed: bool = False

    def wait(self, deadline: Deadline, emit: Emit) -> float:
        """Wait until the build may have a machine; the seconds that took. Raises what `deadline.check` raises.

        `emit` hears of a wait and of its end.
        """
        before = self.turns.before(self)
        if not before:
            return 0.0
        clock = deadline.clock
        began = clock.monotonic()
        why = f"its turn: {counted(self.turns.most, 'build')} at once; before it: {_joined(before)}"
        emit(Kind.NOTICE, level="note", message=f"waiting for {why}", awaited=why)
        while self.turns.before(self):
            deadline.sleep(LOOK_EVERY)
        waited = clock.monotonic() - began
        emit(Kind.NOTICE, level="note", message=f"it has its turn: going on after {short(waited)}", awaited="")
        return waited

    def give_back(self) -> None:
        """The build has no machine any more. May be called again."""
        self.turns.leave(self)


def _joined(names: Sequence[str]) -> str:
    most = 3
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
