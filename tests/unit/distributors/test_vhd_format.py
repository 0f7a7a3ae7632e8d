"""The footer of a fixed VHD, field by field."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.distributors.vhd_format import (
    ALIGNMENT,
    FOOTER_SIZE,
    SECTOR,
    build_footer,
    checksum,
    geometry,
    read_footer,
    rounded_up,
)

ID = UUID("11111111-2222-3333-4444-555555555555")
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
sizes = st.integers(1, 2**42 // SECTOR).map(lambda sectors: sectors * SECTOR)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2120, 1, 1), timezones=st.just(UTC))


def test_every_field_is_where_the_specification_says() -> None:
    size = 30 * 1024**3
    footer = build_footer(size=size, unique_id=ID, created=datetime(2000, 1, 1, 0, 1, tzinfo=UTC))
    assert len(footer) == FOOTER_SIZE == 512
    assert footer[0:8] == b"conectix"
    assert footer[8:12] == b"\0\0\0\2"  # features: reserved bit
    assert footer[12:16] == b"\0\1\0\0"  # format version 1.0
    assert footer[16:24] == b"\xff" * 8  # no dynamic header
    assert footer[24:28] == b"\0\0\0\x3c"  # seconds since 2000
    assert footer[28:32] == b"win "  # QEMU takes current_size for it
    assert footer[36:40] == b"Wi2k"
    assert struct.unpack(">QQ", footer[40:56]) == (size, size)
    assert struct.unpack(">HBB", footer[56:60]) == geometry(size // SECTOR)
    assert footer[60:64] == b"\0\0\0\2"  # fixed
    assert footer[68:84] == ID.bytes
    assert not any(footer[84:])


@given(sizes, st.uuids(), moments)
def test_reading_gives_back_what_was_built(size: int, unique: UUID, created: datetime) -> None:
    content = build_footer(size=size, unique_id=unique, created=created)
    footer = read_footer(content)
    assert footer is not None
    assert (footer.size, footer.unique_id, footer.created) == (size, unique, created.replace(microsecond=0))


@given(sizes, st.uuids())
def test_the_checksum_is_the_complement_of_the_sum_without_itself(size: int, unique: UUID) -> None:
    content = bytearray(build_footer(size=size, unique_id=unique, created=NOW))
    stored = struct.unpack(">I", content[64:68])[0]
    content[64:68] = b"\0\0\0\0"
    assert stored == ~sum(content) & 0xFFFFFFFF == checksum(content)


@given(st.integers(0, 511), st.integers(1, 255))
def test_any_changed_byte_is_noticed(position: int, change: int) -> None:
    content = bytearray(build_footer(size=ALIGNMENT, unique_id=ID, created=NOW))
    content[position] ^= change
    assert read_footer(bytes(content)) is None


@given(st.integers(1, 2**33))
def test_the_geometry_never_reaches_beyond_the_disk(sectors: int) -> None:
    cylinders, heads, per_track = geometry(sectors)
    assert cylinders <= 65535 and 1 <= heads <= 16 and per_track in (17, 31, 63, 255)
    assert cylinders * heads * per_track <= sectors


@pytest.mark.parametrize(
    ("mib", "expected"), [(1, (30, 4, 17)), (100, (1003, 12, 17)), (1024, (2080, 16, 63)), (30720, (62415, 16, 63))]
)
def test_geometries_that_qemu_computes_as_well(mib: int, expected: tuple[int, int, int]) -> None:
    """The contract test compares with the footers that qemu-img itself writes."""
    assert geometry(mib * 2048) == expected


def test_the_largest_geometry_is_a_cap() -> None:
    assert geometry(2**40) == (65535, 16, 255)


@given(st.integers(0, 2**45))
def test_rounding_goes_up_to_a_whole_mib(size: int) -> None:
    rounded = rounded_up(size)
    assert rounded % ALIGNMENT == 0 and 0 <= rounded - size < ALIGNMENT


@pytest.mark.parametrize("size", [0, -512, 1000])
def test_a_disk_is_a_whole_number_of_sectors(size: int) -> None:
    with pytest.raises(ValueError, match="sectors"):
        build_footer(size=size, unique_id=ID, created=NOW)


@pytest.mark.parametrize("content", [b"", b"conectix", bytes(512), b"conectix" + bytes(504)])
def test_other_bytes_are_no_footer(content: bytes) -> None:
    assert read_footer(content) is None
