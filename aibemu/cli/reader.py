"""Whether anybody still reads what a verb prints: `aibemu logs -f | head` ends although nothing more is printed."""

from __future__ import annotations

import select
from threading import Event as Never

from aibemu.cli.app import App
from aibemu.cli.globals import ReaderGone

STDOUT = 1


def check_reader() -> None:
    """Raise `ReaderGone` when standard output is a pipe that nobody reads from any more."""
    poll = select.poll()
    poll.register(STDOUT, 0)
    if any(what & (select.POLLERR | select.POLLHUP) for _, what in poll.poll(0)):
        raise ReaderGone


def wait_for_more(app: App, seconds: float) -> None:
    """Wait before the next look for something to print; raises as `check_reader` does."""
    check_reader()
    app.clock.wait(Never(), seconds)
