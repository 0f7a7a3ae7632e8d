"""The volumes of a disk, which are partitions and logical volumes: where their bytes are, and by which names a system
knows them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from aibemu.disks import Unreadable
from aibemu.disks.lvm import LogicalVolume, PhysicalVolume, logical_volumes, physical_volume
from aibemu.disks.nodes import Read
from aibemu.disks.partitions import (
    BTRFS,
    EXT,
    FAT,
    LUKS,
    LVM,
    SWAP,
    XFS,
    Partition,
    file_system_at,
    table_of,
)  # fmt: skip

# A partition of any disk: /dev/sda3, /dev/nvme0n1p3, /dev/disk/azure/root-part3, /dev/disk/by-path/...-part3.
_PARTITION = re.compile(r"^/dev/(?:(?:[shv]d[a-z]+|xvd[a-z]+|disk/\S+-part)|(?:nvme\d+n|mmcblk)\d+p)(\d+)$")
# Where a file system has its id and its label: (at, length).
_IDS = {EXT: (0x468, 16), XFS: (32, 16), BTRFS: (0x10020, 16), SWAP: (1036, 16)}
_LABELS = {EXT: (0x478, 16), XFS: (108, 12), BTRFS: (0x1012B, 256), SWAP: (1052, 16)}
# FAT32 and the others: its number and its label.
_FAT = ((82, b"FAT32", 67, 71), (54, b"FAT1", 39, 43))
# Where ext has the number of its blocks, and how large they are; btrfs, what it takes of this device.
_EXT_BLOCKS, _EXT_BLOCK_SIZE, _EXT_FEATURES, _EXT_64BIT = (0x404, 0x550), 0x418, 0x460, 0x80
_EXT_RECOVER = 0x4
_BTRFS_SIZE = 0x100D1
_OTHER = "of a kind that is not known here"
# What holds no files of a system.
_NO_FILES = frozenset({SWAP})


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """title: for people. kind: of its file system, as `partitions` names them, None when it is not known.

    pieces: (start, size) in bytes of the disk, in the volume's order. names: as in /etc/fstab, in upper case: UUID=...,
    LABEL=..., PARTUUID=..., paths. partition: None for a logical volume. problem: why its files cannot be had.
    """

    title: str
    kind: str | None
    pieces: tuple[tuple[int, int], ...]
    names: frozenset[str]
    partition: Partition | None = None
    problem: str = ""
    # Where its bytes are looked up; kept out of comparisons and of what is shown.
    source: Read = field(repr=False, compare=False)

    @property
    def size(self) -> int:
        return sum(size for _, size in self.pieces)

    @property
    def is_system(self) -> bool:
        """Files of a system may be on it."""
        return self.kind not in _NO_FILES and not (self.partition and self.partition.bios)

    @property
    def in_words(self) -> str:
        """Its file system and what that is on: `ext4`, `xfs on LVM`."""
        kind = "ext4" if self.kind == EXT else self.kind or ""
        return kind if self.partition else f"{kind} on LVM"

    @property
    def has_open_journal(self) -> bool:
        """An ext file system whose last changes are only in its journal. Of the others their readers know it."""
        return self.kind == EXT and bool(int.from_bytes(self.read(_EXT_FEATURES, 4), "little") & _EXT_RECOVER)

    @property
    def used(self) -> int:
        """Bytes of it that its file system takes; all of them where that does not say it."""
        try:
            if self.kind == EXT:
                low, high = (int.from_bytes(self.read(at, 4), "little") for at in _EXT_BLOCKS)
                wide = int.from_bytes(self.read(_EXT_FEATURES, 4), "little") & _EXT_64BIT
                return ((high << 32 if wide else 0) | low) << 10 + int.from_bytes(
                    self.read(_EXT_BLOCK_SIZE, 1), "little"
                )
            if self.kind == XFS:
                size, blocks = struct.unpack(">IQ", self.read(4, 12))
                return int(size * blocks)
            if self.kind == BTRFS:
                return int.from_bytes(self.read(_BTRFS_SIZE, 8), "little")
        except struct.error:
            pass
        return self.size

    def read(self, at: int, length: int) -> bytes:
        """`length` bytes from byte `at` of the volume on; fewer at its end."""
        found = []
        for start, size in self.pieces:
            if 0 <= at < size and length > 0:
                found.append(self.source(start + at, min(length, size - at)))
                length -= min(length, size - at)
                at = size
            at -= size
        return b"".join(found)

    def is_called(self, name: str) -> bool:
        """By what /etc/fstab says in its first column."""
        return name.upper() in self.names or (
            self.partition is not None and (found := _PARTITION.match(name)) is not None
            and int(found[1]) == self.partition.number
        )  # fmt: skip


def volumes(read: Read, size: int) -> list[Volume]:
    """All volumes of a disk of `size` bytes; `read(at, length)` gives bytes of it. Physical volumes of LVM, which only
    hold others, are not among them, unless what they hold is not known."""
    found: list[Volume] = []
    physical: dict[str, tuple[Partition, PhysicalVolume]] = {}
    for part in table_of(read, size).candidates:
        kind = file_system_at(read, part.start)
        volume = _partition(read, part, kind)
        if kind != LVM:
            found.append(volume)
            continue
        try:
            held = physical_volume(volume.read)
        except Unreadable as error:
            found.append(_with(volume, error.message))
            continue
        physical[held.uuid] = part, held
        if not held.text:
            found.append(_with(volume, "its LVM describes no volumes here: they are on other disks too"))
    return [*found, *_logical(read, physical)]


def _partition(read: Read, part: Partition, kind: str | None) -> Volume:
    title = f"partition {part.number}" if part.number else "the disk"
    names = {f"PARTUUID={part.uuid}"} if part.uuid else set[str]()
    names |= {f"PARTLABEL={part.label}"} if part.label else set()

    def inside(at: int, length: int) -> bytes:
        return read(part.start + at, length)

    return Volume(
        title=title, kind=kind, pieces=((part.start, part.size),), names=_named(names, inside, kind), partition=part,
        problem=_unknown(kind), source=read,
    )  # fmt: skip


def _logical(read: Read, physical: dict[str, tuple[Partition, PhysicalVolume]]) -> list[Volume]:
    texts = dict.fromkeys(held.text for _, held in physical.values() if held.text)
    found: list[Volume] = []
    for text in texts:
        try:
            known = logical_volumes(text)
        except Unreadable as error:
            part = next(part for part, held in physical.values() if held.text == text)
            found.append(_with(_partition(read, part, LVM), error.message))
            continue
        found += [_logical_volume(read, one, physical) for one in known if not one.hidden]
    return found


def _logical_volume(read: Read, about: LogicalVolume, physical: dict[str, tuple[Partition, PhysicalVolume]]) -> Volume:
    title, problem = f"logical volume {about.group}/{about.name}", about.problem
    pieces: list[tuple[int, int]] = []
    for piece in about.pieces:
        if piece.uuid not in physical:
            problem = "parts of it are on another disk"
            break
        part, _ = physical[piece.uuid]
        pieces.append((part.start + piece.start, piece.size))
    names = {f"/dev/mapper/{about.mapped}", f"/dev/{about.group}/{about.name}"}
    empty = Volume(title=title, kind=None, pieces=tuple(pieces), names=frozenset(), source=read)
    kind = None if problem else file_system_at(empty.read, 0)
    return Volume(
        title=title, kind=kind, pieces=empty.pieces, names=_named(names, empty.read, kind),
        problem=problem or _unknown(kind), source=read,
    )  # fmt: skip


def _with(volume: Volume, problem: str) -> Volume:
    return Volume(
        title=volume.title, kind=volume.kind, pieces=volume.pieces, names=volume.names, partition=volume.partition,
        problem=problem, source=volume.source,
    )  # fmt: skip


def _unknown(kind: str | None) -> str:
    if kind == LUKS:
        return "it is encrypted (LUKS)"
    return "" if kind in (EXT, XFS, BTRFS, FAT, SWAP, LVM) else f"its file system is {kind or _OTHER}"


def _named(names: Iterable[str], read: Read, kind: str | None) -> frozenset[str]:
    return frozenset(name.upper() for name in (*names, *_own_names(read, kind)))


def _own_names(read: Read, kind: str | None) -> Sequence[str]:
    """UUID= and LABEL= of the file system."""
    if kind == FAT:
        for at, magic, number, label in _FAT:
            if read(at, len(magic)) == magic:
                uuid = read(number, 4)[::-1].hex()
                return f"UUID={uuid[:4]}-{uuid[4:]}", f"LABEL={_text(read(label, 11)).rstrip()}"
    if kind not in _IDS:
        return ()
    uuid_bytes = read(*_IDS[kind])
    return (f"UUID={UUID(bytes=uuid_bytes)}" if len(uuid_bytes) == 16 else ""), f"LABEL={_text(read(*_LABELS[kind]))}"


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode(errors="replace")
