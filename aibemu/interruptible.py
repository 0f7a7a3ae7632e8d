"""Calls that may hang for as long as another machine likes, made so that a cancel does not wait for them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import NoReturn, TypeVar

from aibemu.clock import Deadline

T = TypeVar("T")

# Seconds between two looks at the deadline.
LOOK = 0.1


class Interruptible:
    """A thread that makes one call after the other, while the caller waits for the result and watches the deadline.

    The thread never outlives the program. A call that the caller does not wait for any more ends by itself.
    """

    def __init__(self, deadline: Deadline, *, name: str) -> None:
        self._deadline = deadline
        self._todo: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def call(self, work: Callable[[], T], *, seconds: float | None = None) -> T:
        """Return or raise what `work` does; raises what the deadline raises without waiting for `work`, and `Expired`
        when it takes more than `seconds`. After either the thread may be busy for ever: make another one."""
        bound = self._deadline if seconds is None else self._deadline.within(seconds, scaled=False)
        # A queue for each call: what an abandoned one gives in the end is no answer to the next.
        outcomes: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()
        self._todo.put(lambda: outcomes.put(_outcome(work)))
        while True:
            bound.check()
            try:
                return outcomes.get(timeout=LOOK)()
            except queue.Empty:
                continue

    def later(self, work: Callable[[], object]) -> None:
        """Make a call whose result nobody needs, after those that were asked for before."""
        self._todo.put(lambda: _outcome(work))

    def end(self) -> None:
        """No further calls: the thread ends when it has made those that were asked for."""
        self._todo.put(None)

    def _work(self) -> None:
        while (work := self._todo.get()) is not None:
            work()


def _outcome(work: Callable[[], T]) -> Callable[[], T]:
    """Make the call; what comes back gives its result again, or raises its error again."""
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
        return _raiser(error)
    return lambda: result


def _raiser(error: BaseException) -> Callable[[], NoReturn]:
    def throw() -> NoReturn:
        raise error

    return throw
