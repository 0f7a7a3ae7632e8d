"""A console that a hypervisor writes into a file: read by offset, and kept from filling the host's disk.

The file is never cut: whoever writes it has its own place in it, and offsets stay what they are. What is too old
becomes a hole, which takes no room on the disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

from aibemu.hypervisor import ConsolePart

# Bytes that can be read again; older ones cannot, whether the file system could make a hole of them or not.
KEPT = 8 << 20
# Bytes that a hole grows by: so many that it is worth it.
STEP = 1 << 20
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)


class ConsoleFile:
    """One console. Made before the file is there, and for any number of readers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hole = 0

    def read(self, since: int = 0) -> ConsolePart:
        """See `aibemu.hypervisor.Machine.console`."""
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            return ConsolePart(start=0, data=b"")
        with stream:
            size = os.fstat(stream.fileno()).st_size
            oldest = max(0, size - KEPT)
            self._forget(oldest)
            start = min(max(since, oldest), size)
            stream.seek(start)
            return ConsolePart(start=start, data=stream.read(size - start))

    def _forget(self, oldest: int) -> None:
        """Give back the room of what is before `oldest`. Where the file system cannot, the file only grows."""
        if oldest < self._hole:  # another file: the machine was started again
            self._hole = 0
        if oldest - self._hole < STEP:
            return
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                _punch(descriptor, oldest)
            finally:
                os.close(descriptor)
        self._hole = oldest


def _punch(descriptor: int, size: int) -> None:
    """Make the first `size` bytes a hole; no error where the file system has none."""
    _libc.fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, ctypes.c_int64(0), ctypes.c_int64(size))
