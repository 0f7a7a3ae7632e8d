"""A registry hive, read from its file.

Only what is asked for is read, so a hive of a hundred megabytes costs some kilobytes. Names of keys and values are
compared without regard to case, as Windows does. `aibemu.disks.regf_changes` changes one.

Source: the registry's file format as documented by its independent readers (libhivex; "Windows registry file format
specification" of M. Suhanov). Tests compare with what libhivex reads and writes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from aibemu.disks import Unreadable
from aibemu.disks.folding import folded

SZ, EXPAND_SZ, DWORD, MULTI_SZ, QWORD = 1, 2, 4, 7, 11
TEXTS = (SZ, EXPAND_SZ)
BINS = 0x1000  # where the cells' offsets count from
NOWHERE = 0xFFFFFFFF
INLINE = 0x80000000
_ASCII_KEY, _ASCII_VALUE = 0x20, 1
LONGEST_PART = 16344  # of a value that is in several cells
# What no real hive has more of: bytes of a cell, keys below one or values of one, bytes of a value; and how many cells
# anybody has ever reason to look at.
_MOST_CELL, _MOST_ENTRIES, _MOST_VALUE, _MOST_CELLS = 1 << 20, 1 << 17, 16 << 20, 1_000_000
DEEPEST = 512

Value = str | int | bytes | list[str]


class HiveFile(Protocol):
    """Where a hive is."""

    @property
    def size(self) -> int: ...

    def read(self, at: int, length: int) -> bytes: ...

    def write(self, at: int, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """at: of its cell. Counts and places of its lists; a place is NOWHERE when there is none."""

    at: int
    name: str
    children: int
    child_list: int
    values: int
    value_list: int
    security: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredValue:
    at: int
    name: str
    kind: int
    length: int
    data: int


class Hive:
    """One hive. Paths of keys have `\\` between their names and begin below the root: `ControlSet001\\Services`."""

    def __init__(self, name: str, file: HiveFile) -> None:
        """name: for people. Raises `Unreadable` for a file that is no hive."""
        self.name = name
        self._file = file
        self._looked_at = 0
        self._below: dict[int, dict[str, int]] = {}  # of keys that were looked into: folded name -> place
        head = file.read(0, 512)
        if len(head) < 512 or not head.startswith(b"regf"):
            raise Unreadable(f"the registry hive {name} is damaged: " + (
                "it is empty" if not head.strip(b"\0") else "it does not begin as a hive"
            ))  # fmt: skip
        checksum = 0
        for (word,) in struct.iter_unpack("<I", head[:508]):
            checksum ^= word
        checksum = {0: 1, NOWHERE: NOWHERE - 1}.get(checksum, checksum)
        if checksum != struct.unpack_from("<I", head, 508)[0]:
            raise Unreadable(f"the registry hive {name} is damaged: its checksum is wrong")
        first, second = struct.unpack_from("<II", head, 4)
        self.dirty = first != second
        self._root, size = struct.unpack_from("<II", head, 36)
        self._end = BINS + size
        if self._end > file.size:
            raise Unreadable(
                f"the registry hive {name} is cut off: it has {file.size} bytes and says that it has {self._end}"
            )

    def keys(self, path: str) -> list[str] | None:
        """The names of the keys below a key, sorted; None if there is no such key."""
        key = self._find(path)
        return None if key is None else sorted((child.name for child in self._children(key)), key=str.lower)

    def exists(self, path: str) -> bool:
        """Whether there is a key at `path`."""
        return self._find(path) is not None

    def names(self, path: str) -> list[str] | None:
        """The names of a key's values, the default one's being ""; None if there is no such key."""
        key = self._find(path)
        return None if key is None else [value.name for value in self._values(key)]

    def value(self, path: str, name: str) -> Value | None:
        """A text (REG_SZ, REG_EXPAND_SZ), a number (REG_DWORD, REG_QWORD), texts (REG_MULTI_SZ) or else bytes; None if
        there is no such value."""
        key = self._find(path)
        found = None if key is None else self._value(key, name)
        return None if found is None else _decoded(found.kind, self._data(found))

    def text(self, path: str, name: str) -> str:
        """A value that is a text; "" for anything else."""
        value = self.value(path, name)
        return value if isinstance(value, str) else ""

    def number(self, path: str, name: str) -> int | None:
        """A value that is a number; None for anything else."""
        value = self.value(path, name)
        return value if isinstance(value, int) else None

    def control_sets(self) -> list[str]:
        """`ControlSet001`, ... in a SYSTEM hive."""
        return [name for name in self.keys("") or [] if name[:10].lower() == "controlset" and name[10:].isdigit()]

    def control_set(self) -> str:
        """The one of a SYSTEM hive that is in use: `CurrentControlSet` of a running Windows. Raises `Unreadable` when
        there is none: then no Windows boots from it."""
        current = f"ControlSet{self.number('Select', 'Current') or 0:03}"
        if not self.exists(current):
            raise self._damage("it does not say which of its control sets is in use (Select, Current)")
        return current

    def _find(self, path: str) -> Key | None:
        key = self._key(self._at(self._root))
        names = [name for name in path.split("\\") if name]
        if len(names) > DEEPEST:
            return None
        for name in names:
            if key.at not in self._below:
                self._below[key.at] = {folded(child.name): child.at for child in self._children(key)}
            at = self._below[key.at].get(folded(name))
            if at is None:
                return None
            key = self._key(at)
        return key

    def _children(self, key: Key) -> Iterator[Key]:
        if key.children:
            for at in self._listed(self._at(key.child_list), 0):
                yield self._key(at)

    def _listed(self, at: int, depth: int) -> Iterator[int]:
        """The cells of the keys that a list names, which may name lists instead."""
        cell = self._cell(at)
        for _, offset in self._entries(at, cell):
            if cell[:2] != b"ri":
                yield self._at(offset)
            elif depth == 0:
                yield from self._listed(self._at(offset), 1)
            else:
                raise self._damage("a list of its keys has no end")

    def _entries(self, at: int, cell: bytes) -> list[tuple[int, int]]:
        """(place in the file, offset) of each entry of a list of keys or lists."""
        kind = cell[:2]
        width = {b"lf": 8, b"lh": 8, b"li": 4, b"ri": 4}.get(kind)
        count = struct.unpack_from("<H", cell, 2)[0] if len(cell) >= 4 else 0
        if width is None or 4 + count * width > len(cell):
            raise self._damage("a list of its keys is not one")
        places = range(4, 4 + count * width, width)
        return [(at + 4 + place, struct.unpack_from("<I", cell, place)[0]) for place in places]

    def _key(self, at: int) -> Key:
        cell = self._cell(at)
        if cell[:2] != b"nk" or len(cell) < 76:
            raise self._damage("one of its keys is not one")
        flags = struct.unpack_from("<H", cell, 2)[0]
        children, _, child_list, _, values, value_list, security = struct.unpack_from("<7I", cell, 20)
        length = struct.unpack_from("<H", cell, 72)[0]
        name = _name(cell[76 : 76 + length], bool(flags & _ASCII_KEY))
        if max(children, values) > _MOST_ENTRIES:
            raise self._damage("one of its keys has too much in it")
        return Key(
            at=at, name=name, children=children, child_list=child_list, values=values, value_list=value_list,
            security=security,
        )  # fmt: skip

    def _values(self, key: Key) -> Iterator[StoredValue]:
        for at in self._value_cells(key):
            cell = self._cell(at)
            if cell[:2] != b"vk" or len(cell) < 20:
                raise self._damage("one of its values is not one")
            name_length, length, data, kind, flags = struct.unpack_from("<HIIIH", cell, 2)
            name = _name(cell[20 : 20 + name_length], bool(flags & _ASCII_VALUE))
            yield StoredValue(
                at=at, name=name, kind=kind, length=length, data=data if length & INLINE else self._at(data)
            )

    def _value_cells(self, key: Key) -> list[int]:
        if not key.values:
            return []
        cell = self._cell(self._at(key.value_list))
        if 4 * key.values > len(cell):
            raise self._damage("a list of its values is too short")
        return [self._at(offset) for offset in struct.unpack_from(f"<{key.values}I", cell)]

    def _value(self, key: Key, name: str) -> StoredValue | None:
        wanted = folded(name)
        return next((value for value in self._values(key) if folded(value.name) == wanted), None)

    def _data(self, value: StoredValue) -> bytes:
        if value.length & INLINE:
            return struct.pack("<I", value.data)[: min(value.length & ~INLINE, 4)]
        if not value.length:
            return b""
        if value.length > _MOST_VALUE:
            raise self._damage("one of its values is too large")
        cell = self._cell(value.data)
        if value.length > LONGEST_PART and cell[:2] == b"db":
            cell = b"".join(self._cell(at)[:LONGEST_PART] for at in self._part_cells(cell))
        return cell[: value.length]

    def _part_cells(self, cell: bytes) -> list[int]:
        count, offset = struct.unpack_from("<HI", cell, 2)
        listed = self._cell(self._at(offset))
        if 4 * count > len(listed) or count > _MOST_VALUE // LONGEST_PART + 1:
            raise self._damage("one of its values is in parts that are not there")
        return [self._at(part) for part in struct.unpack_from(f"<{count}I", listed)]

    def _cell(self, at: int) -> bytes:
        """What is in the cell at a place of the file, without its size."""
        self._looked_at += 1
        if self._looked_at > _MOST_CELLS:
            raise self._damage("looking into it does not end")
        size = -struct.unpack("<i", self._bytes(at, 4))[0]
        if not 8 <= size <= _MOST_CELL or at + size > self._end:
            raise self._damage("something in it leads nowhere")
        return self._bytes(at + 4, size - 4)

    def _at(self, offset: int) -> int:
        """The place in the file of a cell; one that cannot be is found out by `_bytes`."""
        return BINS + offset

    def _bytes(self, at: int, length: int) -> bytes:
        if at < BINS or at + length > self._end:
            raise self._damage("something in it leads beyond its end")
        data = self._file.read(at, length)
        if len(data) != length:
            raise self._damage("it is shorter than it says")
        return data

    def _damage(self, why: str) -> Unreadable:
        return Unreadable(f"the registry hive {self.name} is damaged: {why}")


def _name(data: bytes, one_byte: bool) -> str:
    return data.decode("latin-1") if one_byte else data.decode("utf-16-le", "replace")


def _decoded(kind: int, data: bytes) -> Value:
    if (kind == DWORD and len(data) == 4) or (kind == QWORD and len(data) == 8):
        return int.from_bytes(data, "little")
    if kind in TEXTS:
        return data.decode("utf-16-le", "replace").partition("\0")[0]
    if kind == MULTI_SZ:
        return [text for text in data.decode("utf-16-le", "replace").split("\0") if text]
    return data
