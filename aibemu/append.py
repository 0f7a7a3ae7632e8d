"""Appending whole lines to a file on a disk that may be full: logs, records, journals.

What cannot be written is counted, and told by a line in its place as soon as there is room again. So a log has no torn
lines, goes on when it can, says what it lacks, and takes no memory meanwhile.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from aibemu.reading import open_writable

# What a disk says that has no room, or is at its end: another time it may be otherwise.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class LineFile:
    """Appends to `path`, which is made if it is not there.

    missing: makes the line that tells of so many that are missing. anew: empty the file first. Not thread-safe. Raises
    OSError; for a pipe or a device in its place too, which is never waited for.
    """

    def __init__(self, path: Path, *, missing: Callable[[int], str], anew: bool = False, mode: int = 0o644) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if anew else 0)
        self._descriptor = open_writable(path, flags, mode=mode)
        self._size = os.fstat(self._descriptor).st_size
        self._tell_missing = missing
        self._missing = 0

    def write(self, text: str) -> None:
        """Append whole lines; OSError only for what no room on the disk would mend."""
        if self._missing and self._put(self._tell_missing(self._missing)):
            self._missing = 0
        if self._missing or not self._put(text):
            self._missing += text.count("\n")

    def close(self) -> None:
        """Close it, after a last try to tell what is missing. May be called again."""
        if self._descriptor < 0:
            return
        try:
            if self._missing:
                self._put(self._tell_missing(self._missing))
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    def _put(self, text: str) -> bool:
        """All of it, or nothing."""
        content = memoryview(text.encode("utf-8", "replace"))
        size = len(content)
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
        except OSError as error:
            if error.errno not in FULL:
                raise
            if len(content) < size:
                os.ftruncate(self._descriptor, self._size)
            return False
        self._size += size
        return True
