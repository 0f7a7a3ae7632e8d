"""Records of a Windows event log (.evtx): when each was written, and its bytes.

What is in them is binary XML, which is not taken apart; its texts are UTF-16, so that a name can be looked for.

Source: the format as documented by its independent readers (libevtx, python-evtx).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

_HEADER, _CHUNK, _FIRST = 4096, 64 * 1024, 512
_FILE, _CHUNK_MAGIC, _RECORD = b"ElfFile\0", b"ElfChnk\0", b"**\0\0"
_SMALLEST = 28  # bytes of a record with nothing in it
_MOST = 256 << 20  # of a log; Windows gives the log System 20 MiB


class LogFile(Protocol):
    """Where a log is."""

    @property
    def size(self) -> int: ...

    def read(self, at: int, length: int) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """written: since 1601, as Windows counts."""

    written: timedelta
    content: bytes


def records(log: LogFile) -> Iterator[Record]:
    """All that can be found, in the order in which they lie: a full log begins anew. What is damaged is left out."""
    if not log.read(0, len(_FILE)).startswith(_FILE):
        return
    for at in range(_HEADER, min(log.size, _MOST), _CHUNK):
        chunk = log.read(at, _CHUNK)
        if chunk.startswith(_CHUNK_MAGIC) and len(chunk) == _CHUNK:
            yield from _of_chunk(chunk)


def _of_chunk(chunk: bytes) -> Iterator[Record]:
    at, end = _FIRST, min(struct.unpack_from("<I", chunk, 0x30)[0], len(chunk))
    while at + _SMALLEST <= end:
        magic, length, _, written = struct.unpack_from("<4sIQQ", chunk, at)
        if magic != _RECORD or not _SMALLEST <= length <= end - at:
            return
        # In tenths of a microsecond; a century is enough of what a damaged one says.
        yield Record(written=timedelta(microseconds=min(written // 10, 10**17)), content=chunk[at + 24 : at + length])
        at += length
