"""The run's record: one JSON object per line, appended and handed to the kernel before the build goes on.

A process that is killed leaves a valid prefix. What was torn by a power cut is ended with a newline when the record is
taken up again, so that it can never swallow the next event.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from aibemu.events import Event, Kind


class NdjsonView:
    """Appends every event to `path`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._waiting = bytearray()
        size = os.fstat(self._descriptor).st_size
        self._torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"

    def on_event(self, event: Event) -> None:
        """Append it. Raises OSError only when not even the run's end can be written: a disk that is full now has room
        again once the machine is gone, so what could not be written waits, and the record is whole in the end."""
        text = json.dumps(event.as_json(), ensure_ascii=False, separators=(",", ":"), default=str)
        line = text.encode("utf-8", "replace") + b"\n"
        self._waiting += line
        last = event.kind is Kind.RUN_FINISHED
        try:
            self._write()
        except OSError:
            if last:
                raise
        if last:
            os.fsync(self._descriptor)

    def _write(self) -> None:
        if self._torn:
            self._waiting[:0] = b"\n"
            self._torn = False
        while self._waiting:
            del self._waiting[: os.write(self._descriptor, self._waiting)]

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
