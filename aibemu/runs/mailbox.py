"""Stopping a build from outside: Ctrl-C and SIGTERM on its process, `aibemu cancel` through a file in the run."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aibemu.clock import CancelToken
from aibemu.runs.store import Run

LOOK_EVERY = 0.2  # seconds


class Once:
    """Calls `action` the first time only; whoever calls it later waits until that is over. For several threads."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._done = False
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            if not self._done:
                self._done = True
                self._action()


@contextmanager
def watch(run: Run, token: CancelToken, canceling: Callable[[], None]) -> Iterator[None]:
    """Look for the run's cancel file; call `canceling` once, when the token is pulled, whoever pulled it."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY):
            if run.cancel_file.exists():
                token.cancel("cancelled by aibemu cancel")
            if token:
                canceling()
                return

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(look,), name="cancel-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
