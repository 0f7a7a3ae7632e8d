"""Lines on a disk that is full for a while: whole ones, and a word about those that are missing."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from aibemu.append import LineFile


def lacking(count: int) -> str:
    return f"<{count} missing>\n"


class Disk:
    """A disk with room for so many bytes."""

    def __init__(self, room: int, error: int) -> None:
        self.room, self.error, self._write = room, error, os.write

    def write(self, descriptor: int, content: Any) -> int:
        if not self.room and len(content):
            raise OSError(self.error, os.strerror(self.error))
        done = self._write(descriptor, content[: self.room])
        self.room -= done
        return done


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_it_goes_on_when_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    disk = Disk(10, error)
    monkeypatch.setattr(os, "write", disk.write)
    log = LineFile(tmp_path / "log", missing=lacking)
    log.write("first\n")
    for _ in range(100_000):
        log.write("does not fit\n")
    assert (tmp_path / "log").read_text() == "first\n", "a torn line"
    disk.room = 10**6
    log.write("last\n")
    log.close()
    log.close()
    assert (tmp_path / "log").read_text() == "first\n<100000 missing>\nlast\n"


def test_what_is_missing_at_the_end_is_told_by_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(0, errno.ENOSPC)
    monkeypatch.setattr(os, "write", disk.write)
    log = LineFile(tmp_path / "log", missing=lacking)
    log.write("one\ntwo\n")
    disk.room = 100
    log.close()
    assert (tmp_path / "log").read_text() == "<2 missing>\n"


def test_other_errors_are_not_hidden(tmp_path: Path) -> None:
    log = LineFile(tmp_path / "log", missing=lacking, anew=True)
    log.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        log.write("x\n")


@pytest.mark.parametrize("read_by_somebody", [False, True])
def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path, read_by_somebody: bool) -> None:
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK) if read_by_somebody else None
    with pytest.raises(OSError, match="is a pipe, not a file"):
        LineFile(tmp_path / "log", missing=lacking)
    if reader is not None:
        os.close(reader)


def test_nor_is_a_device(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/null")
    with pytest.raises(OSError, match="is a device, not a file"):
        LineFile(tmp_path / "log", missing=lacking)
