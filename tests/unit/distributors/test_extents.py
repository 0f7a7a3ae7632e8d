"""A VHD is copied from where its disk's data lies: the same bytes as a conversion's, and only what is not zeros."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.disks.convert import Extent, extents, info
from aibemu.distributors import sparse
from aibemu.distributors.sparse import copy_extents
from aibemu.distributors.vhd import write_vhd
from aibemu.errors import BuildCancelled

SIZE = 6 << 20


def tool(*words: str | Path, cwd: Path | None = None) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=cwd)


def qcow2(path: Path, *writes: str, base: str | Path | None = None, size: int = SIZE) -> Path:
    """A disk, or an overlay, with `writes` of qemu-io."""
    over: list[str | Path] = ["-b", base, "-F", "qcow2"] if base else []
    tool("qemu-img", "create", "-q", "-f", "qcow2", *over, path.name, str(size), cwd=path.parent)
    tool("qemu-io", *(word for write in writes for word in ("-c", write)), path.name, cwd=path.parent)
    return path


def written(disk: Path) -> bytes:
    """The VHD of the disk, without its footer."""
    vhd = disk.with_suffix(".vhd")
    write_vhd(disk, vhd, unique_id=UUID(int=1), created=datetime(2026, 1, 1, tzinfo=UTC), deadline=forever())
    return vhd.read_bytes()[:-512]


def converted(disk: Path) -> bytes:
    raw = disk.with_suffix(".raw")
    tool("qemu-img", "convert", "-O", "raw", disk, raw)
    return raw.read_bytes()


@pytest.fixture
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the disk was converted")

    monkeypatch.setattr("aibemu.distributors.vhd.to_raw", refuse)


@pytest.mark.usefixtures("no_conversion")
def test_an_overlay_on_a_relative_base_is_copied(tmp_path: Path) -> None:
    qcow2(tmp_path / "base.qcow2", "write -P 1 0 192k", "write -P 2 2M 1M", "write -P 3 5M 4k")
    # Over the base: a whole cluster, a part of one, zeros where there was data, and a discarded piece.
    over = ("write -P 9 64k 64k", "write -P 8 2052k 4k", "write -z 2200k 300k", "write -z -u 5M 64k")
    disk = qcow2(tmp_path / "disk.qcow2", *over, base="base.qcow2")
    content = written(disk)
    assert content == converted(disk)
    assert (content[65536], content[2052 << 10], content[5 << 20]) == (9, 8, 0)
    assert disk.with_suffix(".vhd").stat().st_blocks * 512 < 1100 << 10


@pytest.mark.usefixtures("no_conversion")
@pytest.mark.parametrize("size", [SIZE + 512, 512, 66048])
def test_a_disk_that_ends_within_a_cluster(tmp_path: Path, size: int) -> None:
    disk = qcow2(tmp_path / "disk.qcow2", f"write -P 7 {size - 512} 512", size=size)
    content = written(disk)
    assert content[: size - 512] == bytes(size - 512) and content[size - 512 : size] == b"\7" * 512
    assert len(content) == -(-size // (1 << 20)) << 20 and not any(content[size:])


@pytest.mark.usefixtures("no_conversion")
def test_an_empty_disk_and_one_of_zeros_take_no_room(tmp_path: Path) -> None:
    for writes in ((), ("write -P 0 0 6M",)):
        disk = qcow2(tmp_path / "disk.qcow2", *writes)
        assert written(disk) == bytes(SIZE)
        assert disk.with_suffix(".vhd").stat().st_blocks * 512 <= 8192
        disk.unlink()


@pytest.mark.parametrize("name", ["base.qcow2", "new\nline.qcow2"])
def test_what_cannot_be_copied_as_it_is_is_converted(tmp_path: Path, name: str) -> None:
    raw, base = tmp_path / "base.raw", tmp_path / name
    raw.write_bytes((b"0123456789abcdef" * 8192).ljust(SIZE, b"\0"))
    compressed = [] if "\n" in name else ["-c"]
    tool("qemu-img", "convert", *compressed, "-O", "qcow2", raw, base)
    disk = qcow2(tmp_path / "disk.qcow2", "write -P 9 2M 64k", base=name)
    assert extents(info(disk, deadline=forever()), deadline=forever()) is None
    assert written(disk) == raw.read_bytes()[: 2 << 20] + b"\t" * 65536 + bytes(SIZE - (2 << 20) - 65536)


def test_extents_name_the_file_that_holds_the_data(tmp_path: Path) -> None:
    base = qcow2(tmp_path / "base.qcow2", "write -P 1 0 64k", "write -P 2 1M 64k")
    disk = qcow2(tmp_path / "disk.qcow2", "write -P 3 1M 64k", base=base)
    found = extents(info(disk, deadline=forever()), deadline=forever())
    assert found is not None
    assert [(e.start, e.length, e.path) for e in found] == [(0, 65536, base), (1 << 20, 65536, disk)]
    for extent, value in zip(found, (1, 3), strict=True):
        assert extent.path.read_bytes()[extent.offset :][: extent.length] == bytes([value]) * extent.length


blocks = st.lists(st.tuples(st.integers(0, 255), st.integers(1, 40_000), st.integers(0, 2)), max_size=8)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blocks, st.sampled_from([0, 512, 65536]), st.sampled_from([65536, 81920, 512 << 10]))
def test_copies_are_equal_wherever_zeros_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[tuple[int, int, int]], shift: int, chunk: int
) -> None:
    monkeypatch.setattr(sparse, "_CHUNK", chunk)
    monkeypatch.setattr(sparse, "_BATCH", chunk)
    content = bytearray(1 << 20)
    for block, length, value in parts:
        content[block * 4096 : block * 4096 + length] = bytes([value]) * min(length, len(content) - block * 4096)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(shift) + content)
    half = len(content) // 2
    two = [Extent(start=at, length=half, path=source, offset=shift + at) for at in (0, half)]
    copy_extents(two, target, len(content), deadline=forever())
    assert target.read_bytes() == content
    # No cluster of zeros is written.
    assert target.stat().st_blocks * 512 <= sum(length + 2 * 65536 for _, length, value in parts if value) + 8192


def test_zeros_at_an_end_of_a_cluster_are_not_written(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(61440) + b"x" * 4096 + b"y" * 4096 + bytes(61440))
    copy_extents([Extent(start=0, length=131072, path=source, offset=0)], target, 131072, deadline=forever())
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 == 8192


def test_a_file_that_ends_early_leaves_zeros(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 5000)
    copy_extents([Extent(start=0, length=65536, path=source, offset=0)], target, 65536, deadline=forever())
    assert target.read_bytes() == (b"x" * 5000).ljust(65536, b"\0")


def test_a_cancel_ends_a_copy_between_two_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cancel, real = CancelToken(), os.pwrite
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * (4 << 20))

    def write(descriptor: int, view: memoryview, offset: int) -> int:
        cancel.cancel("stop")
        return real(descriptor, view[:1000], offset)  # as on a disk that is nearly full

    monkeypatch.setattr(os, "pwrite", write)
    deadline = Deadline(clock=SystemClock(), cancel=cancel)
    with pytest.raises(BuildCancelled):
        copy_extents([Extent(start=0, length=4 << 20, path=source, offset=0)], target, 4 << 20, deadline=deadline)
    assert target.read_bytes().rstrip(b"\0") == b"x" * sparse._CHUNK
