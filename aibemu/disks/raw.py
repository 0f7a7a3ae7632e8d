"""A disk as a flat file: what readers of file systems, and debugfs and mtools, are given."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.disks import convert
from aibemu.files import data_ranges
from aibemu.reading import open_file

# Readings between two looks at the deadline: a damaged disk can lead somebody round and round.
_UNLOOKED = 256
_BLOCK = 4 << 20


class RawBytes:
    """The bytes of a flat file that does not change meanwhile; a context manager, for one thread."""

    def __init__(self, path: Path, deadline: Deadline) -> None:
        self._stream = open_file(path)
        self.size = os.fstat(self._stream.fileno()).st_size
        self._deadline = deadline
        self._readings = 0

    def read(self, at: int, length: int) -> bytes:
        """`length` bytes from byte `at` on; fewer at the end. Raises what the deadline does."""
        self._readings += 1
        if self._readings % _UNLOOKED == 0:
            self._deadline.check()
        return os.pread(self._stream.fileno(), max(length, 0), at) if 0 <= at < self.size else b""

    def close(self) -> None:
        self._stream.close()


@contextlib.contextmanager
def flat(disk: Path, format: str | None, scratch: Path, deadline: Deadline) -> Iterator[Path]:
    """A file that is the disk byte by byte (format None: by its content): the disk itself, or a sparse copy in the
    folder `scratch` while it is needed. Backing files are followed. Raises `HostNotReady` when there is no room."""
    facts = convert.info(disk, deadline=deadline, format=format)
    if facts.flat:
        yield disk
        return
    scratch.mkdir(parents=True, exist_ok=True)
    convert.ensure_space(scratch, convert.needed(facts, deadline=deadline), "looking into the image")
    view = scratch / f"view.{secrets.token_hex(4)}.partial"
    try:
        convert.to_raw(facts, view, deadline=deadline)
        yield view
    finally:
        view.unlink(missing_ok=True)


@contextlib.contextmanager
def in_one_piece(
    raw: Path, pieces: Sequence[tuple[int, int]], scratch: Path, deadline: Deadline
) -> Iterator[tuple[Path, int]]:
    """A file, and the byte of it from which on the `pieces` (start, size) of the file `raw` lie one after another: it
    is `raw` where they do, else a sparse copy of them. Raises `HostNotReady` when there is no room."""
    if all(one[0] + one[1] == other[0] for one, other in itertools.pairwise(pieces)):
        yield raw, pieces[0][0]
        return
    scratch.mkdir(parents=True, exist_ok=True)
    view = scratch / f"volume.{secrets.token_hex(4)}.partial"
    try:
        with open_file(raw) as source, view.open("xb") as target:
            wanted = list(_data(source.fileno(), pieces))
            convert.ensure_space(scratch, sum(size for _, _, size in wanted), "looking into a logical volume")
            target.truncate(sum(size for _, size in pieces))
            for at, start, size in wanted:
                for done in range(0, size, _BLOCK):
                    deadline.check()
                    block = os.pread(source.fileno(), min(_BLOCK, size - done), start + done)
                    os.pwrite(target.fileno(), block, at + done)
        yield view, 0
    finally:
        view.unlink(missing_ok=True)


def _data(source: int, pieces: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """(byte of the volume, byte of the file, size) of what is no hole."""
    held = list(data_ranges(source, os.fstat(source).st_size))
    base = 0
    for start, size in pieces:
        for first, length in held:
            begin, end = max(first, start), min(first + length, start + size)
            if begin < end:
                yield base + begin - start, begin, end - begin
        base += size
