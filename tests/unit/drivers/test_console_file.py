"""A console's file: read from any offset, bounded on the disk, whoever else reads or writes it."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from aibemu.holes import keep_end
from aibemu_drivers import console as module
from aibemu_drivers.console import ConsoleFile

PAGE = 4096


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes that are kept; the file is small enough to write it often."""
    monkeypatch.setattr(module, "STEP", 4 * PAGE)
    return 16 * PAGE


def test_a_console_that_nothing_was_said_on(tmp_path: Path) -> None:
    part = ConsoleFile(tmp_path / "console.log").read(5)
    assert (part.start, part.data, part.end) == (0, b"", 0)


def test_bytes_that_are_no_text_and_characters_that_are_cut(tmp_path: Path) -> None:
    console = ConsoleFile(tmp_path / "console.log")
    console.path.write_bytes("ü".encode() + b"\xff")
    assert console.read().text == "ü\ufffd"
    assert console.read(1).text == "\ufffd\ufffd"
    assert console.read(1).end == 3


def test_it_takes_no_more_room_than_what_is_kept_and_offsets_stay(tmp_path: Path, small: int) -> None:
    console, other = (ConsoleFile(tmp_path / "console.log", small) for _ in range(2))
    said = random.Random(1).randbytes(100 * PAGE)
    with console.path.open("wb", buffering=0) as writer:  # as QEMU: it never looks at what was done to the file
        at = 0
        while at < len(said):
            writer.write(said[at : at + 3000])
            at = min(len(said), at + 3000)
            since = max(0, at - 5000)
            part = console.read(since)
            assert (part.start, part.data, part.end) == (since, said[since:at], at)
    blocks = console.path.stat().st_blocks * 512
    assert blocks <= small + 6 * PAGE, "it grows without bound"
    for reader in (console, other):
        part = reader.read()
        assert (part.start, part.data) == (len(said) - small, said[-small:])
    assert console.read(10**9).data == b"" and console.read(10**9).start == len(said)


def test_a_file_system_without_holes_bounds_what_is_read(
    tmp_path: Path, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, size: int) -> None:
        raise OSError("Operation not supported")

    monkeypatch.setattr(module, "_punch", refuse)
    console = ConsoleFile(tmp_path / "console.log", small)
    console.path.write_bytes(bytes(3 * small) + b"the end")
    part = console.read()
    assert len(part.data) == small and part.data.endswith(b"the end")


def test_a_machine_that_is_started_again_has_a_new_console(tmp_path: Path, small: int) -> None:
    console = ConsoleFile(tmp_path / "console.log", small)
    console.path.write_bytes(bytes(3 * small))
    assert console.read().start == 2 * small
    console.path.unlink()
    console.path.write_bytes(b"again")
    assert (console.read().start, console.read().data) == (0, b"again")
    console.path.write_bytes(bytes(2 * small))
    assert console.read().start == small
    assert console.path.stat().st_blocks * 512 <= small + PAGE


def test_the_platform_keeps_a_console_small_that_nobody_reads(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    keep_end(path, 32 * PAGE)
    with path.open("wb", buffering=0) as writer:
        for _ in range(50):
            writer.write(b"x" * 16 * PAGE)
            keep_end(path, 32 * PAGE)
    assert path.stat().st_size == 50 * 16 * PAGE and path.stat().st_blocks * 512 <= 34 * PAGE
    assert path.read_bytes()[-32 * PAGE :] == b"x" * 32 * PAGE


def test_a_pipe_in_its_place_holds_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "console.log")
    keep_end(tmp_path / "console.log", PAGE)
    assert ConsoleFile(tmp_path / "console.log").read().data == b""
