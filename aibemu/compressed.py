"""Reading what gzip, xz or zstd compressed, piece by piece, with a bound on the memory that it takes.

The files of Python's own modules have no bound: an xz file says itself how much memory its reader needs. zstd is in
Python from 3.14 on; before, `backports.zstd` is the same module.
"""

from __future__ import annotations

import lzma
import sys
import zlib
from collections.abc import Callable
from enum import StrEnum
from typing import BinaryIO, Protocol

from aibemu.reading import in_words

# Bytes that are read of the file at once.
BLOCK = 256 * 1024
# Bytes that may be asked for at once: what is larger is to be read in pieces.
MOST_AT_ONCE = 8 << 20
# Bytes of memory that unpacking may take: `xz -9` needs 65 MiB, more is made by hand. zstd's own bound is 128 MiB.
_MEMORY = 256 << 20


class Compression(StrEnum):
    """How a file is compressed; the value is the name of the program that does it."""

    GZIP = "gzip"
    XZ = "xz"
    ZSTD = "zstd"


_MAGIC = (
    (b"\x1f\x8b\x08", Compression.GZIP), (b"\xfd7zXZ\0", Compression.XZ), (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
)  # fmt: skip


class Damaged(Exception):
    """What is read is not whole, or not what it says that it is. Always caught, and said with the file's name."""


class Decompressor(Protocol):
    """What those of `bz2`, `lzma` and `zstd` have."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's, in the form of the others."""

    def __init__(self) -> None:
        self._one = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int) -> bytes:
        found = self._one.decompress(self._one.unconsumed_tail + data, max_length)
        # A full answer may not be all that zlib has.
        self.needs_input = not self._one.unconsumed_tail and len(found) < max_length
        return found

    @property
    def eof(self) -> bool:
        return self._one.eof

    @property
    def unused_data(self) -> bytes:
        return self._one.unused_data


def compression_of(head: bytes) -> Compression | None:
    """How a file that begins with these bytes is compressed; None if it is not, or in another way."""
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


class UnpackedStream:
    """The unpacked content of `source`, from its first byte to its last: what is passed over is gone.

    It has what `tarfile` asks of a file. kind None: `source` is not compressed. check: called before each block that is
    read; what it raises ends the reading. All methods raise `Damaged`.
    """

    def __init__(self, source: BinaryIO, kind: Compression | None, *, check: Callable[[], None]) -> None:
        self._source, self._kind, self._check = source, kind, check
        self._one = decompressor(kind) if kind else None
        # Compressed bytes that the next decompressor is to get; unpacked ones that nobody has asked for yet.
        self._given, self._ahead = b"", b""
        self._at = 0
        # Bytes of `source` that were read.
        self.consumed = 0

    def read(self, size: int) -> bytes:
        """`size` bytes, or what is left."""
        if not 0 <= size <= MOST_AT_ONCE:
            raise Damaged(f"a part of it says that it has {in_words(size)}")
        found, self._ahead = self._ahead[:size], self._ahead[size:]
        while len(found) < size and (more := self._some(size - len(found))):
            found += more
        self._at += len(found)
        return found

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, or what is left, which stay there."""
        found = self.read(size)
        self._ahead, self._at = found + self._ahead, self._at - len(found)
        return found

    def tell(self) -> int:
        """How many bytes of the content were read."""
        return self._at

    def seek(self, at: int) -> int:
        """Go on to a later byte."""
        if at < self._at:
            raise Damaged("a part of it lies before one that was read")
        while self._at < at and self.read(min(at - self._at, BLOCK)):
            pass
        return self._at

    def _some(self, most: int) -> bytes:
        """At least one byte and at most so many; none at the end."""
        if self._one is None:
            return self._block(most)
        try:
            while not self._one.eof or self._next():
                given = self._block(BLOCK) if self._one.needs_input else b""
                if not given and self._one.needs_input:
                    raise Damaged("its end is missing")
                if found := self._one.decompress(given, most):
                    return found
        except errors() as error:
            raise Damaged(f"{self._kind} cannot unpack it: {error}") from None
        return b""

    def _next(self) -> bool:
        """Begin with the next of several compressed parts; zeros may lie between them. False at the end."""
        assert self._one is not None and self._kind is not None
        self._given = self._one.unused_data
        while block := self._block(BLOCK):
            if left := block.lstrip(b"\0"):
                self._given, self._one = left, decompressor(self._kind)
                return True
        return False

    def _block(self, size: int) -> bytes:
        if self._given:
            found, self._given = self._given, b""
            return found
        self._check()
        found = self._source.read(size)
        self.consumed += len(found)
        return found


def decompressor(kind: Compression) -> Decompressor:
    """Of one compressed part; what it raises is one of `errors`. It takes no more memory than `_MEMORY`."""
    if kind is Compression.GZIP:
        return _Gzip()
    if kind is Compression.XZ:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdDecompressor
    else:
        from backports.zstd import ZstdDecompressor
    return ZstdDecompressor()


def errors() -> tuple[type[Exception], ...]:
    """What a `decompressor` raises for what is damaged."""
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdError
    else:
        from backports.zstd import ZstdError
    return zlib.error, lzma.LZMAError, ZstdError
