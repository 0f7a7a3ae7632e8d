"""Opening files that somebody else made, or changed since, so that reading them has an end.

A name in a template, a settings file or a command line may be that of a pipe that nobody writes to, of a device that
never ends, or of a sparse file of terabytes. All such names are opened here: regular files only, of a bounded size.
So are files that are written on. What builds on it says the same words: `aibemu.records` for records,
`aibemu.yaml_places` for settings and lists.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

# Bytes of a file that a person writes: a template, settings, a list of images.
TEXT = 8 * 1024 * 1024
BLOCK = 256 * 1024
# Seconds in which a pipe must have given all that it has: `aibemu validate <(bicep build main.bicep --stdout)`.
PIPE_SECONDS = 120.0
# Seconds in which somebody must have begun to write to it.
WRITER_SECONDS = 5.0
_KINDS = (
    (stat.S_ISDIR, "is a folder"), (stat.S_ISFIFO, "is a pipe"), (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"), (stat.S_ISBLK, "is a device"),
)  # fmt: skip


class Unfit(OSError):
    """It is there, and not read: it is no regular file, is too large, or does not end. `strerror` says which, as in
    `is a device, not a file`. too_large: whether a smaller one would be read."""

    def __init__(self, path: Path | str, why: str, *, too_large: bool = False) -> None:
        # The number of what a host refuses: who does not look for this error says it as one about the host.
        super().__init__(errno.EPERM, why, str(path))
        self.too_large = too_large

    def __str__(self) -> str:
        return f"{self.filename} {self.strerror}"


def open_file(path: Path, *, limit: int | None = None) -> BinaryIO:
    """Open a regular file of at most `limit` bytes, holes included, for reading.

    Raises `Unfit`, and the OSError of what cannot be opened.
    """
    # Looked at before, for to open some devices does something; and after, for it may be another one by then.
    _check(path, path.stat(), limit)
    # Without O_NONBLOCK to open a pipe waits for somebody who writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _check(path, os.fstat(descriptor), limit)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def open_writable(path: Path, flags: int, *, mode: int = 0o600) -> int:
    """A descriptor of a regular file for writing, and reading if `flags` say so, made if they say so. Never waits.

    Raises `Unfit`, and the OSError of what cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a pipe that nobody reads, or a socket
            _check(path, path.stat(), None)
        raise
    try:
        _check(path, os.fstat(descriptor), None)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_bytes(path: Path, *, limit: int = TEXT, pipe: bool = False) -> bytes:
    """All bytes of a regular file, or with `pipe` of a pipe too. Raises as `open_file`, for a pipe that does not end
    as well."""
    if pipe and stat.S_ISFIFO(path.stat().st_mode):
        return _read_pipe(path, limit)
    with open_file(path, limit=limit) as stream:
        return b"".join(blocks(stream, path, limit=limit))


def read_end(path: Path, size: int) -> str:
    """The text of the last `size` bytes of a regular file. Raises as `open_file`."""
    with open_file(path) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
        return b"".join(blocks(stream, path)).decode("utf-8", "replace")


def read_text(path: Path, *, limit: int = TEXT, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The text of a regular file, with `\\n` at the end of each line. Raises as `open_file`, and UnicodeDecodeError."""
    return read_bytes(path, limit=limit).decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")


def blocks(
    stream: BinaryIO, path: Path, *, limit: int | None = None, check: Callable[[], None] = lambda: None
) -> Iterator[bytes]:
    """What is left of `stream`, which `open_file` opened for `path`. check: called before each block; what it raises
    ends the reading. Raises `Unfit` for a file that grows beyond `limit`, as files of the kernel do."""
    size = 0
    while True:
        check()
        block = stream.read(BLOCK)
        if block is None:
            raise Unfit(path, "does not end: it is no file on a disk")
        if not block:
            return
        size += len(block)
        if limit is not None and size > limit:
            raise Unfit(path, f"has more than {in_words(limit)}, the most that is read", too_large=True)
        yield block


def hash_rest(
    stream: BinaryIO, path: Path, *, method: str = "sha256", limit: int | None = None, check: Callable[[], None]
) -> str:
    """The hex digest of what `blocks` gives."""
    digest = hashlib.new(method)
    for block in blocks(stream, path, limit=limit, check=check):
        digest.update(block)
    return digest.hexdigest()


def in_words(size: int) -> str:
    """A bound in bytes for a person: `8 MiB`."""
    for unit, bits in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size / (1 << bits):.4g} {unit}"
    return f"{size} bytes"


def _check(path: Path, found: os.stat_result, limit: int | None) -> None:
    for is_kind, words in _KINDS:
        if is_kind(found.st_mode):
            raise Unfit(path, f"{words}, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise Unfit(path, "is no regular file")
    if limit is not None and found.st_size > limit:
        why = f"has {in_words(found.st_size)}, more than the {in_words(limit)} that are read at most"
        raise Unfit(path, why, too_large=True)


def _read_pipe(path: Path, limit: int) -> bytes:
    """In a thread, for nobody can tell how long the one who writes will take."""
    heard = bytearray()
    opened = threading.Event()
    errors: list[OSError] = []

    def read() -> None:
        try:
            with path.open("rb", buffering=0) as stream:
                opened.set()
                while len(heard) <= limit and (block := stream.read(BLOCK)):
                    heard.extend(block)
        except OSError as error:
            errors.append(error)
            opened.set()

    reading = threading.Thread(target=read, name="read-pipe", daemon=True)
    reading.start()
    if WRITER_SECONDS < PIPE_SECONDS and not opened.wait(WRITER_SECONDS):
        raise Unfit(path, f"is a pipe that nobody writes to (for {WRITER_SECONDS:g} seconds)")
    reading.join(PIPE_SECONDS)
    if errors:
        raise errors[0]
    if reading.is_alive():
        raise Unfit(path, f"is a pipe that did not end within {PIPE_SECONDS:g} seconds")
    if len(heard) > limit:
        raise Unfit(path, f"is a pipe that gave more than {in_words(limit)}, the most that is read", too_large=True)
    return bytes(heard)
