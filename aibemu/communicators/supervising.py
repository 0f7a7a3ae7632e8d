"""Calls that may block without a bound, in a thread of their own, while the caller looks after its deadline and its
machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from aibemu.clock import Clock, Deadline
from aibemu.errors import ProvisionFailed

# Seconds between two looks at the guard.
LOOK = 0.1
T = TypeVar("T")
# True while the connection is worth having; raises when it is time to stop.
Guard = Callable[[], bool]


def supervise(work: Callable[[], T], *, guard: Callable[[], object], clock: Clock, abandon: Callable[[], None]) -> T:
    """Do `work` in a thread, return or raise what it does; if `guard` raises first, call `abandon` and raise that."""
    done = threading.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            errors.append(error)
        done.set()

    threading.Thread(target=target, name="guest-call", daemon=True).start()
    try:
        while not clock.wait(done, LOOK):
            guard()
    except BaseException:
        abandon()
        raise
    if errors:
        raise errors[0]
    return results[0]


def watching(
    deadline: Deadline, *, same: Callable[[], bool], alive: Callable[[], None], tell: Callable[[float], None]
) -> Guard:
    """A guard that may be asked at any rate, and looks at the machine every `LOOK` seconds.

    same: whether the machine has not been reset since. alive: raises when it is dead. tell: gets the monotonic time, to
    tell people of a silence.
    """
    next_look = 0.0

    def guard() -> bool:
        nonlocal next_look
        deadline.check()
        now = deadline.clock.monotonic()
        if now < next_look:
            return True
        next_look = now + LOOK
        if not same():
            return False
        try:
            alive()
        except ProvisionFailed:  # a lost connection is data; connecting again will raise it
            return False
        tell(now)
        return True

    return guard
