"""When Ctrl-C is an exception, and when it ends the program at once.

Python turns Ctrl-C into an exception, also while modules are imported and while the interpreter ends, where nobody can
catch it. There the signal has its usual effect, as in a program that is not written in Python.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def answering() -> Iterator[None]:
    """Inside, Ctrl-C is a `KeyboardInterrupt` again; one that was ignored when the program was started stays so."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        end_at_once()


def end_at_once() -> None:
    """From here on Ctrl-C ends the program without a word, unless it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
