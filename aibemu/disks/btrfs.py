"""Files of a btrfs file system, read from its bytes: no mount, no driver, no root. Nothing is written.

Read: one device, or what this one has whole of several (single, DUP, RAID 1); subvolumes; files that are compressed by
zlib or zstd. Not read: data that is striped over devices, and lzo.

Source: the layout as the Linux kernel describes it (include/uapi/linux/btrfs_tree.h) and btrfs's own documentation
("On-disk Format"). Tests compare with what mkfs.btrfs wrote, and with what GRUB and the Linux kernel read.
"""

from __future__ import annotations

import copy
import functools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from aibemu.compressed import Compression, decompressor, errors
from aibemu.disks import Unreadable
from aibemu.disks.nodes import DEVICE, FILE, FOLDER, LARGEST, LINK, Read, decoded, kind_of

_AT, _MAGIC = 0x10000, b"_BHRfS_M"
_SYSTEM_CHUNKS = 0x32B
Key: TypeAlias = tuple[int, int, int]
# A file: the number of its tree, and its own.
File: TypeAlias = tuple[int, int]
_INODE, _DIR_ITEM, _DIR_INDEX, _EXTENT, _ROOT_ITEM, _CHUNK = 1, 84, 96, 108, 132, 228
TOP = 5  # the tree of the top-level subvolume; those of the others are numbered from 256 on
_ROOTS, _FIRST_CHUNK, _DEFAULT = 1, 256, 6
_ROOT_FOLDER = 256
_LAST = (1 << 64) - 1
_HEADER, _ITEM, _POINTER = 101, 25, 33
_INLINE, _PREALLOCATED = 0, 2
# Data of these kinds is whole at each of its places; of the others each device has a part.
_STRIPED = 8 | 64 | 128 | 256  # RAID 0, 10, 5, 6
_LOG_TREE = 0x60
# What no real system needs more of: levels of a tree, its blocks for one question, bytes of a link.
_DEEPEST, _MOST_BLOCKS, _LONGEST_LINK = 8, 20_000, 4096
_MOST_PACKED = 1 << 20  # bytes of one compressed extent, unpacked: btrfs makes 128 KiB of them
_KEPT = 512  # blocks of trees
_KINDS = {1: FILE, 2: FOLDER, 7: LINK}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """`size` bytes of the file system's own addresses from `begin` on are at byte `at` of this device; at None: on
    other devices, or in parts."""

    begin: int
    size: int
    at: int | None


