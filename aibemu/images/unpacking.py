"""The one disk that is in an archive, or in a compressed file, as a file with holes where the disk has zeros.

Distributions publish disks of 30 GB as archives of some hundred megabytes. The archive is read once, from its first
byte to its last, in pieces. Where GNU tar noted holes (in either of its forms) they are neither made nor read; other
zeros are found. No name in an archive is ever a path here.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from aibemu.clock import Deadline
from aibemu.compressed import BLOCK, MOST_AT_ONCE, Compression, Damaged, UnpackedStream, compression_of
from aibemu.disks import convert
from aibemu.download import FROM, MOST_UNPACKED
from aibemu.errors import UsageError
from aibemu.images.set_format import INDEX, is_tar
from aibemu.paths import safe_name
from aibemu.reading import Unfit, in_words, open_file, open_writable

# Bytes so far, bytes in all (None: the server does not say).
Progress = Callable[[int, int | None], None]

# Bytes in which a disk is looked through for zeros.
_GRAIN = 64 * 1024
_ZEROS = bytes(BLOCK)
# Bytes that the headers of an archive may have together, the list of holes being one of them: 16 bytes each or so.
_MOST_HEADERS = MOST_AT_ONCE
_DIGITS, _MOST_DIGITS = re.compile(rb"[0-9]+"), 100
# Folders that may stand in an archive before the disk.
_MOST_FOLDERS = 100
_TAR_BLOCK = 512
# Bytes written between two looks at the room that is left.
_LOOK_EVERY = 64 << 20
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a link", tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a pipe",
}  # fmt: skip
# Others, which are not unpacked here: how they begin, what they are, and what unpacks them.
_OTHERS = (
    (b"PK\x03\x04", "a ZIP archive", "unzip"), (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "7z x"),
    (b"BZh", "compressed with bzip2", "bunzip2 --keep"), (b"\x04\x22\x4d\x18", "compressed with lz4", "unlz4"),
    (b"Rar!\x1a\x07", "a RAR archive", "unrar x"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A file that a disk may be in. compression None: not compressed; tar: an archive, else the disk itself."""

    compression: Compression | None
    tar: bool

    def __str__(self) -> str:
        how = f"compressed with {self.compression}" if self.compression else ""
        return ", ".join(filter(None, ("a tar archive" if self.tar else "", how)))


def packed_as(path: Path) -> Packed | None:
    """How the disk in a file is packed; None for a file that is a disk image itself, or a set of images.

    UsageError for an archive that is not unpacked here; for what cannot be read, None: who reads it says why.
    """
    try:
        with open_file(path) as source:
            head = source.read(_TAR_BLOCK)
            _refuse_others(path, head)
            compression = compression_of(head)
            if compression is None:
                return Packed(compression=None, tar=True) if is_tar(head) and not _begins_set(head) else None
            source.seek(0)
            return Packed(compression=compression, tar=is_tar(_beginning(source, compression)))
    except OSError:
        return None


def unpack(
    path: Path, folder: Path, *, limit: int, deadline: Deadline, progress: Progress = lambda done, total: None,
    called: str = "",
) -> Path:  # fmt: skip
    """Write the one disk in `path`, which `packed_as` knows, into `folder`; returns its file.

    limit: bytes that the disk may have. progress: bytes of `path` that were read, and that it has. called: what `path`
    is in errors. Raises UsageError for an archive that is damaged, or has anything but one disk in it; HostNotReady
    without room on the disk; what `deadline` raises. Then `folder` may have an unfinished file.
    """
    called = called or str(path)
    try:
        with open_file(path) as source:
            total = os.fstat(source.fileno()).st_size
            compression = compression_of(source.read(_TAR_BLOCK))
            source.seek(0)
            convert.ensure_space(folder, total, f"unpacking {path.name}")

            def check() -> None:
                deadline.check()
                progress(stream.consumed, total)

            stream = UnpackedStream(source, compression, check=check)
            work = _Unpacking(called=called, stream=stream, folder=folder, limit=limit)
            target = work.archive() if is_tar(stream.peek(_TAR_BLOCK)) else work.alone(path.stem)
            progress(total, total)
            deadline.check()
            return target
    except Unfit as error:
        raise UsageError(f"{error}: nothing can be unpacked from it") from None
    except Damaged as error:
        raise _damaged(called, str(error)) from None


