"""What the records of an NTFS volume are made of, from their bytes: attributes, entries of an index, extents.

Bytes that no NTFS driver writes are damage, and told as that (`Unreadable`): to go on with the part of them that makes
sense would give a wrong answer, or let somebody write to a wrong place.

Source: see `aibemu.disks.ntfs`.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from aibemu.disks import Unreadable

# Update sequences protect pieces of this size, whatever the sectors of the disk have.
STRIDE = 512
_END = 0xFFFFFFFF
_SUBNODE, _LAST = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """kind, name: of the attribute. value: what is in the record itself, None if it is in extents of its own.

    record, at: number of the record, and where in it `value` begins. runs: bytes of the mapping pairs. first, last:
    clusters of the attribute that these are of, last -1 when there are none. size, initialized: in bytes, of the whole
    attribute; 0 unless first is 0.
    """

    kind: int
    name: str
    flags: int
    value: bytes | None
    record: int = 0
    at: int = 0
    runs: bytes = b""
    first: int = 0
    last: int = 0
    size: int = 0
    initialized: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`length` bytes are on the disk from byte `at` on; at None: they are zeros, and nowhere."""

    at: int | None
    length: int


class Extents:
    """Where the bytes of a file are, in their order."""

    def __init__(self) -> None:
        self.end = 0
        self._begins: list[int] = []
        self._places: list[int | None] = []

    def __len__(self) -> int:
        return len(self._begins)

    def add(self, at: int | None, length: int) -> None:
        """The next `length` bytes of the file are on the disk from `at` on."""
        self._begins.append(self.end)
        self._places.append(at)
        self.end += length

    def between(self, first: int, last: int) -> Iterator[Place]:
        """Where the bytes from `first` to before `last` are, as far as there are any."""
        number = bisect_right(self._begins, first) - 1
        last = min(last, self.end)
        while first < last:
            begin, at = self._begins[number], self._places[number]
            end = self._begins[number + 1] if number + 1 < len(self._begins) else self.end
            stop = min(last, end)
            if stop > first:
                yield Place(at=None if at is None else at + first - begin, length=stop - first)
            first, number = max(first, stop), number + 1


def damaged(why: str) -> Unreadable:
    """The error for damage of the volume itself."""
    return Unreadable(f"the NTFS volume is damaged: {why}")


def protected(block: bytes, *magics: bytes) -> bytes:
    """A record with the ends of its sectors put back; `Unreadable` when it was only written in part."""
    if len(block) < STRIDE or not block.startswith(magics):
        raise damaged("a record of its files is not one")
    at, count = struct.unpack_from("<HH", block, 4)
    if count != len(block) // STRIDE + 1 or at + 2 * count > STRIDE:
        raise damaged("a record of its files has no update sequence")
    mended = bytearray(block)
    for number in range(1, count):
        end = number * STRIDE - 2
        if mended[end : end + 2] != block[at : at + 2]:
            raise damaged("a record of its files was written in part")
        mended[end : end + 2] = block[at + 2 * number : at + 2 * number + 2]
    return bytes(mended)


def kept_at(record: bytes, at: int, length: int) -> Iterator[tuple[int, int]]:
    """(place, bytes) of where a record on the disk has these of its bytes. The last two of each piece of it are in its
    update sequence, behind the number that the sequence begins with."""
    sequence = struct.unpack_from("<H", record, 4)[0]
    end = at + length
    while at < end:
        piece = at // STRIDE
        last = (piece + 1) * STRIDE - 2
        begin, stop = (at, last) if at < last else (sequence + 2 * (piece + 1) + at - last, last + 2)
        count = min(end, stop) - at
        yield begin, count
        at += count


def attributes(record: bytes, number: int = 0) -> Iterator[Attribute]:
    """All attributes in one record, the one of that number."""
    at = struct.unpack_from("<H", record, 0x14)[0]
    while True:
        kind = struct.unpack_from("<I", record, at)[0] if at + 4 <= len(record) else None
        if kind == _END:
            return
        if kind is None or at + 0x18 > len(record):
            raise damaged("a record of its files has no end")
        length = struct.unpack_from("<I", record, at + 4)[0]
        if not 0x18 <= length <= len(record) - at:
            raise damaged("a part of a record of its files does not fit in it")
        yield _attribute(record[at : at + length], number, at)
        at += length


def _attribute(part: bytes, record: int, at: int) -> Attribute:
    kind, _, apart, name_length, name_at, flags = struct.unpack_from("<IIBBHH", part)
    if name_length and name_at + 2 * name_length > len(part):
        raise damaged("the name of a part of a record does not fit in it")
    name = part[name_at : name_at + 2 * name_length].decode("utf-16-le", "replace")
    if not apart:
        size, value_at = struct.unpack_from("<IH", part, 0x10)
        if value_at + size > len(part):
            raise damaged("what is in a record of its files does not fit in it")
        value = part[value_at : value_at + size]
        return Attribute(kind=kind, name=name, flags=flags, value=value, record=record, at=at + value_at)
    if len(part) < 0x40:
        raise damaged("a part of a record of its files is too short")
    first, last, runs_at = struct.unpack_from("<QqH", part, 0x10)
    # Only the part that begins with cluster 0 has sizes.
    size, initialized = struct.unpack_from("<QQ", part, 0x30) if first == 0 else (0, 0)
    return Attribute(
        kind=kind, name=name, flags=flags, value=None, runs=part[runs_at:], first=first, last=last, size=size,
        initialized=min(initialized, size),
    )  # fmt: skip


def runs(part: Attribute, clusters: int) -> Iterator[tuple[int | None, int]]:
    """Mapping pairs: (first cluster, how many) of each extent, None for a hole. clusters: all that the volume has."""
    data, at, cluster, done = part.runs, 0, 0, part.first
    while at < len(data) and data[at]:
        count, far = data[at] & 15, data[at] >> 4
        middle, end = at + 1 + count, at + 1 + count + far
        length = int.from_bytes(data[at + 1 : middle], "little")
        cluster += int.from_bytes(data[middle:end], "little", signed=True)
        if not 1 <= count <= 8 or far > 8 or end > len(data) or not length:
            raise damaged("where a file lies is written in a way that nobody writes it")
        if far and not 0 <= cluster <= clusters - length:
            raise damaged("a file of it lies beyond its end")
        yield cluster if far else None, length
        at, done = end, done + length
    if part.last > 0 and done != part.last + 1:
        raise damaged("where a file lies is missing in part")


def index_entries(block: bytes, header: int) -> Iterator[tuple[int, bytes, int | None]]:
    """(reference, key, the block below it) of each entry after the index header at `header`; the last has no key."""
    if header + 16 > len(block):
        raise damaged("the index of a folder is too short")
    first, used = struct.unpack_from("<II", block, header)
    at, end = header + first, min(header + used, len(block))
    while at + 16 <= end:
        reference, length, key, flags = struct.unpack_from("<QHHH", block, at)
        if not 16 + key <= length <= end - at:
            raise damaged("an entry of a folder does not fit in its index")
        below = struct.unpack_from("<Q", block, at + length - 8)[0] if flags & _SUBNODE and length >= 24 else None
        yield reference, b"" if flags & _LAST else block[at + 16 : at + 16 + key], below
        if flags & _LAST:
            return
        at += length
    raise damaged("the index of a folder has no end")
