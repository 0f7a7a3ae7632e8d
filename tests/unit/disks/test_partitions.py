"""Partition tables that sfdisk made, whole and damaged, and some that nobody would make."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu.disks.partitions import Partition, Table, table_of
from tests import windows_disks
from tests.windows_disks import MIB

ESP, DATA = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
LDM, SPACES = "AF9B60A0-1431-4F62-BC68-3311714A69AD", "E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D"


def sfdisk(tmp_path: Path, *rows: str, size: int = 16 * MIB) -> bytearray:
    windows_disks.need_tools()
    raw = tmp_path / "disk.raw"
    raw.write_bytes(bytes(size))
    windows_disks.run("sfdisk", "--quiet", "--no-reread", raw, given="\n".join([*rows, ""]))
    return bytearray(raw.read_bytes())


def table(data: bytes | bytearray) -> Table:
    return table_of(lambda at, length: bytes(data[at : at + length]), len(data))


@pytest.fixture
def gpt(tmp_path: Path) -> bytearray:
    return sfdisk(tmp_path, "label: gpt", f"start=2048, size=4096, type={ESP}", f"start=8192, size=8192, type={DATA}")


def zero(data: bytearray, at: int, length: int) -> None:
    data[at : at + length] = bytes(length)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: None,
        lambda data: zero(data, 512, 512),  # no header
        lambda data: zero(data, 512 + 40, 8),  # its checksum is wrong
        lambda data: zero(data, 1024, 128),  # the first partition is gone, by the checksum of the entries
        lambda data: zero(data, len(data) - 512, 512),  # the copy has no header: nobody asks for it
        lambda data: data.extend(bytes(MIB)),  # the disk grew
    ],
)
def test_a_gpt_is_read_from_its_copy_where_it_is_damaged(damage: Callable[[bytearray], object], gpt: bytearray) -> None:
    expected = table(gpt).partitions
    assert [(part.start, part.size, part.efi) for part in expected] == [
        (MIB, 2 * MIB, True), (4 * MIB, 4 * MIB, False)
    ]  # fmt: skip
    damage(gpt)
    found = table(gpt)
    assert (found.kind, found.partitions, found.troubles) == ("gpt", expected, ())


def test_where_both_are_damaged_one_that_looks_whole_is_taken(gpt: bytearray) -> None:
    expected = table(gpt).partitions
    gpt[512 + 56] ^= 1  # the disk's id
    gpt[len(gpt) - 512 + 56] ^= 1
    assert table(gpt).partitions == expected
    zero(gpt, 512, 8)
    zero(gpt, len(gpt) - 512, 8)
    found = table(gpt)
    assert (found.kind, found.partitions) == ("gpt", ()) and "GPT) is damaged" in found.troubles[0]
    assert found.candidates == (Partition(start=0, size=len(gpt)),)


def test_a_hybrid_mbr_is_a_gpt(gpt: bytearray) -> None:
    expected = table(gpt).partitions
    struct.pack_into("<4xB3xII", gpt, 462, 0x07, 8192, 8192)
    assert table(gpt).partitions == expected


def test_a_gpt_for_large_sectors(gpt: bytearray) -> None:
    """Made of one for small ones: the same sectors, each eight times as large."""
    data = (
        gpt[:512].ljust(4096, b"\0") + gpt[512:1024].ljust(4096, b"\0") + gpt[1024 : 1024 + 128 * 128] + bytes(60 * MIB)
    )
    found = table(data)
    assert [(part.start, part.size) for part in found.partitions] == [(8 * MIB, 16 * MIB), (32 * MIB, 32 * MIB)]
    assert "sectors of 4096 bytes" in found.troubles[0]


@pytest.mark.parametrize(("kind", "said"), [(LDM, "dynamic disk"), (SPACES, "Storage Spaces")])
def test_what_windows_manages_itself_is_told(kind: str, said: str, tmp_path: Path) -> None:
    found = table(sfdisk(tmp_path, "label: gpt", f"start=2048, size=2048, type={kind}", f"start=4096, type={kind}"))
    assert len(found.partitions) == 2 and len(found.troubles) == 1 and said in found.troubles[0]


def test_partitions_inside_of_an_extended_one(tmp_path: Path) -> None:
    rows = ["start=2048, size=2048, type=7", "start=4096, size=16384, type=f", "start=6144, size=2048, type=7",
            "start=10240, size=4096, type=83"]  # fmt: skip
    data = sfdisk(tmp_path, "label: dos", *rows[:2], *(f"{row}" for row in rows[2:]))
    assert [(part.start // 512, part.size // 512) for part in table(data).partitions] == [
        (2048, 2048), (6144, 2048), (10240, 4096)
    ]  # fmt: skip
    assert not table(data).troubles
    data[446 + 4] = 0x42
    assert "dynamic disk" in table(data).troubles[0]


@pytest.mark.parametrize("next_", [0, 1, 0xFFFFFFFF])
def test_an_extended_partition_without_an_end(next_: int) -> None:
    data = bytearray(1 << 20)
    struct.pack_into("<4xB3xII", data, 446, 0x05, 64, 100)
    for at in range(64, 2000):
        struct.pack_into(
            "<4xB3xII4xB3xII", data, at * 512 + 446, 0x83, 1, 1, 0x05, (at - 63) if next_ == 1 else next_, 1
        )
        data[at * 512 + 510 : at * 512 + 512] = b"\x55\xaa"
    data[510:512] = b"\x55\xaa"
    assert 1 <= len(table(bytes(data)).partitions) <= 128
