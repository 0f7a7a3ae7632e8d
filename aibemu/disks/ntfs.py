"""Files of an NTFS volume, read from its bytes: no mount, no driver, no root.

Files can be changed in place where their size stays: then nothing else of the volume changes, neither its index nor its
journal. Compressed and encrypted files are not read.

Source: the layout as the Linux kernel describes it (fs/ntfs/layout.h, fs/ntfs3/ntfs.h). Tests compare with files that
ntfs-3g wrote.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

from aibemu.disks import Unreadable
from aibemu.disks.folding import folded
from aibemu.disks.ntfs_journal import is_closed
from aibemu.disks.ntfs_parts import (
    STRIDE,
    Attribute,
    Extents,
    Place,
    attributes,
    damaged,
    index_entries,
    kept_at,
    protected,
    runs,
)

Read = Callable[[int, int], bytes]

_NAME = b"NTFS    "
_MFT, _JOURNAL, _VOLUME, _ROOT = 0, 2, 3, 5  # records that are always at these places
_FIRST_OF_USERS = 16  # those before it are NTFS's own: $MFT, $LogFile ...
_LIST, _VOLUME_FLAGS, _DATA, _INDEX_ROOT, _INDEX, _REPARSE = 0x20, 0x70, 0x80, 0x90, 0xA0, 0xC0
_FOLDER_INDEX = "$I30"
_COMPRESSED, _ENCRYPTED = 0x00FF, 0x4000
_DOS_NAME = 2
_IN_USE, _IS_FOLDER = 1, 2
_DIRTY = 1
# Bytes of a cluster, a record, a block of an index. Windows makes records of 1 or 4 KiB, and blocks of 4 KiB.
_LARGEST_CLUSTER, _LARGEST_RECORD, _LARGEST_BLOCK = 2 << 20, 4096, 64 << 10
# What no real volume needs more of: extents of one file, attributes of one, bytes of one folder's index.
_MOST_RUNS, _MOST_PARTS, _MOST_INDEX = 500_000, 20_000, 64 << 20
_MOST_LIST = 256 << 10  # bytes of a list of attributes, which is NTFS's own limit
# `hiberfil.sys` begins with one of these while the memory of a Windows that is asleep is in it; with one of the others
# once somebody began to wake it up.
_ASLEEP, _WAKING = (b"hibr", b"HIBR"), (b"wake", b"WAKE")


class NtfsFile:
    """One file: `size` in bytes, and what is in it."""

    def __init__(self, read: Read, path: str, size: int, initialized: int, places: Extents) -> None:
        """initialized: bytes of it that were ever written; those after them are zeros, whatever is on the disk."""
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
        known = min(end, max(at, self._initialized))
        found = b"".join(
            bytes(place.length) if place.at is None else self._whole(place) for place in self.places(at, known - at)
        )
        return found + bytes(end - known)

    def places(self, at: int, length: int) -> list[Place]:
        """Where on the disk these bytes of the file are. Raises `Unreadable` for what is nowhere of its own."""
        if length and at + length > self._initialized:
            raise Unreadable(f"{self.path} has no place of its own on the disk for what was never written")
        found = list(self._places.between(at, at + length))
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
        most = (_LARGEST_CLUSTER, _LARGEST_RECORD, _LARGEST_BLOCK)
        if any(size < STRIDE or size & (size - 1) or size > limit for size, limit in zip(sizes, most, strict=True)):
            raise damaged("its first sector makes no sense")
        self._clusters = struct.unpack("<Q", boot[0x28:0x30])[0] * sector // self._cluster
        self._folders: dict[int, dict[str, tuple[str, int]]] = {}
        self._known: dict[int, list[Attribute]] = {}
        self._table: NtfsFile | None = None
        self._table = self._find_table(struct.unpack("<Q", boot[0x30:0x38])[0])

    @property
    def dirty(self) -> bool:
        """Windows did not close the volume: it was not shut down, or something is wrong with the volume."""
        return self._is_marked or not self._is_closed

    @property
    def asleep(self) -> bool:
        """Windows is hibernated, as its fast startup does at each shutdown: its memory knows better than the disk."""
        found = self.file("hiberfil.sys")
        begin = b"" if found is None else found.read(0, 4)
        # After it woke up it may have been shut down for good, which closes the journal.
        return begin in _ASLEEP or (begin in _WAKING and not self._is_closed)

    @property
    def _is_marked(self) -> bool:
        """Whether chkdsk is to look at it."""
        found = self._attribute(_VOLUME, _VOLUME_FLAGS, "")
        return found is None or found.value is None or len(found.value) < 12 or bool(found.value[10] & _DIRTY)

    @property
    def _is_closed(self) -> bool:
        journal = self._data(_JOURNAL, _DATA, "", "$LogFile")
        return journal is not None and is_closed(journal.read)

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
                found = self._entries(number).get(folded(name)) if self._is_folder(number) else None
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
        first = protected(self._disk(self._start + cluster * self._cluster, self._record_size), b"FILE")
        parts = list(attributes(first))
        found = next((part for part in parts if part.kind == _DATA and not part.name), None)
        if found is None or found.value is not None or found.first:
            raise damaged("it has no table of its files")
        extents = Extents()
        self._add(extents, found, "$MFT")
        table = self._table = NtfsFile(self._disk, "$MFT", found.size, found.initialized, extents)
        # A table in many pieces names the rest of them, in their order, in records that the pieces before hold.
        rest = {number: None for kind, number in self._listed(parts) if kind == _DATA and number != _MFT}
        for number in rest:
            for part in attributes(self._record(number)):
                if part.kind == _DATA and not part.name:
                    self._add(extents, part, "$MFT")
        return table

    def _record(self, number: int) -> bytes:
        assert self._table is not None
        record = protected(self._table.read(number * self._record_size, self._record_size), b"FILE")
        if not struct.unpack_from("<H", record, 0x16)[0] & _IN_USE:
            raise damaged("a record of its files is in use, and says that it is not")
        return record

    def _parts(self, number: int) -> list[Attribute]:
        """All attributes of a file, those in other records too."""
        if number not in self._known:
            found = list(attributes(self._record(number), number))
            for record in sorted({other for _, other in self._listed(found) if other != number}):
                found += attributes(self._record(record), record)
                if len(found) > _MOST_PARTS:
                    raise damaged("a file of it has too many parts")
            self._known[number] = found
        return self._known[number]

    def _listed(self, parts: list[Attribute]) -> Iterator[tuple[int, int]]:
        """(kind, record) of each attribute that the list of attributes of a record names."""
        found = next((part for part in parts if part.kind == _LIST), None)
        if found is None:
            return
        data = found.value
        if data is None:
            if found.size > _MOST_LIST:
                raise damaged("a file of it has too many parts")
            data = self._as_file([found], "a list of attributes").read(0, found.size)
        at = 0
        while at + 0x1A <= len(data):
            kind, length = struct.unpack_from("<IH", data, at)
            if length < 0x1A:
                raise damaged("the list of the parts of a file makes no sense")
            yield kind, struct.unpack_from("<Q", data, at + 0x10)[0] & (1 << 48) - 1
            at += length

    def _attribute(self, number: int, kind: int, name: str) -> Attribute | None:
        return next((part for part in self._parts(number) if part.kind == kind and part.name == name), None)

    def _data(self, number: int, kind: int, name: str, path: str) -> NtfsFile | None:
        """What is in an attribute of a file, from all records that have parts of it."""
        parts = [part for part in self._parts(number) if part.kind == kind and part.name == name]
        if not parts:
            return None
        value = parts[0].value
        # What is small enough to be in the record is not compressed, though it says so in a compressed folder.
        if any(part.flags & (_ENCRYPTED if part.value is not None else _COMPRESSED | _ENCRYPTED) for part in parts):
            raise Unreadable(f"{path} is compressed or encrypted")
        if value is not None:
            return NtfsFile(self._disk, path, len(value), len(value), self._in_record(parts[0], len(value)))
        return self._as_file(sorted(parts, key=lambda part: part.first), path)

    def _in_record(self, part: Attribute, length: int) -> Extents:
        """Where on the disk a value is that is in a record itself."""
        assert self._table is not None
        extents = Extents()
        for begin, count in kept_at(self._record(part.record), part.at, length):
            for place in self._table.places(part.record * self._record_size + begin, count):
                extents.add(place.at, place.length)
        return extents

    def _as_file(self, parts: Sequence[Attribute], path: str) -> NtfsFile:
        extents = Extents()
        for part in parts:
            self._add(extents, part, path)
        return NtfsFile(self._disk, path, parts[0].size, parts[0].initialized, extents)

    def _add(self, extents: Extents, part: Attribute, path: str) -> None:
        """`Unreadable` unless the part goes on where the ones before it ended: else all after it would be elsewhere."""
        if part.value is not None or part.first * self._cluster != extents.end:
            raise Unreadable(f"{path} is damaged: parts of it are missing on the disk")
        for cluster, count in runs(part, self._clusters):
            extents.add(None if cluster is None else self._start + cluster * self._cluster, count * self._cluster)
            if len(extents) > _MOST_RUNS:
                raise Unreadable(f"{path} is damaged: it is in too many pieces")

    def _entries(self, number: int) -> dict[str, tuple[str, int]]:
        """Of a folder: folded name -> (name, record). A short name that only DOS uses has "" for its name."""
        if number not in self._folders:
            found = {}
            for reference, key in self._index(number):
                if len(key) < 0x42 or len(key) < 0x42 + 2 * key[0x40]:
                    raise damaged("a name in a folder does not fit in its index")
                name = key[0x42 : 0x42 + 2 * key[0x40]].decode("utf-16-le", "replace")
                found[folded(name)] = ("" if key[0x41] == _DOS_NAME else name, reference & (1 << 48) - 1)
            self._folders[number] = found
        return self._folders[number]

    def _index(self, number: int) -> Iterator[tuple[int, bytes]]:
        """(reference, key) of all entries of a folder's index: a tree, whose root is in the folder's own record."""
        root = self._attribute(number, _INDEX_ROOT, _FOLDER_INDEX)
        if root is None or root.value is None:
            raise damaged("a folder of it has no index")
        blocks: NtfsFile | None = None
        waiting: list[int] = []
        seen: set[int] = set()
        entries = index_entries(root.value, 0x10)
        while True:
            for reference, key, below in entries:
                if key:
                    yield reference, key
                if below is not None and below not in seen:
                    seen.add(below)
                    waiting.append(below)
            if not waiting:
                return
            if len(seen) * self._index_size > _MOST_INDEX:
                raise damaged("a folder of it has no end")
            blocks = blocks or self._data(number, _INDEX, _FOLDER_INDEX, "a folder")
            if blocks is None:
                raise damaged("a folder of it has a part of its index only")
            entries = index_entries(self._block(blocks, waiting.pop()), 0x18)

    def _block(self, blocks: NtfsFile, number: int) -> bytes:
        """One of the blocks of an index. Its number is in clusters, or in 512 bytes where a cluster is larger."""
        unit = self._cluster if self._index_size >= self._cluster else STRIDE
        block = protected(blocks.read(number * unit, self._index_size), b"INDX")
        if struct.unpack_from("<Q", block, 0x10)[0] != number:
            raise damaged("a part of the index of a folder is another one's")
        return block
