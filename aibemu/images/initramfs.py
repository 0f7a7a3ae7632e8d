"""The names of the files in an initramfs, read as the kernel reads it, and nothing of it unpacked.

It is a row of cpio archives ("newc"), with zeros between them; CPU microcode comes first and is not compressed, the
last one is, as a rule, by one of the methods below. Source: the kernel's documentation, "initramfs buffer format".
"""

from __future__ import annotations

import bz2
import lzma
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from aibemu.compressed import Decompressor, compression_of, decompressor, errors
from aibemu.reading import in_words

# The most that is read of an initramfs, that comes out of it, and how many files it may list. Those of distributions
# have 10 to 150 MB, 50 to 500 MB unpacked, and some thousand files.
LARGEST, UNPACKED, MOST_FILES = 1 << 29, 4 << 30, 500_000
_LONGEST_NAME = 4096  # PATH_MAX
_BLOCK = 64 * 1024
_HEADER = 110
_CPIO = (b"070701", b"070702")
_END = b"TRAILER!!!"
# Bytes of memory that unpacking the older form of xz may take; `compressed` bounds the others.
_MEMORY = 256 << 20
_LZ4 = b"\x02\x21\x4c\x18"
# Of the format that the kernel takes ("legacy"): bytes that a block has at most, unpacked and packed.
_LZ4_BLOCK = 8 << 20
_LZ4_PACKED = _LZ4_BLOCK + _LZ4_BLOCK // 255 + 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """names: paths as they are in the archives. trouble: why it was not read to its end, as a phrase; "" if it was."""

    names: frozenset[str]
    trouble: str = ""


class _Damaged(Exception):
    """It is not what the kernel reads: why."""


class _Bytes:
    """What is left of a stream of blocks. Of those that were read, the first ones are kept until they are taken."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._kept = b""

    def peek(self, length: int) -> bytes:
        """The next bytes; fewer at the end."""
        while len(self._kept) < length and (block := next(self._blocks, b"")):
            self._kept += block
        return self._kept[:length]

    def take(self, length: int) -> bytes:
        found = self.peek(length)
        if len(found) < length:
            raise _Damaged("it ends too early")
        self._kept = self._kept[length:]
        return found

    def skip(self, length: int) -> None:
        while length > len(self._kept):
            length -= len(self._kept)
            self._kept = next(self._blocks, b"")
            if not self._kept:
                raise _Damaged("it ends too early")
        self._kept = self._kept[length:]

    def skip_zeros(self) -> None:
        while self.peek(1) == b"\0":
            self._kept = self._kept.lstrip(b"\0")

    def block(self) -> bytes:
        """Whatever comes next, as it was read; empty at the end."""
        found, self._kept = self._kept or next(self._blocks, b""), b""
        return found

    def give_back(self, data: bytes) -> None:
        self._kept = data + self._kept


def listing(stream: BinaryIO, check: Callable[[], None] = lambda: None) -> Listing:
    """Read an initramfs from the stream's place on. check: called for each block; what it raises comes through.

    Whatever is in it, it takes no more memory than `_MEMORY`, and ends within the bounds above.
    """
    names: set[str] = set()
    failures: tuple[type[Exception], ...] = (*errors(), OSError, EOFError, ValueError, RuntimeError)
    try:
        _read_row(_Bytes(_bounded(_blocks_of(stream), LARGEST, check)), names, check, packed=True)
    except _Damaged as error:
        return Listing(names=frozenset(names), trouble=str(error))
    except failures as error:
        return Listing(names=frozenset(names), trouble=f"it cannot be unpacked: {error}")
    except MemoryError:
        return Listing(names=frozenset(names), trouble="unpacking it takes too much memory")
    return Listing(names=frozenset(names))


def _read_row(data: _Bytes, names: set[str], check: Callable[[], None], *, packed: bool) -> None:
    """One archive after another. packed: they may be compressed; within one that is, no other is."""
    while True:
        data.skip_zeros()
        head = data.peek(6)
        if not head:
            return
        if head in _CPIO:
            _read_archive(data, names)
        elif packed and (unpack := _unpacker(head)):
            _read_row(_Bytes(_bounded(unpack(data), UNPACKED, check)), names, check, packed=False)
        else:
            raise _Damaged(f"it holds neither a cpio archive nor one that is packed in a known way ({head.hex()})")


def _read_archive(data: _Bytes, names: set[str]) -> None:
    while True:
        header = data.take(_HEADER)
        if header[:6] not in _CPIO:
            raise _Damaged("one of its cpio archives is damaged")
        size, length = _number(header, 6), _number(header, 11)
        if not 0 < length <= _LONGEST_NAME:
            raise _Damaged("a file in it has a name that is too long")
        name = data.take(length + -(_HEADER + length) % 4)[:length].rstrip(b"\0")
        if name == _END:
            return
        if len(names) >= MOST_FILES:
            raise _Damaged(f"it has more than {MOST_FILES} files")
        names.add(name.decode("utf-8", "surrogateescape").removeprefix("./").lstrip("/"))
        data.skip(size)
        padding = -size % 4
        data.skip(min(padding, len(data.peek(padding))))


def _number(header: bytes, field: int) -> int:
    """Of the 13 fields after the magic, each eight hexadecimal digits."""
    digits = header[6 + 8 * field : 14 + 8 * field]
    if not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
        raise _Damaged("one of its cpio archives is damaged")
    return int(digits, 16)


def _blocks_of(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(_BLOCK):
        yield block


def _bounded(blocks: Iterator[bytes], most: int, check: Callable[[], None]) -> Iterator[bytes]:
    """Only what has something in it, and no more than `most` bytes."""
    count = 0
    for block in blocks:
        check()
        count += len(block)
        if count > most:
            raise _Damaged(f"it has more than {in_words(most)}")
        if block:
            yield block


def _unpacker(head: bytes) -> Callable[[_Bytes], Iterator[bytes]] | None:
    """By how it begins."""
    if kind := compression_of(head):
        return lambda data: _unpacked(data, decompressor(kind))
    if head.startswith(b"BZh"):
        return lambda data: _unpacked(data, bz2.BZ2Decompressor())
    if head.startswith(b"\x5d\0\0"):
        return lambda data: _unpacked(data, lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MEMORY))
    return _unpacked_lz4 if head.startswith(_LZ4) else None


def _unpacked(data: _Bytes, one: Decompressor) -> Iterator[bytes]:
    """One compressed stream; what follows it stays in `data`."""
    while not one.eof:
        block = data.block() if one.needs_input else b""
        if one.needs_input and not block:
            raise _Damaged("it ends too early")
        yield one.decompress(block, _BLOCK)
    data.give_back(one.unused_data)


def _unpacked_lz4(data: _Bytes) -> Iterator[bytes]:
    import lz4.block

    while True:
        if data.peek(4) == _LZ4:
            data.take(4)
        head = data.peek(4)
        length = int(struct.unpack("<I", head)[0]) if len(head) == 4 else 0
        if not 0 < length <= _LZ4_PACKED:  # what follows it
            return
        data.take(4)
        packed = data.take(length)
        try:
            yield lz4.block.decompress(packed, uncompressed_size=_LZ4_BLOCK)
        except lz4.block.LZ4BlockError as error:
            raise _Damaged(f"it cannot be unpacked: {error}") from None
