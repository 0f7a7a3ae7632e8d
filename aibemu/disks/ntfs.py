"""Files of an NTFS volume, read from its bytes: no mount, no driver, no root.

Files can be changed in place where their size stays: then nothing else of the volume changes, neither its index nor its
journal. Compressed and encrypted files are not read.

Source: the layout as the Linux kernel describes it (fs/ntfs/layout.h, fs/ntfs3/ntfs.h). Tests compare with files that
ntfs-3g wrote.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aibemu.disks import Unreadable

Read = Callable[[int, int], bytes]

_NAME = b"NTFS    "
_MFT, _VOLUME, _ROOT = 0, 3, 5  # records that are always at these places
_FIRST_OF_USERS = 16  # those before it are NTFS's own: $MFT, $LogFile ...
_LIST, _FILE_NAME, _VOLUME_FLAGS, _DATA, _INDEX_ROOT, _INDEX, _REPARSE = 0x20, 0x30, 0x70, 0x80, 0x90, 0xA0, 0xC0
_END = 0xFFFFFFFF
_FOLDER_INDEX = "$I30"
_COMPRESSED, _ENCRYPTED = 0x00FF, 0x4000
_SUBNODE, _LAST = 1, 2
_DOS_NAME = 2
_IN_USE, _IS_FOLDER = 1, 2
_DIRTY = 1
_STRIDE = 512  # update sequences protect pieces of this size, whatever the sectors of the disk have
# What no real volume needs more of: extents of one attribute, blocks of one folder's index, parts of one record.
_MOST_RUNS, _MOST_BLOCKS, _MOST_PARTS = 500_000, 10_000, 2_000
# `hiberfil.sys` begins with one of these while the memory of a Windows that is asleep is in it.
_ASLEEP = (b"hibr", b"HIBR", b"wake", b"WAKE")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attribute:
    """kind, name: of the attribute. value: what is in the record itself, None if it is in extents of its own.

    at: where `value` begins in the record. runs: bytes of the mapping pairs. first: cluster of the attribute at which
    they begin.
    """

    kind: int
    name: str
    flags: int
    value: bytes | None
    at: int = 0
    runs: bytes = b""
    first: int = 0
    size: int = 0
    initialized: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`length` bytes are on the disk from byte `at` on; at None: they are zeros, and nowhere."""

    at: int | None
    length: int


class NtfsFile:
    """One file: `size` in bytes, and what is in it. It can be changed where it lies, if `writable`."""

    def __init__(self, read: Read, path: str, size: int, initialized: int, places: list[Place] | bytes) -> None:
        self.path = path
        self.size = size
        self._read = read
        self._initialized = initialized
        self._places = places

    def read(self, at: int, length: int) -> bytes:
        """`length` bytes from byte `at` of the file on; fewer at its end."""
        end = min(at + max(length, 0), self.size)
        if at < 0 or at >= end:
            return b""
        if isinstance(self._places, bytes):
            return self._places[at:end]
        known = min(end, max(at, self._initialized))
        found = b"".join(
            bytes(place.length) if place.at is None else self._whole(place) for place in self.places(at, known - at)
        )
        return found + bytes(end - known)

    def places(self, at: int, length: int) -> list[Place]:
        """Where on the disk these bytes of the file are. Raises `Unreadable` for what is nowhere of its own."""
        if isinstance(self._places, bytes):
            raise Unreadable(f"{self.path} is too small to have a place of its own on the disk")
        found = []
        begin = 0
        for place in self._places:
            first, last = max(at, begin), min(at + length, begin + place.length)
            if first < last:
                start = None if place.at is None else place.at + first - begin
                found.append(Place(at=start, length=last - first))
            begin += place.length
            if begin >= at + length:
                break
        if sum(place.length for place in found) != length:
            raise Unreadable(f"{self.path} is damaged: parts of it are missing on the disk")
        return found

    def _whole(self, place: Place) -> bytes:
        assert place.at is not None
        data = self._read(place.at, place.length)
        if len(data) != place.length:
            raise Unreadable(f"{self.path} is damaged: it lies beyond the end of the disk")
        return data


