"""Holes stay holes, and what is read as non-zero is exactly what is non-zero."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.distributors.sparse import copy_without_zeros, duplicate, ensure_space_for_copies, read_chunks
from aibemu.errors import BuildCancelled, HostNotReady
from aibemu.files import data_ranges

UNIT = 512
pieces = st.lists(st.tuples(st.integers(0, 255), st.integers(1, 6000), st.integers(0, 255)), max_size=8)


def write(path: Path, size: int, parts: list[tuple[int, int, int]]) -> bytes:
    """A sparse file with runs of one byte at multiples of 4096."""
    with path.open("wb") as stream:
        for block, length, value in parts:
            stream.seek(block * 4096)
            stream.write(bytes([value]) * min(length, size - block * 4096))
        stream.truncate(size)
    return path.read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces, st.sampled_from([UNIT, 4096, 65536]))
def test_chunks_hold_all_that_is_not_zero(tmp_path: Path, parts: list[tuple[int, int, int]], chunk: int) -> None:
    path = tmp_path / "file"
    content = write(path, 1024 * 1024, parts)
    again = bytearray(len(content))
    last = 0
    for offset, data in read_chunks(path, chunk=chunk, unit=UNIT):
        assert offset % UNIT == 0 and len(data) % UNIT == 0 and 0 < len(data) <= chunk
        assert offset >= last
        assert any(data[:UNIT]) and any(data[-UNIT:])
        again[offset : offset + len(data)] = data
        last = offset + len(data)
    assert bytes(again) == content


def test_data_ranges_leave_holes_out(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, 8 * 1024 * 1024, [(512, 4096, 1)])
    with path.open("rb") as stream:
        found = list(data_ranges(stream.fileno(), 8 * 1024 * 1024))
    if found == [(0, 8 * 1024 * 1024)]:
        pytest.skip("this file system does not tell where holes are")
    assert found == [(512 * 4096, 4096)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces)
def test_a_copy_is_equal(tmp_path: Path, parts: list[tuple[int, int, int]]) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    content = write(source, 1024 * 1024, parts)
    copy_without_zeros(source, target, deadline=forever())
    assert target.read_bytes() == content


def test_a_copy_stays_sparse_and_obeys_the_deadline(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    write(source, 64 * 1024 * 1024, [(0, 4096, 7), (3000, 4096, 8)])
    copy_without_zeros(source, target, deadline=forever())
    assert target.stat().st_size == 64 * 1024 * 1024
    assert target.stat().st_blocks * 512 < 1024 * 1024
    cancel = CancelToken()
    cancel.cancel("stop")
    with pytest.raises(BuildCancelled):
        copy_without_zeros(source, target, deadline=Deadline(clock=SystemClock(), cancel=cancel))


@pytest.mark.parametrize("reflinks", [True, False])
def test_a_duplicate_is_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reflinks: bool) -> None:
    if not reflinks:
        monkeypatch.setattr("aibemu.distributors.sparse._reflink", lambda source, target: False)
    source, target = tmp_path / "source", tmp_path / "target"
    content = write(source, 16 * 1024 * 1024, [(3, 5000, 7)])
    assert duplicate(source, target, deadline=forever()) in ({"reflink", "copy"} if reflinks else {"copy"})
    assert target.read_bytes() == content and not target.samefile(source) and target.stat().st_nlink == 1
    assert target.stat().st_blocks * 512 < 1024 * 1024
    target.write_bytes(b"mine")
    assert source.read_bytes() == content


def test_there_must_be_room_for_a_copy_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aibemu.distributors.sparse._reflink", lambda source, target: False)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 20_000)
    for look in (
        lambda: duplicate(source, target, deadline=forever()),
        lambda: ensure_space_for_copies([source], tmp_path, "copies"),
    ):
        with pytest.raises(HostNotReady, match="not enough disk space"):
            look()
    assert not target.exists() or not target.stat().st_size
    assert list(tmp_path.iterdir()) in ([source], [source, target], [target, source])
