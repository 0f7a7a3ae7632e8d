"""Files of others are read to an end: what has none is refused before it is opened, or while it is read."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu import reading
from aibemu.reading import Unfit, blocks, in_words, open_file, open_writable, read_bytes, read_end, read_text


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.close()


def make_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


KINDS: list[tuple[Callable[[Path], None], str]] = [
    (make_fifo, "is a pipe, not a file"),
    (make_socket, "is a socket, not a file"),
    (Path.mkdir, "is a folder, not a file"),
    (make_link, "is a device, not a file"),
    (make_sparse, "has 1 TiB, more than the 8 MiB that are read at most"),
]


@pytest.mark.parametrize(("make", "why"), KINDS)
@pytest.mark.parametrize("read", [read_bytes, read_text, lambda path: open_file(path, limit=reading.TEXT)])
def test_what_is_not_read(
    tmp_path: Path, make: Callable[[Path], None], why: str, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "x"
    make(path)
    with pytest.raises(Unfit) as caught:
        read(path)
    assert str(caught.value) == f"{path} {why}"


@pytest.mark.parametrize(("make", "why"), [KINDS[0], KINDS[1], KINDS[3]])
@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_APPEND])
def test_nor_is_it_written_to(tmp_path: Path, make: Callable[[Path], None], why: str, flags: int) -> None:
    path = tmp_path / "x"
    make(path)
    with pytest.raises(Unfit) as caught:
        open_writable(path, flags)
    assert str(caught.value) == f"{path} {why}"


def test_a_file_that_is_written_on(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for text in (b"one", b"two"):
        descriptor = open_writable(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, text)
        os.close(descriptor)
    assert path.read_bytes() == b"onetwo" and path.stat().st_mode & 0o777 == 0o600
    assert (read_end(path, 3), read_end(path, 100)) == ("two", "onetwo")


def test_links_that_lead_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        read_bytes(tmp_path / "a")


def test_a_file_is_bounded_by_what_comes_of_it_too(tmp_path: Path) -> None:
    """Files of the kernel have no size; others grow while they are read."""
    assert Path("/proc/self/maps").stat().st_size == 0
    with pytest.raises(Unfit, match="has more than 10 bytes"):
        read_bytes(Path("/proc/self/maps"), limit=10)
    path = tmp_path / "grows"
    path.write_bytes(b"0123456789")
    with open_file(path, limit=10) as stream, path.open("ab") as more:
        more.write(b"x")
        more.flush()
        with pytest.raises(Unfit, match="has more than 10 bytes"):
            list(blocks(stream, path, limit=10))


def test_text_has_the_line_ends_of_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes("ä\r\nb\rc\n".encode())
    assert read_text(tmp_path / "x") == "ä\nb\nc\n" == (tmp_path / "x").read_text()


def test_a_pipe_is_read_where_one_may_be_given(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writing = threading.Thread(target=path.write_bytes, args=(b"x" * 100_000,), daemon=True)
    writing.start()
    assert read_bytes(path, pipe=True) == b"x" * 100_000
    writing.join()


def test_a_pipe_that_nobody_writes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIPE_SECONDS", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unfit, match=r"is a pipe that did not end within 0\.1 seconds"):
        read_bytes(tmp_path / "pipe", pipe=True)


def test_a_pipe_that_does_not_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            try:
                while True:
                    pipe.write(bytes(1 << 16))
            except BrokenPipeError:
                return

    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    with pytest.raises(Unfit, match="is a pipe that gave more than 1 MiB, the most that is read"):
        read_bytes(path, limit=1 << 20, pipe=True)
    writing.join()


def test_sizes_in_words() -> None:
    assert [in_words(size) for size in (999, 64 << 10, 8 << 20, 3 << 29, 1 << 40)] == [
        "999 bytes", "64 KiB", "8 MiB", "1.5 GiB", "1 TiB",
    ]  # fmt: skip
