"""Waiting for what a guest does on its own."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.guest_calls import PATIENCE


def until(happened: Callable[[], bool]) -> None:
    """Look again and again, until it happened."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
