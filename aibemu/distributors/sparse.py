"""Sparse files: where the data is, and copies that keep the holes."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Generator, Iterator
from pathlib import Path

from aibemu.clock import Deadline

_CHUNK = 1024 * 1024
_FICLONE = 0x40049409


def data_ranges(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of what may hold data, in order; the rest of `size` bytes is zeros.

    A file system without holes answers with one range.
    """
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        if start >= size:
            return
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        yield start, end - start
        position = end


def read_chunks(path: Path, *, chunk: int, unit: int) -> Generator[tuple[int, bytes], None, None]:
    """(offset, bytes) of all that is not zero, at most `chunk` bytes at a time.

    Offsets and lengths are multiples of `unit`, as the file's size must be; zeros at both ends of a chunk are left out.
    """
    with path.open("rb", buffering=0) as stream:
        descriptor = stream.fileno()
        size = os.fstat(descriptor).st_size
        done = 0
        for start, length in data_ranges(descriptor, size):
            offset = max(done, start - start % unit)
            while offset < start + length:
                content = os.pread(descriptor, min(chunk, size - offset), offset)
                if not content:
                    return
                lead = _whole(len(content) - len(content.lstrip(b"\0")), unit)
                trail = _whole(len(content) - len(content.rstrip(b"\0")), unit)
                if lead < len(content):
                    yield offset + lead, content[lead : len(content) - trail]
                offset += len(content)
            done = offset


def share(source: Path, target: Path, *, deadline: Deadline) -> str:
    """Make `target` (which must not exist) hold what `source` holds, at the least cost; how: reflink, link or copy."""
    if _reflink(source, target):
        return "reflink"
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
        return "link"
    except OSError:
        copy_sparse(source, target, deadline=deadline)
        return "copy"


def copy_sparse(source: Path, target: Path, *, deadline: Deadline) -> None:
    """Copy the data and leave the holes out; stops when `deadline` says so."""
    with source.open("rb") as reader, target.open("wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        for start, length in data_ranges(reader.fileno(), size):
            for offset in range(start, start + length, _CHUNK):
                deadline.check()
                content = os.pread(reader.fileno(), min(_CHUNK, start + length - offset), offset)
                writer.seek(offset)
                writer.write(content)
        writer.truncate(size)


def _reflink(source: Path, target: Path) -> bool:
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:
            return False
    return True


def _whole(count: int, unit: int) -> int:
    return count - count % unit
