"""The run's record: one JSON object per line, appended and handed to the kernel before the build goes on.

A process that is killed leaves a valid prefix. What was torn by a power cut is ended with a newline when the record is
taken up again, so that it can never swallow the next event.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from aibemu.events import Event, Kind
from aibemu.files import make_folder
from aibemu.reading import open_writable
from aibemu.text import counted

# Bytes that wait in memory while the disk is full: before output is left out, and before anything else is.
MOST_OUTPUT, MOST_WAITING = 4 << 20, 16 << 20


class NdjsonView:
    """Appends every event to `path`."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self._descriptor = open_writable(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode=0o644)
        self._waiting = bytearray()
        self._lost = 0
        self._lost_last: Event | None = None
        size = os.fstat(self._descriptor).st_size
        self._torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"

    def on_event(self, event: Event) -> None:
        """Append it. Raises OSError only when not even the run's end can be written: a disk that is full now has room
        again once the machine is gone, so what could not be written waits. Of output only so much as memory is to be
        had for: then the record says how much it lacks."""
        text = json.dumps(event.as_json(), ensure_ascii=False, separators=(",", ":"), default=str)
        line = text.encode("utf-8", "replace") + b"\n"
        last = event.kind is Kind.RUN_FINISHED
        self._try()
        most = MOST_OUTPUT if event.kind is Kind.STEP_OUTPUT else MOST_WAITING
        if self._waiting and not last and len(self._waiting) + len(line) > most:
            self._lost += 1
            self._lost_last = event
            return
        if self._lost and (last or not self._waiting):
            self._waiting += self._missing()
        self._waiting += line
        error = self._try()
        if last:
            if error is not None:
                raise error
            os.fsync(self._descriptor)

    def _missing(self) -> bytes:
        """The event that stands for those that were lost; it has the number of the last."""
        assert self._lost_last is not None
        message = f"{counted(self._lost, 'event')} (lines of output) missing here: the disk was full"
        event = replace(self._lost_last, kind=Kind.NOTICE, fields={"level": "warning", "message": message})
        self._lost = 0
        return json.dumps(event.as_json(), separators=(",", ":")).encode() + b"\n"

    def _try(self) -> OSError | None:
        try:
            self._write()
        except OSError as error:
            return error
        return None

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
