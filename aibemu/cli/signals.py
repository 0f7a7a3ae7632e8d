"""Ctrl-C, SIGTERM and SIGHUP on the process of a build: they cancel it.

One that was ignored before stays ignored: `nohup` and a shell's background jobs start programs like that, so that a
build goes on when its terminal is closed, or when Ctrl-C is meant for another program.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from aibemu.clock import CancelToken


@contextmanager
def obey_signals(token: CancelToken) -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into a cancel; the first cleans up, a second SIGINT gives the default effect."""

    def handle(number: int, frame: FrameType | None) -> None:
        if token and number == signal.SIGINT:
            raise KeyboardInterrupt
        token.cancel(f"interrupted by {signal.Signals(number).name}")

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        handler = signal.getsignal(number)
        if handler is not None and handler is not signal.SIG_IGN:  # None: not Python's, it could not be put back
            before[number] = handler
    try:
        for number in before:
            signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
