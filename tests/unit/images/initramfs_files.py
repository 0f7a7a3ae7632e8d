"""An initramfs as its makers write it: cpio archives by hand, packed by the libraries that pack."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import sys
from collections.abc import Callable, Iterable, Mapping

import lz4.block

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def cpio(names: Iterable[str], content: bytes = b"x") -> bytes:
    """An archive ("newc") of files with these names, each with the same content."""
    found = b""
    for name in [*names, "TRAILER!!!"]:
        data = b"" if name == "TRAILER!!!" else content
        raw = name.encode() + b"\0"
        fields = (1, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        found += head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
    return found


def lz4_legacy(data: bytes) -> bytes:
    """As `lz4 -l` writes it."""
    packed = b"\x02\x21\x4c\x18"
    for at in range(0, len(data), 8 << 20):
        block = lz4.block.compress(data[at : at + (8 << 20)], store_size=False)
        packed += struct.pack("<I", len(block)) + block
    return packed


PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "as it is": bytes, "gzip": gzip.compress, "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE), "bzip2": bz2.compress, "zstd": zstd.compress,
    "lz4": lz4_legacy,
}  # fmt: skip


def modules(kernel: str, *names: str) -> list[str]:
    """Where an initramfs has modules."""
    return [f"usr/lib/modules/{kernel}/kernel/drivers/{name}.ko.xz" for name in names]


def filtered(archive: bytes, wanted: Callable[[str], bool]) -> bytes:
    """One archive without the files whose names are not wanted."""
    found, at = b"", 0
    while True:
        size, length = (int(archive[at + place : at + place + 8], 16) for place in (54, 94))
        name = archive[at + 110 : at + 110 + length - 1].decode()
        data = at + 110 + length + -(110 + length) % 4
        after = data + size + -size % 4
        if name == "TRAILER!!!":
            return found + archive[at:after]
        found += archive[at:after] if wanted(name) else b""
        at = after


def unpacked(data: bytes) -> bytes:
    """An archive that zstd has packed, or that is not packed."""
    return zstd.decompress(data) if data.startswith(b"\x28\xb5\x2f\xfd") else data
