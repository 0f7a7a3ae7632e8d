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
        size = os.fstat(self._descriptor).st_size
        self._torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"

    def on_event(self, event: Event) -> None:
        text = json.dumps(event.as_json(), ensure_ascii=False, separators=(",", ":"), default=str)
        line = text.encode("utf-8", "replace") + b"\n"
        self._write(b"\n" + line if self._torn else line)
        if event.kind is Kind.RUN_FINISHED:
            os.fsync(self._descriptor)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        self._torn = True
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._torn = False

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
