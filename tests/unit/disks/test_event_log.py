"""Event logs made by hand, after what their readers document."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import timedelta

import pytest

from aibemu.disks.event_log import records
from tests.unit.disks.test_regf import Bytes

Written = Sequence[tuple[int, bytes]]  # seconds, content


def event_log(*chunks: Written) -> bytes:
    """A log with a chunk of 64 KiB for each."""
    log = b"ElfFile\0".ljust(4096, b"\0")
    for chunk in chunks:
        body = b""
        for number, (seconds, content) in enumerate(chunk):
            length = -(-(28 + len(content)) // 8) * 8
            head = struct.pack("<4sIQQ", b"**\0\0", length, number, seconds * 10**7)
            body += (head + content).ljust(length - 4, b"\0") + struct.pack("<I", length)
        head = b"ElfChnk\0".ljust(0x30, b"\0") + struct.pack("<I", 512 + len(body))
        log += (head.ljust(512, b"\0") + body).ljust(65536, b"\0")
    return log


LOG = event_log([(1, b"one"), (2, b"two")], [], [(3, b"three")])


def found(data: bytes) -> list[tuple[int, bytes]]:
    return [(record.written // timedelta(seconds=1), record.content.rstrip(b"\0 (")) for record in records(Bytes(data))]


def test_records() -> None:
    assert found(LOG) == [(1, b"one"), (2, b"two"), (3, b"three")]
    assert found(b"") == found(b"ElfFile\0") == found(b"\0" + LOG[1:]) == []
    assert found(LOG[:-1]) == [(1, b"one"), (2, b"two")], "a chunk that is cut off"


@pytest.mark.parametrize("value", [0, 1, 27, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("place", [4096 + 0x30, 4096 + 512, 4096 + 512 + 4, 4096 + 512 + 16, 4096 + 512 + 20])
def test_damage_costs_what_is_damaged(place: int, value: int) -> None:
    data = bytearray(LOG)
    struct.pack_into("<I", data, place, value)
    assert (3, b"three") in found(bytes(data))
