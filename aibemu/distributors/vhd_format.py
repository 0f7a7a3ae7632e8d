"""The footer of a fixed VHD: what makes a raw disk one that Azure, Hyper-V and QEMU take. Bytes in, bytes out.

Source: Virtual Hard Disk Image Format Specification 1.0 (Microsoft); the creator application matters to QEMU
(block/vpc.c), which believes the CHS geometry instead of the size for some of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

SECTOR = 512
FOOTER_SIZE = 512
# Azure takes only VHDs whose disk is a whole number of MiB.
ALIGNMENT = 1024 * 1024
FIXED = 2

_LAYOUT = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427x")
_COOKIE = b"conectix"
_FEATURES = 2
_FORMAT_VERSION = 0x00010000
_NO_HEADER = 0xFFFFFFFFFFFFFFFF
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
# "win " is Hyper-V itself: every reader takes the size from current_size, not from the rounded geometry.
_CREATOR = b"win "
_CREATOR_VERSION = 0x000A0000
_CREATOR_HOST = b"Wi2k"
_CHECKSUM = slice(64, 68)
_MOST_SECTORS = 65535 * 16 * 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """The fields of a fixed VHD's footer that matter. size: of the disk, in bytes, without the footer."""

    size: int
    unique_id: UUID
    created: datetime


def build_footer(*, size: int, unique_id: UUID, created: datetime) -> bytes:
    """The 512 bytes to put after a disk of `size` bytes (a whole number of sectors; `ValueError` otherwise)."""
    if size <= 0 or size % SECTOR:
        raise ValueError(f"a disk of {size} bytes is not a whole number of sectors")
    cylinders, heads, sectors = geometry(size // SECTOR)
    stamp = max(0, int((created - _EPOCH).total_seconds())) & 0xFFFFFFFF
    fields = (
        _COOKIE, _FEATURES, _FORMAT_VERSION, _NO_HEADER, stamp, _CREATOR, _CREATOR_VERSION, _CREATOR_HOST, size, size,
        cylinders, heads, sectors, FIXED, 0, unique_id.bytes, 0,
    )  # fmt: skip
    footer = bytearray(_LAYOUT.pack(*fields))
    footer[_CHECKSUM] = struct.pack(">I", checksum(footer))
    return bytes(footer)


def read_footer(content: bytes) -> Footer | None:
    """The footer in the last 512 bytes of a file; None if it is not that of a fixed VHD, or its checksum is wrong."""
    if len(content) != FOOTER_SIZE or not content.startswith(_COOKIE):
        return None
    fields = _LAYOUT.unpack(content)
    if fields[13] != FIXED or fields[14] != checksum(content):
        return None
    created = datetime.fromtimestamp(_EPOCH.timestamp() + fields[4], UTC)
    return Footer(size=fields[9], unique_id=UUID(bytes=fields[15]), created=created)


def checksum(footer: bytes | bytearray) -> int:
    """The one's complement of the sum of all bytes, those of the checksum itself left out."""
    total = sum(footer) - sum(footer[_CHECKSUM])
    return ~total & 0xFFFFFFFF


def geometry(total_sectors: int) -> tuple[int, int, int]:
    """Cylinders, heads and sectors per track by the specification's appendix; never beyond the end of the disk."""
    total = min(total_sectors, _MOST_SECTORS)
    if total >= 65535 * 16 * 63:
        sectors, heads = 255, 16
        tracks = total // sectors
    else:
        sectors = 17
        tracks = total // sectors
        heads = max(4, (tracks + 1023) // 1024)
        if tracks >= heads * 1024 or heads > 16:
            sectors, heads = 31, 16
            tracks = total // sectors
        if tracks >= heads * 1024:
            sectors, heads = 63, 16
            tracks = total // sectors
    return tracks // heads, heads, sectors


def rounded_up(size: int) -> int:
    """`size` as a whole number of MiB."""
    return -(-size // ALIGNMENT) * ALIGNMENT