def _refuse_others(path: Path, head: bytes) -> None:
    for magic, what, program in _OTHERS:
        if head.startswith(magic):
            raise UsageError(
                f"{path} is {what}, which aibemu does not unpack",
                hint=f"unpack it first ({program} {path.name}), and import the disk image that is in it",
            )


def _beginning(source: BinaryIO, compression: Compression) -> bytes:
    """Of what is packed; nothing of what is damaged, which is told when it is unpacked."""
    try:
        return UnpackedStream(source, compression, check=lambda: None).read(_TAR_BLOCK)
    except Damaged:
        return b""


def _begins_set(head: bytes) -> bool:
    return head.startswith(INDEX.encode() + b"\0")


def _damaged(called: str, why: str) -> UsageError:
    return UsageError(
        f"{called} is damaged: {why}", hint="fetch or copy it again, and compare its checksum"
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class _Unpacking:
    """One archive on its way into one file."""

    called: str
    stream: UnpackedStream
    folder: Path
    limit: int
    # Bytes of the disk that were written, and at the last look at the room.
    _held: int = field(default=0, init=False)
    _looked: int = field(default=0, init=False)

    def alone(self, name: str) -> Path:
        """The content is the disk."""
        self._refuse_inner(self.stream.peek(_TAR_BLOCK), name)
        with self._target(name) as (target, file):
            size = self._copy(file, 0, None)
            os.truncate(file.fileno(), size)
        return target

    def archive(self) -> Path:
        """The content is a tar archive."""
        with _told_as_damaged():
            headers = _Headers(self.stream)
            archive = tarfile.TarFile(fileobj=cast(Any, headers), mode="r")  # reads the first header
            member = self._disk_of(archive, headers)
            with self._target(PurePosixPath(member.name).name) as (target, file):
                self._take(member, archive.offset, file)
            second = headers.next(archive)
            if second is not None:
                raise self._refusal(
                    f"beside {_named(member)} there is {_named(second)} in it",
                    "a disk image is taken from an archive with nothing else in it",
                )
            self._to_the_end()
        return target

    def _disk_of(self, archive: tarfile.TarFile, headers: _Headers) -> tarfile.TarInfo:
        for _ in range(_MOST_FOLDERS):
            member = headers.next(archive)
            if member is None:
                raise self._refusal("there is no file in it", "a disk image is taken from an archive that has one")
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts:
                raise self._refusal(
                    f"{_named(member)} in it would lie outside of the folder where it is unpacked",
                    "whoever made it means harm, or made it by mistake: get another one",
                )
            if member.isdir():
                continue
            if not member.isreg() or member.type not in tarfile.SUPPORTED_TYPES:
                kind = _KINDS.get(member.type, "no file")
                raise self._refusal(f"{_named(member)} in it is {kind}", "a disk image is taken from a file in it")
            return member
        raise self._refusal(f"there are more than {_MOST_FOLDERS} folders in it", "a disk image is its only file")

    def _take(self, member: tarfile.TarInfo, end: int, file: BinaryIO) -> None:
        """Write a member that ends before byte `end` of the archive."""
        self._bound(member.size)
        parts = [(0, member.size)] if member.sparse is None else cast(list[tuple[int, int]], member.sparse)
        at = 0
        self.stream.seek(member.offset_data)
        for start, size in parts:
            if start < at or size < 0 or start + size > member.size or self.stream.tell() + size > end:
                raise Damaged("its list of holes is wrong")
            if start == 0 and size:
                self._refuse_inner(self.stream.peek(min(_TAR_BLOCK, size)), member.name)
            if self._copy(file, start, size) != start + size:
                raise Damaged("its end is missing")
            at = start + size
        os.truncate(file.fileno(), member.size)

    def _copy(self, file: BinaryIO, at: int, size: int | None) -> int:
        """Write the next `size` bytes of the content, or all, to byte `at`; returns where they end."""
        end = None if size is None else at + size
        while piece := self.stream.read(BLOCK if end is None else min(BLOCK, end - at)):
            self._bound(at + len(piece))
            # Most of a disk is zeros: those are found without looking closer.
            if piece != _ZEROS[: len(piece)]:
                for start in range(0, len(piece), _GRAIN):
                    self._write(file, at + start, piece[start : start + _GRAIN])
            at += len(piece)
        return at

    def _write(self, file: BinaryIO, at: int, grain: bytes) -> None:
        if grain == _ZEROS[: len(grain)]:
            return
        file.seek(at)
        file.write(grain)
        self._held += len(grain)
        if self._held > FROM and self._held > MOST_UNPACKED * self.stream.consumed:
            raise self._refusal(
                f"it unpacks to more than {MOST_UNPACKED} times of its size, zeros not counted",
                "it is made to fill disks, or is no disk image",
            )
        if self._held > self._looked + _LOOK_EVERY:
            self._looked = self._held
            convert.ensure_space(self.folder, 0, f"unpacking {self.called}")

    def _to_the_end(self) -> None:
        """After a tar archive nothing but zeros; the end has the checksum of all that was compressed, too."""
        while piece := self.stream.read(BLOCK):
            if piece != _ZEROS[: len(piece)]:
                raise Damaged("something follows after the end of the archive in it")

    @contextmanager
    def _target(self, name: str) -> Iterator[tuple[Path, BinaryIO]]:
        """A new file, called as far as possible as it is in the archive: its ending tells something."""
        target = self.folder / safe_name(name[-100:] or "disk")
        descriptor = open_writable(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "wb") as file:
            yield target, file

    def _bound(self, size: int) -> None:
        if size > self.limit:
            raise UsageError(
                f"{self.called}: the disk in it has more than the {in_words(self.limit)} that are taken",
                hint="the setting image_size is the largest that is taken",
            )

    def _refuse_inner(self, head: bytes, name: str) -> None:
        if compression_of(head) or is_tar(head.ljust(_TAR_BLOCK, b"\0")):
            raise self._refusal(f"{name!r} in it is an archive again", "unpack the outer one, and import the inner one")

    def _refusal(self, why: str, hint: str) -> UsageError:
        return UsageError(f"{self.called} is not taken: {why}", hint=hint)


class _Headers:
    """What `tarfile` reads of the stream to find a member. It keeps all of that in memory, so there is a bound."""

    def __init__(self, stream: UnpackedStream) -> None:
        self._stream, self._most = stream, _MOST_HEADERS
        self.seek, self.tell = stream.seek, stream.tell

    def next(self, archive: tarfile.TarFile) -> tarfile.TarInfo | None:
        self._most = archive.offset + _MOST_HEADERS
        return archive.next()

    def read(self, size: int) -> bytes:
        found = self._stream.read(size)
        if self._stream.tell() > self._most:
            raise Damaged("its headers are larger than those of any disk image")
        # Some versions of tarfile take the square of the length of a number to see that it is none of theirs.
        if any(number.end() - number.start() > _MOST_DIGITS for number in _DIGITS.finditer(found)):
            raise Damaged("a number in its headers has too many digits")
        return found


@contextmanager
def _told_as_damaged() -> Iterator[None]:
    """What `tarfile` raises for an archive that is none, as `Damaged`."""
    try:
        yield
    except (tarfile.TarError, ValueError, IndexError, OverflowError, RecursionError) as error:
        raise Damaged(f"its tar archive cannot be read: {str(error)[:200]}") from None


def _named(member: tarfile.TarInfo) -> str:
    return repr(member.name[:100])
