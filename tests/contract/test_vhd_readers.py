"""The VHD that aibemu writes, read by others: QEMU and dissect.hypervisor."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from aibemu.clock import forever
from aibemu.distributors.vhd import write_vhd
from aibemu.distributors.vhd_format import SECTOR, checksum, geometry

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed (qemu-utils)")

MIB = 1024 * 1024
ID = UUID("11111111-2222-3333-4444-555555555555")
# Sizes around what geometry alone would cut off.
SIZES = [MIB, 5 * MIB + 65536, 7 * MIB, 33 * MIB + 512]


def run(*words: str | Path) -> str:
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


def make(folder: Path, size: int) -> tuple[Path, Path, int, bytes]:
    """A qcow2 disk of `size` bytes and the VHD of it; the VHD's size and the disk's content."""
    content = bytearray(size)
    content[:4096] = bytes(range(256)) * 16
    content[size // 2 : size // 2 + 9999] = b"m" * 9999
    content[-512:] = b"e" * 512
    raw, disk, vhd = folder / "raw", folder / "disk.qcow2", folder / "disk.vhd"
    raw.write_bytes(content)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk)
    written = write_vhd(disk, vhd, unique_id=ID, created=datetime(2026, 11, 23, tzinfo=UTC), deadline=forever())
    return disk, vhd, written, bytes(content)


@pytest.mark.parametrize("size", SIZES)
def test_qemu_sees_the_whole_disk_and_the_same_bytes(tmp_path: Path, size: int) -> None:
    disk, vhd, written, _ = make(tmp_path, size)
    report = json.loads(run("qemu-img", "info", "--output=json", "-f", "vpc", vhd))
    assert (report["format"], report["virtual-size"]) == ("vpc", written)
    assert written % MIB == 0 and 0 <= written - size < MIB
    # Different sizes are fine for compare when what is over is zeros.
    run("qemu-img", "compare", "-f", "vpc", "-F", "qcow2", vhd, disk)


@pytest.mark.parametrize("size", SIZES)
def test_dissect_reads_the_same_bytes(tmp_path: Path, size: int) -> None:
    reader = pytest.importorskip("dissect.hypervisor.disk.vhd")
    _, vhd, written, content = make(tmp_path, size)
    with vhd.open("rb") as stream:
        disk = reader.VHD(stream)
        assert disk.size == written
        assert disk.read(written) == content + bytes(written - size)
        footer = reader.read_footer(stream)
    assert bytes(footer.cookie) == b"conectix" and footer.disk_type == 2
    assert UUID(bytes=bytes(footer.unique_id)) == ID


@pytest.mark.parametrize("mib", [1, 3, 100, 503, 504, 505, 1024, 30720, 130000])
def test_geometry_and_checksum_are_what_qemu_computes(tmp_path: Path, mib: int) -> None:
    """QEMU's own fixed VHD of about that size (sparse), without force_size so that it fills in a geometry."""
    theirs = tmp_path / "theirs.vhd"
    run("qemu-img", "create", "-q", "-f", "vpc", "-o", "subformat=fixed", theirs, f"{mib}M")
    with theirs.open("rb") as stream:
        stream.seek(-512, 2)
        footer = stream.read()
    size = struct.unpack(">Q", footer[48:56])[0]
    assert struct.unpack(">HBB", footer[56:60]) == geometry(size // SECTOR)
    assert struct.unpack(">I", footer[64:68])[0] == checksum(footer)
