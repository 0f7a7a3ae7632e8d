"""Files of an XFS file system, read from its bytes: no mount, no driver, no root. Nothing is written.

What XFS writes since Linux 2.6.20 or so is read: versions 4 and 5, folders of all sizes, files in any number of
extents. Not read: files on a realtime device. The log is not replayed: a guest that goes off writes all of it first.

Source: the layout as the Linux kernel describes it (fs/xfs/libxfs/xfs_format.h, xfs_da_format.h) and "XFS Algorithms &
Data Structures". Tests compare with what mkfs.xfs wrote, and with what GRUB and the Linux kernel read.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from aibemu.disks import Unreadable
from aibemu.disks.nodes import LARGEST, Read, decoded, kind_of

_MAGIC = b"XFSB"
_V5 = 5
_SECTOR = 512
# A record of the log; the flag of the one that an unmount writes; bytes of a log that is looked through.
_RECORD, _UNMOUNT, _LARGEST_LOG = b"\xfe\xed\xba\xbe", 0x20, 256 << 20
_MORE_BITS, _V4_TYPES = 0x8000, 0x200  # version bits: there are more of them; folders say what their entries are
# Features that change where things are, and are not known here: none below this bit does.
_UNKNOWN = ~0x1FF
_NREXT64 = 1 << 4  # in an inode's second flags: its number of extents has 64 bits
_REALTIME = 1
_LOCAL, _EXTENTS, _BTREE = 1, 2, 3
_CORE = {1: 100, 2: 100, 3: 176}  # where an inode's data begins, by its version
_TREE_HEADER = {b"BMAP": 24, b"BMA3": 72}
# Magic of a block of a folder -> bytes of its header, and whether the end of the block is an index.
_FOLDER_HEADER = {b"XD2D": (16, False), b"XDD3": (64, False), b"XD2B": (16, True), b"XDB3": (64, True)}
_INDEX_AT = 32 << 30  # a folder's index begins at this byte of it
_LINK_HEADER = 56  # of each block with the target of a link, in version 5
_UNUSED = 0xFFFF
# More than any file of a system has; what goes beyond is damage, or somebody who means harm.
_MOST_EXTENTS, _DEEPEST, _MOST_FOLDER, _LONGEST_LINK = 500_000, 10, 64 << 20, 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inode:
    """mode, size: as of the file. form: how its data is kept. fork: the bytes of the inode that say where."""

    number: int
    mode: int
    size: int
    form: int
    fork: bytes
    extents: int
    realtime: bool


class XfsFiles:
    """One file system. Nodes are numbers of inodes. All questions raise `Unreadable`."""

    def __init__(self, read: Read) -> None:
        """`read(at, length)` gives bytes of the file system."""
        self._read_raw = read
        head = self._bytes(0, 264)
        self._root: int
        self._block: int
        self._group: int
        if head[:4] != _MAGIC:
            raise Unreadable("it has no XFS superblock")
        (self._block,) = struct.unpack_from(">I", head, 4)
        (self._root,) = struct.unpack_from(">Q", head, 56)
        (self._group,) = struct.unpack_from(">I", head, 84)
        version, _, self._inode_size = struct.unpack_from(">HHH", head, 100)
        self._inode_bits, self._group_bits = head[123], head[124]
        self._folder_block = self._block << min(head[192], 16)
        self._log = struct.unpack_from(">Q", head, 48)[0], struct.unpack_from(">I", head, 96)[0]
        features2, _, _, _, incompatible = struct.unpack_from(">IIIII", head, 200)
        self._v5 = version & 0xF == _V5
        self._typed = self._v5 or bool(version & _MORE_BITS and features2 & _V4_TYPES)
        if self._v5 and incompatible & _UNKNOWN:
            raise Unreadable(f"its XFS uses features that are not known here ({incompatible:#x})")
        if (
            self._block not in (1 << bits for bits in range(9, 17))
            or not 256 <= self._inode_size <= 2048
            or self._inode_bits > 16 or self._group_bits > 32 or not self._group
            or self._folder_block > 1 << 16
        ):  # fmt: skip
            raise Unreadable("its XFS superblock is damaged")

    @property
    def unfinished(self) -> bool:
        """Its log has changes that are not yet where they belong: the newest record is not that of an unmount."""
        if not self._log[1] * self._block <= _LARGEST_LOG:
            return False
        data = self._bytes(self._place(self._log[0]), self._log[1] * self._block) if self._log[0] else b""
        newest, at = (-1, 0), data.find(_RECORD)
        while at >= 0:
            if at % _SECTOR == 0 and at + _SECTOR <= len(data):
                newest = max(newest, (int.from_bytes(data[at + 16 : at + 24], "big"), at))
            at = data.find(_RECORD, at + 4)
        if newest[0] < 0:
            return False
        at = newest[1]
        (operations,), (buffer,) = struct.unpack_from(">I", data, at + 40), struct.unpack_from(">I", data, at + 320)
        # A header for each 32 KiB of the buffer that it was written from.
        flags = at + _SECTOR * max(1, min(-(-buffer // 32768), 8)) + 9
        return not (operations == 1 and flags < len(data) and data[flags] & _UNMOUNT)

    def root(self) -> int:
        return self._root

    def kind(self, node: int) -> str:
        return kind_of(self._inode(node).mode)

    def size(self, node: int) -> int:
        return self._inode(node).size

    def link(self, node: int) -> str:
        """Where a symbolic link leads."""
        inode = self._inode(node)
        size = min(inode.size, _LONGEST_LINK)
        if inode.form == _LOCAL:
            return decoded(inode.fork[:size])
        if not self._v5:
            return decoded(self._content(inode, size))
        found = bytearray()
        for _, block, count in self._extents(inode):
            for number in range(count):
                if len(found) >= size:
                    break
                data = self._fs_block(block, number)
                (held,) = struct.unpack_from(">I", data, 8)
                found += data[_LINK_HEADER : _LINK_HEADER + min(held, len(data))]
        return decoded(bytes(found[:size]))

    def content(self, node: int, most: int) -> bytes:
        """The first bytes of a file, `most` at most."""
        inode = self._inode(node)
        if inode.realtime:
            raise Unreadable("it is on a realtime device")
        return self._content(inode, min(inode.size, most))

    def entries(self, node: int) -> dict[str, int]:
        """What is in a folder, by name."""
        inode = self._inode(node)
        if not stat.S_ISDIR(inode.mode):
            return {}
        found = self._short(inode) if inode.form == _LOCAL else self._long(inode)
        return {decoded(name): number for name, number in found if name not in (b".", b"..")}

    def _inode(self, number: int) -> _Inode:
        group, rest = _split(number, self._group_bits + self._inode_bits)
        block, place = _split(rest, self._inode_bits)
        at = (group * self._group + block) * self._block + place * self._inode_size
        data = self._bytes(at, self._inode_size)
        if data[:2] != b"IN" or data[4] not in _CORE:
            raise Unreadable(f"inode {number} is damaged")
        (mode,), (size,) = struct.unpack_from(">H", data, 2), struct.unpack_from(">Q", data, 56)
        (extents,) = struct.unpack_from(">I", data, 76)
        if data[4] == 3 and struct.unpack_from(">Q", data, 120)[0] & _NREXT64:
            (extents,) = struct.unpack_from(">Q", data, 24)
        begin = _CORE[data[4]]
        end = begin + data[82] * 8 if data[82] else self._inode_size
        (flags,) = struct.unpack_from(">H", data, 90)
        return _Inode(
            number=number, mode=mode, size=size, form=data[5], fork=data[begin : min(end, len(data))],
            extents=extents, realtime=bool(flags & _REALTIME),
        )  # fmt: skip

    def _content(self, inode: _Inode, size: int) -> bytes:
        """The first `size` bytes; holes are zeros."""
        if inode.form == _LOCAL:
            return inode.fork[:size]
        found = bytearray(size)
        for offset, block, count in self._extents(inode):
            at = offset * self._block
            length = min(count * self._block, size - at)
            if length > 0:
                found[at : at + length] = self._bytes(self._place(block), length)
        return bytes(found)

    def _extents(self, inode: _Inode) -> Iterator[tuple[int, int, int]]:
        """(first block of the file, block of the file system, blocks), without those that were never written."""
        if inode.form == _EXTENTS:
            records = inode.fork[: 16 * min(inode.extents, _MOST_EXTENTS)]
            yield from _records(records)
        elif inode.form == _BTREE:
            level, count = struct.unpack_from(">HH", inode.fork.ljust(4, b"\0"))
            room = (len(inode.fork) - 4) // 16
            left = [_MOST_EXTENTS]
            for pointer in _pointers(inode.fork, 4 + room * 8, min(count, room)):
                yield from self._tree(pointer, level - 1, left)
        else:
            raise Unreadable(f"inode {inode.number} keeps its data in a way that is not known here")

    def _tree(self, pointer: int, level: int, left: list[int]) -> Iterator[tuple[int, int, int]]:
        data = self._fs_block(pointer, 0)
        header = _TREE_HEADER.get(data[:4])
        found, count = struct.unpack_from(">HH", data, 4)
        if header is None or found != level or not 0 <= level < _DEEPEST:
            raise Unreadable("a list of extents is damaged")
        room = (self._block - header) // 16
        left[0] -= min(count, room) + 1
        if left[0] < 0:
            raise Unreadable("a file has more extents than XFS makes")
        if not level:
            yield from _records(data[header : header + 16 * min(count, room)])
            return
        for below in _pointers(data, header + room * 8, min(count, room)):
            yield from self._tree(below, level - 1, left)

    def _short(self, inode: _Inode) -> Iterator[tuple[bytes, int]]:
        """A folder that is in its inode."""
        data = inode.fork[: inode.size]
        if len(data) < 6:
            raise Unreadable(f"folder {inode.number} is damaged")
        width = 8 if data[1] else 4
        at = 2 + width
        for _ in range(data[0] or data[1]):
            end = at + 3 + data[at] + self._typed if at < len(data) else len(data)
            if end + width > len(data):
                raise Unreadable(f"folder {inode.number} is damaged")
            yield data[at + 3 : at + 3 + data[at]], int.from_bytes(data[end : end + width], "big")
            at = end + width

    def _long(self, inode: _Inode) -> Iterator[tuple[bytes, int]]:
        """A folder in blocks of its own: its entries are before its index."""
        extents = [extent for extent in self._extents(inode) if extent[0] * self._block < _INDEX_AT]
        size = max((offset + count for offset, _, count in extents), default=0) * self._block
        if size > _MOST_FOLDER:
            raise Unreadable(f"folder {inode.number} is larger than what is read")
        data = bytearray(size)
        for offset, block, count in extents:
            length = count * self._block
            data[offset * self._block : offset * self._block + length] = self._bytes(self._place(block), length)
        for at in range(0, size, self._folder_block):
            yield from self._folder_entries(bytes(data[at : at + self._folder_block]))

    def _folder_entries(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        if not any(data):
            return  # a hole
        if data[:4] not in _FOLDER_HEADER:
            raise Unreadable("a folder is damaged")
        at, indexed = _FOLDER_HEADER[data[:4]]
        end = len(data) - 8 - 8 * int.from_bytes(data[-8:-4], "big") if indexed else len(data)
        while at + 8 <= end:
            if int.from_bytes(data[at : at + 2], "big") == _UNUSED:
                length = int.from_bytes(data[at + 2 : at + 4], "big")
            else:
                long = data[at + 8] if at + 8 < end else 0
                length = -(-(8 + 1 + long + self._typed + 2) // 8) * 8
                if at + length > end:
                    raise Unreadable("a folder is damaged")
                yield data[at + 9 : at + 9 + long], int.from_bytes(data[at : at + 8], "big")
            if length < 8:
                raise Unreadable("a folder is damaged")
            at += length

    def _place(self, block: int) -> int:
        """The byte at which a block of the file system begins."""
        group, rest = _split(block, self._group_bits)
        return (group * self._group + rest) * self._block

    def _fs_block(self, block: int, number: int) -> bytes:
        return self._bytes(self._place(block) + number * self._block, self._block)

    def _bytes(self, at: int, length: int) -> bytes:
        data = self._read_raw(at, min(length, LARGEST))
        if len(data) < length:
            raise Unreadable("its XFS goes beyond the end of the disk, or is damaged")
        return data


def _split(number: int, bits: int) -> tuple[int, int]:
    return number >> bits, number & ((1 << bits) - 1)


def _records(data: bytes) -> Iterator[tuple[int, int, int]]:
    for at in range(0, len(data) - 15, 16):
        high, low = struct.unpack_from(">QQ", data, at)
        if not high >> 63:
            yield (high >> 9) & ((1 << 54) - 1), (high & 0x1FF) << 43 | low >> 21, low & 0x1FFFFF


def _pointers(data: bytes, at: int, count: int) -> Iterator[int]:
    for number in range(count):
        if at + number * 8 + 8 > len(data):
            raise Unreadable("a list of extents is damaged")
        yield int.from_bytes(data[at + number * 8 : at + number * 8 + 8], "big")
