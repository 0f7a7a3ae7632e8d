"""The partition table of a raw disk, MBR or GPT, and the file system at an offset, from their bytes alone."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from aibemu.reading import open_file

Read = Callable[[int, int], bytes]

SECTOR = 512
EXT, XFS, BTRFS, NTFS, LVM, FAT = "ext", "xfs", "btrfs", "ntfs", "lvm", "fat"
BITLOCKER = "bitlocker"  # an NTFS volume that it has encrypted
EFI_SYSTEM = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649")
LINUX_ROOT = UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")  # for x86-64, by the Discoverable Partitions Specification
_PROTECTIVE = 0xEE
_MBR_EFI = 0xEF
_EXTENDED = (0x05, 0x0F, 0x85)
_MAX_ENTRIES = 256  # GPT has 128; more is damage

# (file system, offset of its magic, magic)
_MAGICS = (
    (XFS, 0, b"XFSB"),
    (NTFS, 3, b"NTFS    "),
    (BITLOCKER, 3, b"-FVE-FS-"),
    (EXT, 0x438, b"\x53\xef"),
    (BTRFS, 0x10040, b"_BHRfS_M"),
    (LVM, 512, b"LABELONE"),
    (FAT, 82, b"FAT32"),
    (FAT, 54, b"FAT1"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Start and size in bytes; efi: an EFI system partition; bios: where GRUB keeps its core image on a GPT."""

    start: int
    size: int
    efi: bool = False
    bios: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """kind: gpt, mbr, or none."""

    kind: str
    partitions: tuple[Partition, ...]
    size: int

    @property
    def candidates(self) -> tuple[Partition, ...]:
        """Where a file system may be: the partitions, or the whole disk without a table."""
        return self.partitions or (Partition(start=0, size=self.size),)


def partitions(raw: Path) -> Table:
    """Parse the table of a raw disk. Damage yields fewer partitions, never an error."""
    with open_file(raw) as stream:
        return table_of(_reader(stream), raw.stat().st_size)


def table_of(read: Read, size: int) -> Table:
    """The same for a disk of `size` bytes; `read(at, length)` gives bytes of it."""
    head = read(0, 2 * SECTOR)
    if len(head) < 2 * SECTOR or head[510:512] != b"\x55\xaa":
        return Table(kind="none", partitions=(), size=size)
    entries = [struct.unpack("<4xB3xII", head[446 + 16 * i : 462 + 16 * i]) for i in range(4)]
    if any(kind == _PROTECTIVE for kind, _, _ in entries) and head[512:520] == b"EFI PART":
        first, count, length = struct.unpack("<QII", head[512 + 72 : 512 + 88])
        if not 128 <= length <= 4096:
            return Table(kind="gpt", partitions=(), size=size)
        listed = read(min(first * SECTOR, size), length * min(count, _MAX_ENTRIES))
        return Table(kind="gpt", partitions=_gpt(listed, length, size), size=size)
    # A file system without a table may end its first sector with the same two bytes; its entries are then nonsense.
    found = tuple(
        Partition(start=start * SECTOR, size=count * SECTOR, efi=kind == _MBR_EFI)
        for kind, start, count in entries
        if kind and kind not in _EXTENDED and 0 < start * SECTOR < size
    )
    return Table(kind="mbr" if found else "none", partitions=found, size=size)


def _gpt(data: bytes, length: int, size: int) -> tuple[Partition, ...]:
    found = []
    for at in range(0, len(data) - length + 1, length):
        kind = UUID(bytes_le=data[at : at + 16])
        first, last = struct.unpack("<QQ", data[at + 32 : at + 48])
        if kind.int and first <= last and first * SECTOR < size:
            found.append(
                Partition(
                    start=first * SECTOR,
                    size=(last - first + 1) * SECTOR,
                    efi=kind == EFI_SYSTEM,
                    bios=kind == BIOS_BOOT,
                )
            )
    return tuple(found)


def file_system(raw: Path, start: int) -> str | None:
    """Which file system (or LVM) begins at byte `start` of a raw disk; None if it is not a known one."""
    with open_file(raw) as stream:
        return file_system_at(_reader(stream), start)


def file_system_at(read: Read, start: int) -> str | None:
    """The same; `read(at, length)` gives bytes of the disk."""
    return next((name for name, at, magic in _MAGICS if read(start + at, len(magic)) == magic), None)


def _reader(stream: BinaryIO) -> Read:
    def read(at: int, length: int) -> bytes:
        stream.seek(at)
        return stream.read(length)

    return read
