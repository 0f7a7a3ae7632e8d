"""The partition table of a raw disk, MBR or GPT, and the file system at an offset, from their bytes alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from aibemu.reading import open_file

Read = Callable[[int, int], bytes]

SECTOR = 512
EXT, XFS, BTRFS, NTFS, REFS, LVM, FAT = "ext", "xfs", "btrfs", "ntfs", "refs", "lvm", "fat"
SWAP, LUKS = "swap", "luks"
BITLOCKER = "bitlocker"  # an NTFS volume that it has encrypted
EFI_SYSTEM = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649")
LINUX_ROOT = UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")  # for x86-64, by the Discoverable Partitions Specification
_PROTECTIVE = 0xEE
_MBR_EFI = 0xEF
_MBR_DYNAMIC = 0x42
_EXTENDED = (0x05, 0x0F, 0x85)
# Kinds of partitions in which Windows keeps volumes of its own making: not all of them begin where a partition does.
_DYNAMIC = "it is a dynamic disk, of which only simple volumes are found: convert it to a basic disk where it was made"
_MANAGED = {
    UUID("5808c8aa-7e8f-42e0-85d2-e1e90434cfb3"): _DYNAMIC, UUID("af9b60a0-1431-4f62-bc68-3311714a69ad"): _DYNAMIC,
    UUID("e75caf8f-f680-4cee-afa3-b001e56efc2d"): "it is part of a storage pool (Storage Spaces), which is not read",
}  # fmt: skip
_MAX_ENTRIES = 256  # GPT has 128; more is damage
_MAX_LOGICAL = 128  # partitions inside of an extended one
_FIRST_LOGICAL = 5  # its number
_LARGE_SECTOR = 4096  # of disks that are called 4Kn
_GPT, _GPT_HEADER = b"EFI PART", 92

# (file system, offset of its magic, magic)
_MAGICS = (
    (XFS, 0, b"XFSB"),
    (NTFS, 3, b"NTFS    "),
    (BITLOCKER, 3, b"-FVE-FS-"),
    (REFS, 3, b"ReFS\0\0\0\0"),
    (EXT, 0x438, b"\x53\xef"),
    (BTRFS, 0x10040, b"_BHRfS_M"),
    (LVM, 512, b"LABELONE"),
    (LUKS, 0, b"LUKS\xba\xbe"),
    (SWAP, 4086, b"SWAPSPACE2"),
    (FAT, 82, b"FAT32"),
    (FAT, 54, b"FAT1"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Start and size in bytes; efi: an EFI system partition; bios: where GRUB keeps its core image on a GPT.

    number: as in /dev/sda3; 0 for a disk without a table. uuid, label: as in PARTUUID= and PARTLABEL=, "" without.
    kind: the type that a GPT gives it.
    """

    start: int
    size: int
    efi: bool = False
    bios: bool = False
    number: int = 0
    uuid: str = ""
    label: str = ""
    kind: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """kind: gpt, mbr, or none. troubles: what keeps somebody from finding or booting what is on it, in sentences."""

    kind: str
    partitions: tuple[Partition, ...]
    size: int
    troubles: tuple[str, ...] = ()

    @property
    def candidates(self) -> tuple[Partition, ...]:
        """Where a file system may be: the partitions, or the whole disk without a table."""
        return self.partitions or (Partition(start=0, size=self.size),)


def partitions(raw: Path) -> Table:
    """Parse the table of a raw disk. Damage yields fewer partitions, never an error."""
    with open_file(raw) as stream:
        return table_of(reader(stream), raw.stat().st_size)


def table_of(read: Read, size: int) -> Table:
    """The same for a disk of `size` bytes; `read(at, length)` gives bytes of it."""
    head = read(0, SECTOR)
    if size < 2 * SECTOR or head[510:512] != b"\x55\xaa":
        return Table(kind="none", partitions=(), size=size)
    entries = _mbr_entries(head)
    if any(kind == _PROTECTIVE for kind, _, _ in entries):
        for sector in (SECTOR, _LARGE_SECTOR):
            if header := _gpt_header(read, size, sector):
                return _gpt(read, size, sector, header)
    # A file system without a table may end its first sector with the same two bytes; its entries are then nonsense.
    signature = head[440:444][::-1].hex()
    found = list(_primary(entries, size, signature))
    for kind, start, _ in entries:
        if kind in _EXTENDED:
            found += _logical(read, size, start * SECTOR, signature)
    lost = any(kind == _PROTECTIVE for kind, _, _ in entries)
    troubles = ["its partition table (GPT) is damaged, and so is the copy at its end"] if lost else []
    troubles += [_DYNAMIC] if any(kind == _MBR_DYNAMIC for kind, _, _ in entries) else []
    return Table(
        kind="mbr" if found else "gpt" if lost else "none", partitions=tuple(found), size=size,
        troubles=tuple(troubles) if found or lost else (),
    )  # fmt: skip


def _mbr_entries(block: bytes) -> Sequence[tuple[int, int, int]]:
    """(kind, first sector, sectors) of each of the four."""
    return [struct.unpack_from("<4xB3xII", block, 446 + 16 * number) for number in range(4)]


