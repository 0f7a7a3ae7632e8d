"""Giving back the room that the beginning of a file takes, while somebody goes on writing its end.

The file is never cut: whoever writes it has its own place in it, and offsets stay what they are. What is too old
becomes a hole, which takes no room on the disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

from aibemu.reading import open_writable

# Bytes of a console that can be read again, where nothing else is said (setting `console_limit`).
KEPT = 8 << 20
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)


def punch(descriptor: int, size: int) -> None:
    """Make the first `size` bytes a hole; no error where the file system has none."""
    _libc.fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, ctypes.c_int64(0), ctypes.c_int64(size))


def keep_end(path: Path, kept: int) -> None:
    """Make a hole of all but the last `kept` bytes; nothing if there is no such file, or no right to write it."""
    with contextlib.suppress(OSError):
        descriptor = open_writable(path, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            stat = os.fstat(descriptor)
            if stat.st_size > kept and stat.st_blocks * 512 > kept:
                punch(descriptor, stat.st_size - kept)
        finally:
            os.close(descriptor)
