"""A console that a hypervisor writes into a file: read by offset, and kept from filling the host's disk.

What is older than the last bytes that are kept cannot be read again, whether the file system could make a hole of it or
not.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from aibemu.holes import KEPT
from aibemu.holes import punch as _punch
from aibemu.hypervisor import ConsolePart
from aibemu.reading import Unfit, open_file, open_writable

# Bytes that a hole grows by: so many that it is worth it.
STEP = 1 << 20


class ConsoleFile:
    """One console. Made before the file is there, and for any number of readers. kept: bytes at its end."""

    def __init__(self, path: Path, kept: int = KEPT) -> None:
        self.path = path
        self.kept = kept
        self._hole = 0

    def read(self, since: int = 0) -> ConsolePart:
        """See `aibemu.hypervisor.Machine.console`."""
        try:
            stream = open_file(self.path)
        except (FileNotFoundError, Unfit):
            return ConsolePart(start=0, data=b"")
        with stream:
            size = os.fstat(stream.fileno()).st_size
            oldest = max(0, size - self.kept)
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
            descriptor = open_writable(self.path, os.O_WRONLY)
            try:
                _punch(descriptor, oldest)
            finally:
                os.close(descriptor)
        self._hole = oldest
