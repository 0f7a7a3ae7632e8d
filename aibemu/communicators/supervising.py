"""Calls that may block without a bound, in a thread of their own, while the caller looks after its deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from aibemu.clock import Clock

# Seconds between two looks at the guard.
LOOK = 0.1
T = TypeVar("T")


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