class BtrfsFiles:
    """One file system, seen from one of its subvolumes. All questions raise `Unreadable`."""

    def __init__(self, read: Read) -> None:
        """`read(at, length)` gives bytes of the file system. It is seen from its default subvolume."""
        self._read_raw = read
        head = self._raw(_AT, 4096)
        if head[0x40:0x48] != _MAGIC:
            raise Unreadable("it has no btrfs superblock")
        self._roots, chunks = struct.unpack_from("<QQ", head, 0x50)
        _, self._node_size = struct.unpack_from("<II", head, 0x90)
        (self._device,) = struct.unpack_from("<Q", head, 0xC9)
        if self._node_size not in (1 << bits for bits in range(12, 17)):
            raise Unreadable("its btrfs superblock is damaged")
        self._cached = functools.lru_cache(maxsize=_KEPT)(lambda at: self._logical(at, self._node_size))
        # Written by fsync and not yet part of the trees: a system that goes off leaves none.
        self.unfinished = bool(struct.unpack_from("<Q", head, _LOG_TREE)[0])
        (length,) = struct.unpack_from("<I", head, 0xA0)
        self._chunks = list(self._system_chunks(head[_SYSTEM_CHUNKS : _SYSTEM_CHUNKS + min(length, 2048)]))
        for key, data in self._items(chunks, (_FIRST_CHUNK, _CHUNK, 0), (_FIRST_CHUNK, _CHUNK, _LAST)):
            self._chunks.append(self._chunk(key, data))
        self._trees: dict[int, int] = {}
        self._top = self.default()

    def seen_from(self, subvolume: str | int) -> BtrfsFiles:
        """The same, from the subvolume of that path from the top level (`@/home`), or number."""
        other = copy.copy(self)
        if isinstance(subvolume, int):
            self._tree(subvolume)
            other._top = subvolume
            return other
        found: File = (TOP, _ROOT_FOLDER)
        for name in subvolume.strip("/").split("/"):
            below = self.entries(found).get(name)
            if below is None:
                raise Unreadable(f"it has no subvolume {subvolume}")
            found = below
        if found[1] != _ROOT_FOLDER:
            raise Unreadable(f"{subvolume} is no subvolume")
        other._top = found[0]
        return other

    def default(self) -> int:
        """The subvolume that is mounted where nobody names one."""
        key = (_DEFAULT, _DIR_ITEM, 0)
        for _, data in self._items(self._roots, key, (_DEFAULT, _DIR_ITEM, _LAST)):
            for name, (number, kind, _), _ in _dir_items(data):
                if name == b"default" and kind == _ROOT_ITEM:
                    return number
        return TOP

    def subvolumes(self) -> list[int]:
        """All of them, by number, the top level first."""
        found = self._items(self._roots, (_ROOT_FOLDER, _ROOT_ITEM, 0), (_LAST - 256, _ROOT_ITEM, _LAST))
        return [TOP, *dict.fromkeys(key[0] for key, _ in found if key[1] == _ROOT_ITEM)]

    def root(self) -> File:
        return (self._top, _ROOT_FOLDER)

    def kind(self, node: File) -> str:
        return kind_of(struct.unpack_from("<I", self._inode(node), 52)[0])

    def size(self, node: File) -> int:
        return int(struct.unpack_from("<Q", self._inode(node), 16)[0])

    def link(self, node: File) -> str:
        """Where a symbolic link leads."""
        return decoded(self.content(node, _LONGEST_LINK))

    def content(self, node: File, most: int) -> bytes:
        """The first bytes of a file, `most` at most; holes are zeros."""
        size = min(self.size(node), most)
        found = bytearray(size)
        tree, number = node
        for key, data in self._items(self._tree(tree), (number, _EXTENT, 0), (number, _EXTENT, max(size - 1, 0))):
            piece = self._extent(data, size - key[2])
            found[key[2] : key[2] + len(piece)] = piece
        return bytes(found[:size])

    def entries(self, node: File) -> dict[str, File]:
        """What is in a folder, by name. A subvolume is a folder of the one that it is in."""
        tree, number = node
        found: dict[str, File] = {}
        for _, data in self._items(self._tree(tree), (number, _DIR_INDEX, 0), (number, _DIR_INDEX, _LAST)):
            for name, (at, kind, _), _ in _dir_items(data):
                found[decoded(name)] = (at, _ROOT_FOLDER) if kind == _ROOT_ITEM else (tree, at)
        return found

    def _inode(self, node: File) -> bytes:
        tree, number = node
        for _, data in self._items(self._tree(tree), (number, _INODE, 0), (number, _INODE, _LAST)):
            if len(data) >= 160:
                return data
        raise Unreadable(f"inode {number} of subvolume {tree} is damaged")

    def _tree(self, number: int) -> int:
        """Where the tree of a subvolume begins."""
        if number not in self._trees:
            for _, data in self._items(self._roots, (number, _ROOT_ITEM, 0), (number, _ROOT_ITEM, _LAST)):
                if len(data) >= 239:
                    (self._trees[number],) = struct.unpack_from("<Q", data, 176)
            if number not in self._trees:
                raise Unreadable(f"it has no subvolume {number}")
        return self._trees[number]

    def _extent(self, data: bytes, most: int) -> bytes:
        """The content of one extent of a file, `most` bytes of it."""
        if len(data) < 21:
            raise Unreadable("an extent is damaged")
        (unpacked,) = struct.unpack_from("<Q", data, 8)
        packed, encrypted, kind = data[16], data[17], data[20]
        if encrypted:
            raise Unreadable("it is encrypted")
        if kind == _INLINE:
            return _unpack(data[21:], packed, unpacked)[:most]
        if len(data) < 53:
            raise Unreadable("an extent is damaged")
        at, held, offset, length = struct.unpack_from("<QQQQ", data, 21)
        length = min(length, most)
        if not at or kind == _PREALLOCATED:
            return b""
        if packed:
            if held > _MOST_PACKED:
                raise Unreadable("an extent is damaged")
            return _unpack(self._logical(at, held), packed, unpacked)[offset : offset + length]
        return self._logical(at + offset, length)

    def _items(self, root: int, first: Key, last: Key) -> Iterator[tuple[Key, bytes]]:
        """The items of a tree with keys from `first` to `last`, in their order."""
        yield from self._below(root, first, last, _DEEPEST, [_MOST_BLOCKS])

    def _below(self, at: int, first: Key, last: Key, depth: int, left: list[int]) -> Iterator[tuple[Key, bytes]]:
        left[0] -= 1
        block = self._block(at)
        (count,), level = struct.unpack_from("<I", block, 96), block[100]
        if level >= depth or left[0] < 0:
            raise Unreadable("a tree of its btrfs is damaged")
        if level == 0:
            yield from _leaf(block, count, first, last)
            return
        keys = []
        for number in range(min(count, (len(block) - _HEADER) // _POINTER)):
            keys.append(struct.unpack_from("<QBQQ", block, _HEADER + number * _POINTER))
        for number, (one, two, three, below) in enumerate(keys):
            ends = number + 1 < len(keys) and keys[number + 1][:3] <= first
            if (one, two, three) <= last and not ends:
                yield from self._below(below, first, last, level, left)

    def _block(self, at: int) -> bytes:
        block = self._cached(at)
        if struct.unpack_from("<Q", block, 48)[0] != at:
            raise Unreadable("a tree of its btrfs is damaged")
        return block

    def _system_chunks(self, data: bytes) -> Iterator[_Chunk]:
        at = 0
        while at + 17 + 48 <= len(data):
            key = struct.unpack_from("<QBQ", data, at)
            (count,) = struct.unpack_from("<H", data, at + 17 + 44)
            end = at + 17 + 48 + 32 * count
            yield self._chunk(key, data[at + 17 : end])
            at = end

    def _chunk(self, key: Key, data: bytes) -> _Chunk:
        if len(data) < 48 + 32:
            raise Unreadable("its list of chunks is damaged")
        size, _, _, kind = struct.unpack_from("<QQQQ", data)
        (count,) = struct.unpack_from("<H", data, 44)
        places = [
            struct.unpack_from("<QQ", data, 48 + 32 * number) for number in range(min(count, len(data) // 32 - 1))
        ]
        here = [at for device, at in places if device == self._device]
        return _Chunk(begin=key[2], size=size, at=here[0] if here and not kind & _STRIPED else None)

    def _logical(self, at: int, length: int) -> bytes:
        """Bytes at one of the file system's own addresses."""
        for chunk in self._chunks:
            if chunk.begin <= at < chunk.begin + chunk.size:
                if chunk.at is None:
                    raise Unreadable("its btrfs is spread over several devices")
                if at + length > chunk.begin + chunk.size:
                    break
                return self._raw(chunk.at + at - chunk.begin, length)
        raise Unreadable("its btrfs names bytes that are nowhere")

    def _raw(self, at: int, length: int) -> bytes:
        data = self._read_raw(at, min(length, LARGEST))
        if len(data) < length:
            raise Unreadable("its btrfs goes beyond the end of the disk, or is damaged")
        return data


def _leaf(block: bytes, count: int, first: Key, last: Key) -> Iterator[tuple[Key, bytes]]:
    for number in range(min(count, (len(block) - _HEADER) // _ITEM)):
        one, two, three, at, size = struct.unpack_from("<QBQII", block, _HEADER + number * _ITEM)
        if first <= (one, two, three) <= last:
            if _HEADER + at + size > len(block):
                raise Unreadable("a tree of its btrfs is damaged")
            yield (one, two, three), block[_HEADER + at : _HEADER + at + size]


def _dir_items(data: bytes) -> Iterator[tuple[bytes, Key, str]]:
    """(name, key of what it names, kind) of each entry."""
    at = 0
    while at + 30 <= len(data):
        key = struct.unpack_from("<QBQ", data, at)
        extra, long, kind = struct.unpack_from("<HHB", data, at + 25)
        yield data[at + 30 : at + 30 + long], key, _KINDS.get(kind, DEVICE)
        at += 30 + long + extra


def _unpack(data: bytes, method: int, size: int) -> bytes:
    """Raises `Unreadable`."""
    if not method:
        return data
    if size > _MOST_PACKED:
        raise Unreadable("an extent is damaged")
    if method == 1:
        try:
            return zlib.decompressobj().decompress(data, size)
        except zlib.error as error:
            raise Unreadable(f"what is compressed by zlib is damaged: {error}") from None
    if method != 3:
        raise Unreadable("it is compressed by lzo, which is not read")
    try:
        return decompressor(Compression.ZSTD).decompress(data, size)
    except errors() as error:
        raise Unreadable(f"what is compressed by zstd is damaged: {error}") from None
