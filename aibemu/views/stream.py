"""Standard error for views, so that a reader who does not read can be given up.

A write to a full pipe, or to a terminal that was stopped with Ctrl-S, waits for ever, and what waits in the kernel
cannot be called back. `ReleasableStream` writes without waiting there: it tries again until there is room or it is
released by another thread.
"""

from __future__ import annotations

import io
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, cast

AGAIN = 0.02  # seconds between two tries
PIECE = 4096  # bytes: a pipe takes that much as a whole or not at all
SHOW_CURSOR = "\x1b[?25h"


class ReleasableStream(io.TextIOBase):
    """Text to what `stream` writes to, unbuffered. For several threads; raises OSError as a file does."""

    def __init__(self, stream: TextIO, descriptor: int, send: Callable[[bytes], int]) -> None:
        self._terminal = stream.isatty()
        self._encoding = stream.encoding or "utf-8"
        self._descriptor = descriptor
        self._send = send
        self._released = threading.Event()
        self._writing = threading.Lock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    @property
    def released(self) -> bool:
        """Whether somebody gave up waiting for the reader."""
        return self._released.is_set()

    def release(self) -> None:
        """Write nothing more; a write that waits returns."""
        self._released.set()

    def isatty(self) -> bool:
        return self._terminal

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """Write all of it, or what fits until the stream is released. Nobody else's text gets into the midst of it."""
        data = text.encode(self._encoding, "backslashreplace")
        with self._writing:
            while data and not self.released:
                try:
                    data = data[self._send(data[:PIECE]) :]
                except BlockingIOError:
                    self._released.wait(AGAIN)
        return len(text)


@contextmanager
def releasable(stream: TextIO) -> Iterator[TextIO]:
    """`stream` as one that can be released, where writing to it may wait: pipes, terminals, sockets; else itself.

    When it was released, nothing that this process writes to it later waits either, unless a person sits there: to them
    it is said that something is missing, once they let their terminal go on.
    """
    made = _open(stream)
    if made is None:
        yield stream
        return
    try:
        yield cast(TextIO, made)
    finally:
        given_up = made.released
        made.release()  # whoever still has it must not write to a number that is another file's by then
        os.close(made.fileno())
        if given_up:
            _settle(stream)


def give_up(stream: TextIO) -> None:
    """Release the stream, if it can be."""
    if isinstance(stream, ReleasableStream):
        stream.release()


def _open(stream: TextIO) -> ReleasableStream | None:
    """On a description of its own: whether writing waits is a matter of the description, and the shell has it too."""
    try:
        number = stream.fileno()
        stream.flush()
        mode = os.fstat(number).st_mode
        if stat.S_ISSOCK(mode):
            return _open_socket(stream, number)
        if not (stat.S_ISFIFO(mode) or stream.isatty()):
            return None
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(f"/proc/self/fd/{number}", flags)
    except (OSError, ValueError, AttributeError):  # another user's terminal, a stream of a test
        return None
    return ReleasableStream(stream, descriptor, lambda data: os.write(descriptor, data))


def _open_socket(stream: TextIO, number: int) -> ReleasableStream:
    descriptor = os.dup(number)

    def send(data: bytes) -> int:
        with socket.socket(fileno=os.dup(descriptor)) as there:
            return there.send(data, socket.MSG_DONTWAIT)

    return ReleasableStream(stream, descriptor, send)


def _settle(stream: TextIO) -> None:
    if stream.isatty():
        stream.write(f"{SHOW_CURSOR}\nthe terminal was stopped: what it did not show is in the logs of the run\n")
        stream.flush()
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
