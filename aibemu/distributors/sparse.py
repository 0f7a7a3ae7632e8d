"""Sparse files: where the data is, and copies that keep the holes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.disks.convert import Extent, ensure_space, flush
from aibemu.files import data_ranges, partial_name

# Read and written at once. Larger pieces are slower: for them the kernel looks for memory in one piece.
_CHUNK = 512 * 1024
# What a file system gives at least, and what qcow2 files are made of.
_BLOCK, _CLUSTER = 4096, 65536
_ZEROS = bytes(_BLOCK)
# What is written before the kernel is told to begin with it.
_BATCH = 16 * 1024 * 1024
_FICLONE = 0x40049409


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


def duplicate(source: Path, target: Path, *, deadline: Deadline) -> str:
    """Make `target` (which must not exist) a file of its own with what `source` holds; how: reflink or copy.

    Never a link: whoever writes to the one must not write to the other. Both are on the disk afterwards. Raises
    `HostNotReady` when there is no room for a copy, and what `deadline` raises.
    """
    how = "reflink"
    if not _reflink(source, target):
        how = "copy"
        ensure_space(target.parent, source.stat().st_blocks * 512, f"the copy {target.parent}/{source.name}")
        copy_without_zeros(source, target, deadline=deadline)
    flush(target, deadline=deadline)
    return how


def ensure_space_for_copies(sources: Sequence[Path], folder: Path, what: str) -> None:
    """`HostNotReady` when `folder`, which is there, has no room for a `duplicate` of each source."""
    if not sources:
        return
    trial = folder / partial_name()
    try:
        free = _reflink(sources[0], trial)
    finally:
        trial.unlink(missing_ok=True)
    if not free:
        ensure_space(folder, sum(path.stat().st_blocks * 512 for path in sources), what)


def copy_without_zeros(source: Path, target: Path, *, deadline: Deadline) -> None:
    """Copy what is not zeros and leave holes for the rest; stops when `deadline` says so."""
    with source.open("rb", buffering=0) as reader:
        size = os.fstat(reader.fileno()).st_size
        data = (
            Extent(start=start, length=length, path=source, offset=start)
            for start, length in data_ranges(reader.fileno(), size)
        )
        deadline.check()
        copy_extents(data, target, size, deadline=deadline)


def copy_extents(extents: Iterable[Extent], target: Path, size: int, *, deadline: Deadline) -> None:
    """Write a disk of `size` bytes to `target`, of which `extents` are all that is not zeros; zeros become holes.

    The kernel is told to write early, so that a flush at the end finds little to do. Stops when `deadline` says so.
    """
    buffer = bytearray(_CHUNK)
    with ExitStack() as files, target.open("wb", buffering=0) as writer:
        writer.truncate(size)
        sources: dict[Path, int] = {}
        begun = 0
        for extent in extents:
            if extent.path not in sources:
                sources[extent.path] = files.enter_context(extent.path.open("rb", buffering=0)).fileno()
            for done in range(0, extent.length, _CHUNK):
                deadline.check()
                view = memoryview(buffer)[: extent.length - done]
                count = _read(sources[extent.path], view, extent.offset + done)
                for start, end in _not_zero(buffer, count):
                    _write(writer.fileno(), view[start:end], extent.start + done + start)
            if extent.start + extent.length - begun >= _BATCH:
                begun = _begin_to_write(writer.fileno(), begun, extent.start + extent.length)


def _begin_to_write(descriptor: int, start: int, end: int) -> int:
    """Have the range go to the disk while more is copied; `end`. DONTNEED is how Linux is asked for that: what is not
    on the disk yet stays in memory."""
    os.posix_fadvise(descriptor, start, end - start, os.POSIX_FADV_DONTNEED)
    return end


def _read(descriptor: int, view: memoryview, offset: int) -> int:
    """Fill the view; how much there was, less only where the file ends."""
    done = 0
    while done < len(view) and (count := os.preadv(descriptor, [view[done:]], offset + done)):
        done += count
    return done


def _write(descriptor: int, view: memoryview, offset: int) -> None:
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


def _not_zero(buffer: bytearray, size: int) -> Iterator[tuple[int, int]]:
    """(start, end) of what is to be written of the first `size` bytes. A cluster with data at both ends is not looked
    at more closely: nearly all have some throughout, and it takes time."""
    begun, end = 0, 0
    for start, stop in _pieces(buffer, size):
        if start != end:
            if end > begun:
                yield begun, end
            begun = start
        end = stop
    if end > begun:
        yield begun, end


def _pieces(buffer: bytearray, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, size, _CLUSTER):
        stop = min(start + _CLUSTER, size)
        if not (buffer.startswith(_ZEROS, start) or buffer.startswith(_ZEROS, max(start, stop - _BLOCK))):
            yield start, stop
            continue
        for block in range(start, stop, _BLOCK):
            end = min(block + _BLOCK, stop)
            if not buffer.startswith(_ZEROS[: end - block], block):
                yield block, end


def _reflink(source: Path, target: Path) -> bool:
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:
            return False
    return True


def _whole(count: int, unit: int) -> int:
    return count - count % unit
