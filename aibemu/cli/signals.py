"""Ctrl-C, SIGTERM and SIGHUP on the process of a build: they cancel it."""

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

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
