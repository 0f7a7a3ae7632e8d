"""Which boot loaders an EFI system partition holds, by reading its FAT: no mounts, no tools.

Source: Microsoft's FAT32 File System Specification 1.03. Only folders are read, with bounds for each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from aibemu.disks.partitions import Read

# What firmware starts that knows nothing of the disk: UEFI 3.5.1.1, for x86-64.
FALLBACK = "EFI/BOOT/BOOTX64.EFI"
_ENTRY, _LONG_NAME, _FOLDER, _LABEL = 32, 0x0F, 0x10, 0x08
_MOST_CLUSTERS = 64  # of one folder
_MOST_LOADERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fat:
    """Places in bytes from the partition's start. root: the first cluster of the root folder; 0 before FAT32, where it
    lies at `folder` and has `entries`."""

    read: Read
    table: int
    wide: bool
    folder: int
    entries: int
    data: int
    cluster: int
    root: int


def loaders(read: Read, start: int) -> tuple[str, ...] | None:
    """The files *.EFI below \\EFI, as paths with slashes in capital letters, as FAT has them in its short names.

    read(at, length) gives bytes of the disk, on which the partition begins at byte `start`. None where no FAT is read.
    """
    fat = _opened(lambda at, length: read(start + at, length))
    if fat is None:
        return None
    found: list[str] = []
    for efi, first in _folder(fat, fat.root):
        if efi == "EFI":
            for vendor, place in _folders(fat, first):
                found += [f"EFI/{vendor}/{name}" for name, _ in _folder(fat, place) if name.endswith(".EFI")]
    return tuple(sorted(found)[:_MOST_LOADERS])


def _folders(fat: _Fat, first: int) -> list[tuple[str, int]]:
    """Those that are folders; `first` may be none itself."""
    return [(name, place) for name, place in _folder(fat, first) if place] if first else []


def _opened(read: Read) -> _Fat | None:
    head = read(0, 512)
    if len(head) < 512 or head[510:512] != b"\x55\xaa":
        return None
    sector, per_cluster, reserved, tables, entries, small, _, size16 = struct.unpack_from("<HBHBHHBH", head, 11)
    large, size32 = struct.unpack_from("<II", head, 32)
    if sector not in (512, 1024, 2048, 4096) or not per_cluster or not tables:
        return None
    size = size16 or size32
    folder = (reserved + tables * size) * sector
    data = folder + -(-entries * _ENTRY // sector) * sector
    clusters = ((small or large) * sector - data) // (per_cluster * sector)
    wide = clusters >= 65525
    if not size or clusters <= 0:
        return None
    # FAT12, of partitions below 16 MiB: the folders of so few clusters are read as if each had one cluster.
    table = reserved * sector if clusters >= 4085 else 0
    return _Fat(
        read=read, table=table, wide=wide, folder=folder, entries=entries, data=data, cluster=per_cluster * sector,
        root=int(struct.unpack_from("<I", head, 44)[0]) if wide else 0,
    )  # fmt: skip


def _folder(fat: _Fat, first: int) -> Iterator[tuple[str, int]]:
    """(short name, first cluster) of what is in a folder; the cluster is 0 for what is no folder."""
    for block in _blocks(fat, first):
        for at in range(0, len(block) - _ENTRY + 1, _ENTRY):
            entry = block[at : at + _ENTRY]
            if entry[0] == 0:
                return
            kind = entry[11]
            if entry[0] == 0xE5 or entry[0] == 0x2E or kind & _LABEL or kind == _LONG_NAME:
                continue
            base, extension = (part.decode("ascii", "replace").rstrip() for part in (entry[:8], entry[8:11]))
            high, low = struct.unpack_from("<H", entry, 20)[0], struct.unpack_from("<H", entry, 26)[0]
            yield f"{base}.{extension}" if extension else base, (high << 16 | low) if kind & _FOLDER else 0


def _blocks(fat: _Fat, first: int) -> Iterator[bytes]:
    if not first:
        yield fat.read(fat.folder, min(fat.entries, 4096) * _ENTRY)
        return
    cluster, seen = first, set[int]()
    while 2 <= cluster < (0x0FFFFFF8 if fat.wide else 0xFFF8) and cluster not in seen and len(seen) < _MOST_CLUSTERS:
        seen.add(cluster)
        yield fat.read(fat.data + (cluster - 2) * fat.cluster, fat.cluster)
        if not fat.table:
            return
        width = 4 if fat.wide else 2
        word = fat.read(fat.table + cluster * width, width)
        cluster = int.from_bytes(word, "little") & 0x0FFFFFFF if len(word) == width else 0
