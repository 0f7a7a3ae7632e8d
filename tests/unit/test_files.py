"""Replacing and copying files: the old or the new one, and nothing beside them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from aibemu import files
from aibemu.files import (
    copy_sparse,
    is_being_written,
    is_partial,
    link_or_copy,
    make_folder,
    partial_pattern,
    replacing,
    write_json,
    write_private_json,
)


def test_a_hard_link_over_a_link_to_the_same_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    source, target = tmp_path / "store", tmp_path / "out"
    source.write_text("image")
    for _ in range(2):
        with replacing(target, sync=False) as temporary:
            temporary.hardlink_to(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]
    assert target.samefile(source)


def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert target.read_text() == "old"


@pytest.mark.parametrize("name", ["disk.vhd", "a[1].vhd", "é" * 127, "x" * 255, "caf\udce9"])
def test_a_temporary_name_says_who_writes_it(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("half")
        assert is_partial(temporary) and is_being_written(temporary)
        assert list(tmp_path.glob(partial_pattern(name, os.getpid()))) == [temporary]
        assert list(tmp_path.glob(partial_pattern(name, os.getpid() * 10))) == []
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["x.partial", ".x.partial", ".partial", ".4.partial", "0123456789ab-debian.partial"])
def test_a_name_without_a_writer_is_of_nobody(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert not is_partial(tmp_path / name)
    assert not is_being_written(tmp_path / name)


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def sparse(path: Path, *, size: int, pieces: dict[int, bytes]) -> bytes:
    """A file with holes between `pieces` (by offset); its whole content."""
    with path.open("wb") as stream:
        stream.truncate(size)
        for offset, piece in pieces.items():
            stream.seek(offset)
            stream.write(piece)
    return path.read_bytes()


MIB = 1 << 20


@pytest.mark.parametrize(
    ("size", "pieces"),
    [
        (0, {}),
        (1, {0: b"x"}),
        (8 * MIB, {}),
        (8 * MIB, {0: b"a" * 4096}),
        (8 * MIB, {8 * MIB - 1: b"z"}),
        (8 * MIB, {MIB: b"b" * 100_000, 5 * MIB: b"c"}),
        (3 * MIB + 7, {0: b"d" * (3 * MIB + 7)}),
    ],
    ids=["empty", "a byte", "only a hole", "hole at the end", "hole at the beginning", "islands", "no hole"],
)
def test_a_copy_has_the_same_bytes_and_the_same_holes(tmp_path: Path, size: int, pieces: dict[int, bytes]) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    content = sparse(source, size=size, pieces=pieces)
    copy_sparse(source, target)
    assert target.read_bytes() == content
    assert allocated(target) <= allocated(source)
    assert source.read_bytes() == content


def test_a_copy_that_cannot_be_made_is_an_error_and_not_a_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"data")

    def fail(*_: object) -> int:
        raise OSError(errno.EINVAL, "no SEEK_DATA here")

    monkeypatch.setattr(os, "lseek", fail)
    with pytest.raises(OSError, match="SEEK_DATA"):
        copy_sparse(source, tmp_path / "target")


def test_a_copy_is_ended_when_somebody_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"data" * 1000)
    monkeypatch.setattr(files, "_AT_ONCE", 1000)
    refuse_links(monkeypatch, errno.EXDEV)
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        link_or_copy(source, target, check=check)
    assert list(tmp_path.iterdir()) == [source]


def test_where_it_can_a_second_name_is_given(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"data")
    link_or_copy(source, target)
    assert target.samefile(source)


def refuse_links(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "hardlink_to", fail)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP])
def test_elsewhere_it_is_a_copy_of_its_own_with_its_holes_and_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    content = sparse(source, size=8 * MIB, pieces={MIB: b"data"})
    source.chmod(0o400)
    refuse_links(monkeypatch, number)
    link_or_copy(source, target)
    assert not target.samefile(source)
    assert target.read_bytes() == content
    assert allocated(target) < MIB
    assert target.stat().st_mode & 0o777 == 0o400
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.ENOENT])
def test_other_failures_are_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"data")
    refuse_links(monkeypatch, number)
    with pytest.raises(OSError) as caught:
        link_or_copy(source, target)
    assert caught.value.errno == number
    assert not target.exists()


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"data")
    target.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        link_or_copy(source, target)
    assert target.read_bytes() == b"mine"


def test_a_copy_that_ends_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"data")
    refuse_links(monkeypatch, errno.EXDEV)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "sendfile", full)
    with pytest.raises(OSError, match="No space left"):
        link_or_copy(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_file_system_without_new_folders() -> None:
    with pytest.raises(OSError, match="No folder can be made") as caught:
        make_folder(Path("/proc/self/aibemu/runs"))
    assert caught.value.errno == errno.EROFS


@pytest.mark.parametrize("write", [write_json, write_private_json])
def test_names_that_are_no_text(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "x", {"out": "/tmp/\udcff", "other": "\u00e4"})
    assert json.loads((tmp_path / "x").read_bytes()) == {"out": "/tmp/\udcff", "other": "\u00e4"}