def _primary(entries: Sequence[tuple[int, int, int]], size: int, signature: str) -> Iterator[Partition]:
    for number, (kind, start, count) in enumerate(entries, 1):
        if kind and kind not in (*_EXTENDED, _PROTECTIVE) and 0 < start * SECTOR < size:
            yield Partition(
                start=start * SECTOR, size=count * SECTOR, efi=kind == _MBR_EFI, number=number,
                uuid=f"{signature}-{number:02x}",
            )  # fmt: skip


def _logical(read: Read, size: int, first: int, signature: str) -> Iterator[Partition]:
    """Those inside of an extended partition: a chain of tables, each with one partition and the place of the next."""
    at, seen, number = first, set[int](), _FIRST_LOGICAL
    while 0 < at < size and at not in seen and len(seen) < _MAX_LOGICAL:
        seen.add(at)
        block = read(at, SECTOR)
        if block[510:512] != b"\x55\xaa":
            return
        (kind, start, count), (link, next_, _), *_ = _mbr_entries(block)
        if kind and kind not in _EXTENDED and start and at + start * SECTOR < size:
            yield Partition(
                start=at + start * SECTOR, size=count * SECTOR, number=number, uuid=f"{signature}-{number:02x}"
            )
            number += 1
        if link not in _EXTENDED:
            return
        at = first + next_ * SECTOR


def _gpt_header(read: Read, size: int, sector: int) -> bytes | None:
    """The header of a GPT, or its copy at the end of the disk where the first one, or what it lists, is damaged. When
    both are, that one which looks like one."""
    first = read(sector, _GPT_HEADER)
    copies = [first]
    if first.startswith(_GPT) and _is_whole(read, size, sector, first):
        return first
    named = len(first) == _GPT_HEADER and first.startswith(_GPT)
    last = struct.unpack_from("<Q", first, 32)[0] * sector if named else 0
    for at in (last, (size // sector - 1) * sector):
        if sector < at < size:
            copies.append(read(at, _GPT_HEADER))
    found = [copy for copy in copies if len(copy) == _GPT_HEADER and copy.startswith(_GPT)]
    return next((copy for copy in found if _is_whole(read, size, sector, copy)), found[0] if found else None)


def _is_whole(read: Read, size: int, sector: int, header: bytes) -> bool:
    """By its checksums."""
    if len(header) < _GPT_HEADER:
        return False
    length, own = struct.unpack_from("<II", header, 12)
    listed: int = struct.unpack_from("<I", header, 88)[0]
    if length != _GPT_HEADER or zlib.crc32(header[:16] + bytes(4) + header[20:]) != own:
        return False
    return zlib.crc32(_gpt_entries(read, size, sector, header)) == listed


def _gpt_entries(read: Read, size: int, sector: int, header: bytes) -> bytes:
    first, count, length = struct.unpack_from("<QII", header, 72)
    return read(min(first * sector, size), length * min(count, _MAX_ENTRIES)) if 128 <= length <= 4096 else b""


def _gpt(read: Read, size: int, sector: int, header: bytes) -> Table:
    found, troubles = [], []
    if sector != SECTOR:
        troubles.append(f"it was made for sectors of {sector} bytes, and disks have {SECTOR} here and in Azure: "
                        "it does not boot")  # fmt: skip
    data, length = _gpt_entries(read, size, sector, header), struct.unpack_from("<I", header, 84)[0]
    for at in range(0, len(data) - length + 1, length) if data else ():
        kind = UUID(bytes_le=data[at : at + 16])
        first, last = struct.unpack("<QQ", data[at + 32 : at + 48])
        if kind.int and first <= last and first * sector < size:
            found.append(
                Partition(
                    start=first * sector,
                    size=(last - first + 1) * sector,
                    efi=kind == EFI_SYSTEM,
                    bios=kind == BIOS_BOOT,
                    number=at // length + 1,
                    uuid=str(UUID(bytes_le=data[at + 16 : at + 32])),
                    label=data[at + 56 : at + 128].decode("utf-16-le", "replace").partition("\0")[0],
                    kind=kind,
                )
            )
            if kind in _MANAGED:
                troubles.append(_MANAGED[kind])
    return Table(kind="gpt", partitions=tuple(found), size=size, troubles=tuple(dict.fromkeys(troubles)))


def file_system(raw: Path, start: int) -> str | None:
    """Which file system (or LVM) begins at byte `start` of a raw disk; None if it is not a known one."""
    with open_file(raw) as stream:
        return file_system_at(reader(stream), start)


def file_system_at(read: Read, start: int) -> str | None:
    """The same; `read(at, length)` gives bytes of the disk."""
    return next((name for name, at, magic in _MAGICS if read(start + at, len(magic)) == magic), None)


def reader(stream: BinaryIO) -> Read:
    """Bytes of a file that is open, as the functions here ask for them."""

    def read(at: int, length: int) -> bytes:
        stream.seek(at)
        return stream.read(length)

    return read
