"""Reading a run's record, `events.ndjson`: all of it, its outline, whether it has its end, and what was added lately.

A torn line (power cut) and kinds of a newer aibemu are skipped. Nearly all lines of a record are what steps printed,
and most readers want the last few of those only; to parse all of them takes a second for every 100,000.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from aibemu.events import Event, Kind
from aibemu.records import SHAPE_ERRORS, DamagedFile, open_regular, parse_json

# How `aibemu.views.ndjson` writes the head of a line. A line that is written in another way is parsed as a whole.
_HEAD = rb'\{"v":\d+,"seq":(?P<seq>\d+),"at":"[^"]*","run":"[^"]*","kind":"'
_NUMBER = re.compile(_HEAD)
_OUTPUT = re.compile(_HEAD + rb'step\.output",(?:"phase":"[^"]*",)?"step":"(?P<step>[^"]*)",')
_END = f'"{Kind.RUN_FINISHED.value}"'.encode()  # never inside a string of JSON: there its quotes are escaped
# Bytes at the end of a record in which its end is looked for first: what comes after it is a few lines.
TAIL = 64 << 10


def read_events(path: Path) -> Iterator[Event]:
    """Every whole event; none if there is no such file."""
    if stream := _open(path):
        with stream:
            for line in stream:
                if event := _parse(line):
                    yield event


def read_outline(path: Path, lines: int) -> Iterator[Event]:
    """Every event, but between two that are not output only the last `lines` of each step's output.

    To anything that keeps no more than `lines` of a step's output this is as good as `read_events`.
    """
    held: dict[bytes, deque[bytes]] = {}
    if stream := _open(path):
        with stream:
            for line in stream:
                match = _OUTPUT.match(line) if line.endswith(b"}\n") else None
                if match:
                    held.setdefault(match["step"], deque(maxlen=lines)).append(line)
                    continue
                yield from _parse_all(held)
                if event := _parse(line):
                    yield event
        yield from _parse_all(held)


def has_end(path: Path) -> bool:
    """Whether the record says how the run ended. For a run that has ended this reads the last `TAIL` bytes; for others
    all bytes are searched, and none parsed that are not of such a line."""
    stream = _open(path)
    if stream is None:
        return False
    with stream:
        size = os.fstat(stream.fileno()).st_size
        if size > TAIL:
            stream.seek(size - TAIL)
            if _find_end(stream):
                return True
            stream.seek(0)
        return _find_end(stream)


class RecordReader:
    """Reads on in a record that grows. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0  # in bytes: the first line that was not read yet

    def after(self, number: int) -> Iterator[Event]:
        """The events that were added since the last call, without those that are numbered up to `number`."""
        stream = _open(self._path)
        if stream is None:
            return
        with stream:
            stream.seek(self._place)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self._place += len(line)
                head = _NUMBER.match(line)
                if head and int(head["seq"]) <= number:
                    continue
                event = _parse(line)
                if event and event.seq > number:
                    yield event


def _open(path: Path) -> BinaryIO | None:
    """None for a file that is not there, and for what is no file or may not be read: the other runs can be shown."""
    try:
        return open_regular(path)
    except (DamagedFile, PermissionError):
        return None


def _parse(line: bytes) -> Event | None:
    try:
        return Event.from_json(parse_json(line.decode("utf-8", "replace")))
    except SHAPE_ERRORS:
        return None


def _parse_all(held: dict[bytes, deque[bytes]]) -> Iterator[Event]:
    """The events of the held lines, which are let go of."""
    for lines in held.values():
        yield from filter(None, map(_parse, lines))
    held.clear()


def _find_end(stream: BinaryIO) -> bool:
    """From where the stream stands; half a line there is of no event, so it does no harm."""
    return any(_END in line and (event := _parse(line)) and event.kind is Kind.RUN_FINISHED for line in stream)