class Ntfs:
    """One volume. Paths have `\\` or `/` between their names and no drive; case does not matter, as in Windows."""

    def __init__(self, read: Read, start: int) -> None:
        """read: gives bytes of the disk. start: where the volume begins on it. `Unreadable` for a damaged one."""
        self._disk = read
        self._start = start
        boot = read(start, 512)
        if len(boot) < 512 or boot[3:11] != _NAME:
            raise Unreadable("there is no NTFS volume")
        sector, clusters = struct.unpack("<HB", boot[11:14])
        self._cluster = sector * (clusters if clusters <= 0x80 else 1 << (256 - clusters))
        self._record_size = self._in_clusters(boot[0x40])
        self._index_size = self._in_clusters(boot[0x44])
        sizes = (self._cluster, self._record_size, self._index_size)
        if any(size < _STRIDE or size & (size - 1) or size > 2 << 20 for size in sizes):
            raise Unreadable("the NTFS volume is damaged: its first sector makes no sense")
        self._folders: dict[int, dict[str, tuple[str, int]]] = {}
        self._known: dict[int, list[_Attribute]] = {}
        self._table: NtfsFile | None = None
        self._table = self._find_table(struct.unpack("<Q", boot[0x30:0x38])[0])

    @property
    def dirty(self) -> bool:
        """Windows did not close the volume: it was not shut down, or something is wrong with the volume."""
        found = self._attribute(_VOLUME, _VOLUME_FLAGS, "")
        return found is None or found.value is None or len(found.value) < 12 or bool(found.value[10] & _DIRTY)

    @property
    def asleep(self) -> bool:
        """Windows is hibernated, as its fast startup does at each shutdown: its memory knows better than the disk."""
        found = self.file("hiberfil.sys")
        return found is not None and found.read(0, 4) in _ASLEEP

    def file(self, path: str) -> NtfsFile | None:
        """The file at `path`; None if there is none. `Unreadable` for a compressed or encrypted one."""
        number = self._find(path)
        if number is None or self._is_folder(number):
            return None
        if (reparse := self._attribute(number, _REPARSE, "")) and reparse.value is not None:
            raise Unreadable(f"{path} is compressed by Windows, or is a link")
        return self._data(number, _DATA, "", path)

    def names(self, path: str) -> list[str] | None:
        """Sorted names in the folder `path`; None if there is no such folder."""
        number = self._find(path)
        if number is None or not self._is_folder(number):
            return None
        return sorted({name for name, record in self._entries(number).values() if name and record >= _FIRST_OF_USERS})

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder at `path`."""
        return self._find(path) is not None

    def _find(self, path: str) -> int | None:
        """The number of the record of what is at `path`."""
        number = _ROOT
        for name in path.replace("/", "\\").split("\\"):
            if name:
                found = self._entries(number).get(_folded(name)) if self._is_folder(number) else None
                if found is None:
                    return None
                number = found[1]
        return number

    def _is_folder(self, number: int) -> bool:
        return bool(struct.unpack("<H", self._record(number)[0x16:0x18])[0] & _IS_FOLDER)

    def _in_clusters(self, value: int) -> int:
        return value * self._cluster if value < 0x80 else 1 << (256 - value)

    def _find_table(self, cluster: int) -> NtfsFile:
        """The table of all records, which has its own record first."""
        first = self._protected(self._disk(self._start + cluster * self._cluster, self._record_size), b"FILE")
        parts = list(_attributes(first))
        found = next((part for part in parts if part.kind == _DATA and not part.name), None)
        if found is None or found.value is not None:
            raise Unreadable("the NTFS volume is damaged: it has no table of its files")
        self._table = self._as_file([found], "$MFT")
        # A table in many pieces names the rest of them in records that the pieces before hold.
        known = [found]
        for record in sorted({number for number in self._others(parts) if number != _MFT}):
            known += [part for part in _attributes(self._record(record)) if part.kind == _DATA and not part.name]
            self._table = self._as_file(sorted(known, key=lambda part: part.first), "$MFT")
        return self._table

    def _record(self, number: int) -> bytes:
        assert self._table is not None
        return self._protected(self._table.read(number * self._record_size, self._record_size), b"FILE")

    def _parts(self, number: int) -> list[_Attribute]:
        """All attributes of a file, those in other records too."""
        if number not in self._known:
            found = list(_attributes(self._record(number)))
            for record in sorted({other for other in self._others(found) if other != number}):
                found += _attributes(self._record(record))
            self._known[number] = found
        return self._known[number]

    def _others(self, parts: list[_Attribute]) -> Iterator[int]:
        """Records that the list of attributes of a record names."""
        found = next((part for part in parts if part.kind == _LIST), None)
        if found is None:
            return
        data = found.value
        if data is None:
            data = self._as_file([found], "a list of attributes").read(0, min(found.size, 1 << 20))
        at = 0
        for _ in range(_MOST_PARTS):
            if at + 0x1A > len(data):
                return
            length = struct.unpack_from("<H", data, at + 4)[0]
            if length < 0x1A:
                return
            yield struct.unpack_from("<Q", data, at + 0x10)[0] & (1 << 48) - 1
            at += length

    def _attribute(self, number: int, kind: int, name: str) -> _Attribute | None:
        return next((part for part in self._parts(number) if part.kind == kind and part.name == name), None)

    def _data(self, number: int, kind: int, name: str, path: str) -> NtfsFile | None:
        """What is in an attribute of a file, from all records that have parts of it."""
        parts = [part for part in self._parts(number) if part.kind == kind and part.name == name]
        if not parts:
            return None
        if any(part.flags & (_COMPRESSED | _ENCRYPTED) for part in parts):
            raise Unreadable(f"{path} is compressed or encrypted")
        if (value := parts[0].value) is not None:
            return NtfsFile(self._disk, path, len(value), len(value), value)
        return self._as_file(sorted(parts, key=lambda part: part.first), path)

    def _as_file(self, parts: list[_Attribute], path: str) -> NtfsFile:
        places: list[Place] = []
        for part in parts:
            places += self._runs(part.runs)
            if len(places) > _MOST_RUNS:
                raise Unreadable(f"{path} is damaged: it is in too many pieces")
        return NtfsFile(self._disk, path, parts[0].size, min(parts[0].initialized, parts[0].size), places)

    def _runs(self, data: bytes) -> Iterator[Place]:
        """Mapping pairs: how many clusters, and how far from the last ones."""
        at, cluster = 0, 0
        while at < len(data) and data[at]:
            count, far = data[at] & 15, data[at] >> 4
            length = int.from_bytes(data[at + 1 : at + 1 + count], "little")
            if not length or count > 8 or far > 8:
                return
            cluster += int.from_bytes(data[at + 1 + count : at + 1 + count + far], "little", signed=True)
            where = self._start + cluster * self._cluster if far and cluster >= 0 else None
            yield Place(at=where, length=length * self._cluster)
            at += 1 + count + far

    def _protected(self, block: bytes, magic: bytes) -> bytes:
        """A record with the ends of its sectors put back; `Unreadable` when it was only written in part."""
        if len(block) < _STRIDE or not block.startswith(magic):
            raise Unreadable("the NTFS volume is damaged: a record of its files is not one")
        at, count = struct.unpack_from("<HH", block, 4)
        if count != len(block) // _STRIDE + 1 or at + 2 * count > _STRIDE:
            raise Unreadable("the NTFS volume is damaged: a record of its files has no update sequence")
        mended = bytearray(block)
        for number in range(1, count):
            end = number * _STRIDE - 2
            if mended[end : end + 2] != block[at : at + 2]:
                raise Unreadable("the NTFS volume is damaged: a record of its files was written in part")
            mended[end : end + 2] = block[at + 2 * number : at + 2 * number + 2]
        return bytes(mended)

    def _entries(self, number: int) -> dict[str, tuple[str, int]]:
        """Of a folder: folded name -> (name, record). A short name that only DOS uses has "" for its name."""
        if number not in self._folders:
            found = {}
            for reference, key in self._index(number):
                if len(key) >= 0x42 and len(key) >= 0x42 + 2 * key[0x40]:
                    name = key[0x42 : 0x42 + 2 * key[0x40]].decode("utf-16-le", "replace")
                    found[_folded(name)] = ("" if key[0x41] == _DOS_NAME else name, reference & (1 << 48) - 1)
            self._folders[number] = found
        return self._folders[number]

    def _index(self, number: int) -> Iterator[tuple[int, bytes]]:
        """(reference, key) of all entries of a folder's index: a tree, whose root is in the folder's own record."""
        root = self._attribute(number, _INDEX_ROOT, _FOLDER_INDEX)
        if root is None or root.value is None:
            return
        blocks: NtfsFile | None = None
        waiting: list[int] = []
        seen: set[int] = set()
        entries = list(_index_entries(root.value, 0x10))
        while True:
            for reference, key, below in entries:
                if key:
                    yield reference, key
                if below is not None and below not in seen:
                    seen.add(below)
                    waiting.append(below)
            if not waiting:
                return
            if len(seen) > _MOST_BLOCKS:
                raise Unreadable("the NTFS volume is damaged: a folder of it has no end")
            blocks = blocks or self._data(number, _INDEX, _FOLDER_INDEX, "a folder")
            if blocks is None:
                return
            unit = self._cluster if self._index_size >= self._cluster else _STRIDE
            block = self._protected(blocks.read(waiting.pop() * unit, self._index_size), b"INDX")
            entries = list(_index_entries(block, 0x18))


def _attributes(record: bytes) -> Iterator[_Attribute]:
    """All attributes in one record; damage ends them."""
    at = struct.unpack_from("<H", record, 0x14)[0]
    while at + 0x18 <= len(record):
        kind, length, apart, name_length, name_at, flags = struct.unpack_from("<IIBBHH", record, at)
        if kind == _END or length < 0x18 or at + length > len(record):
            return
        name = record[at + name_at : at + name_at + 2 * name_length].decode("utf-16-le", "replace")
        if not apart:
            size, value_at = struct.unpack_from("<IH", record, at + 0x10)
            value = record[at + value_at : at + min(value_at + size, length)]
            yield _Attribute(kind=kind, name=name, flags=flags, value=value, at=at + value_at)
        elif length >= 0x40:
            first, _, runs_at = struct.unpack_from("<QQH", record, at + 0x10)
            # Only the part that begins with cluster 0 has sizes.
            size, initialized = struct.unpack_from("<QQ", record, at + 0x30) if first == 0 else (0, 0)
            yield _Attribute(
                kind=kind, name=name, flags=flags, value=None, runs=record[at + runs_at : at + length], first=first,
                size=size, initialized=initialized,
            )  # fmt: skip
        at += length


def _index_entries(block: bytes, header: int) -> Iterator[tuple[int, bytes, int | None]]:
    """(reference, key, the block below it) of each entry after the index header at `header`; the last has no key."""
    if header + 16 > len(block):
        return
    first, used = struct.unpack_from("<II", block, header)
    at, end = header + first, min(header + used, len(block))
    while at + 16 <= end:
        reference, length, key, flags = struct.unpack_from("<QHHH", block, at)
        if length < 16 or at + length > end:
            return
        below = struct.unpack_from("<Q", block, at + length - 8)[0] if flags & _SUBNODE and length >= 24 else None
        yield reference, b"" if flags & _LAST else block[at + 16 : at + 16 + key], below
        if flags & _LAST:
            return
        at += length


def _folded(name: str) -> str:
    """As NTFS compares names: letter by letter."""
    return "".join(letter.upper() if len(letter.upper()) == 1 else letter for letter in name)
