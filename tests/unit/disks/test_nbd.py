"""Bytes of images by qemu-nbd: the real one, and one of ours that fails on demand."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.disks import Unreadable, convert, nbd
from aibemu.disks.nbd import DiskBytes
from aibemu.errors import BuildCancelled, HostNotReady
from fixtures.guests.installation import interpreter_lines

SIZE = 3 << 20

# Serves one client as qemu-nbd does, until it is told to fail.
SERVER = """
    {first_line}
    import socket, struct, sys, time
    how = {how!r}
    if how == "refuses":
        sys.exit("qemu-nbd: Failed to open: no such thing")
    if how == "never":
        time.sleep(60)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(sys.argv[sys.argv.index("--socket") + 1])
    listening.listen()
    client, _ = listening.accept()
    if how == "silent":
        time.sleep(60)
    client.sendall(b"HTTP/1.1 400 Bad Request" if how == "strange" else b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
    client.recv(100)
    client.sendall(struct.pack(">QH", {size}, 1))
    while how != "dies":
        request = client.recv(28)
        magic, _, command, handle, at, length = struct.unpack(">IHHQQI", request)
        if how == "stops":
            time.sleep(60)
        error = 5 if how == "broken" else 0
        if how == "half":
            length //= 2
        client.sendall(struct.pack(">IIQ", 0x67446698, error, handle + (how == "other")) + b"x" * length * (not error))
        if how == "half":
            break
"""


@pytest.fixture
def image(tmp_path: Path) -> convert.DiskInfo:
    path = tmp_path / "disk.qcow2"
    raw = tmp_path / "raw"
    raw.write_bytes((b"0123456789abcde\n" * (SIZE // 16))[:SIZE])
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    return convert.info(path, deadline=forever())


@pytest.fixture
def fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def install(how: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "qemu-nbd"
        program.write_text(
            dedent(SERVER).strip().format(first_line=interpreter_lines(sys.executable).strip(), how=how, size=SIZE)
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return install


def test_bytes_are_read_and_written_anywhere(image: convert.DiskInfo, tmp_path: Path) -> None:
    content = (tmp_path / "raw").read_bytes()
    with DiskBytes(image, forever(), writable=True) as disk:
        assert disk.size == SIZE
        for at, length in (
            (0, 10),
            (65_530, 20),
            (65_536 * 3 - 1, 70_000),
            (SIZE - 5, 100),
            (SIZE, 1),
            (-1, 5),
            (7, 0),
        ):
            assert disk.read(at, length) == (content[at : at + length] if at >= 0 else b"")
        disk.write(65_534, b"across")
        assert disk.read(65_530, 12) == content[65_530:65_534] + b"across" + content[65_540:65_542]
        with pytest.raises(Unreadable, match="ends before byte"):
            disk.write(SIZE - 2, b"beyond")
        disk.flush()
    convert.check(image.path, deadline=forever())
    with DiskBytes(image, forever()) as disk:
        assert disk.read(65_534, 6) == b"across"
        with pytest.raises(Unreadable, match="cannot be written at byte 0"):
            disk.write(0, b"x")


def test_one_image_has_one_writer(image: convert.DiskInfo) -> None:
    with DiskBytes(image, forever(), writable=True):
        for writable in (True, False):
            with pytest.raises(Unreadable, match=r"disk.qcow2 cannot be opened: another process is using it"):
                DiskBytes(image, forever(), writable=writable)
    with DiskBytes(image, forever()), DiskBytes(image, forever()) as other:
        assert other.size == SIZE


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("refuses", "cannot be opened: Failed to open: no such thing"), ("silent", "takes too long"),
        ("never", "cannot be opened: qemu-nbd does not start"), ("strange", "an answer that is not understood"),
        ("dies", "qemu-nbd ended"), ("stops", "takes too long"), ("half", "qemu-nbd ended"),
        ("broken", "cannot be read at byte 0: Input/output error"), ("other", "an answer that is not understood"),
    ],
)  # fmt: skip
def test_a_server_that_fails_is_one_error_and_soon(
    how: str, why: str, image: convert.DiskInfo, fails: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nbd, "ASK_BOUND", 3.0)
    monkeypatch.setattr(nbd, "START_BOUND", 3.0 if how == "never" else 60.0)
    fails(how)
    start = time.monotonic()
    with pytest.raises(Unreadable, match=why), DiskBytes(image, forever()) as disk:
        disk.read(0, 100)
    assert time.monotonic() - start < 55


@pytest.mark.parametrize("how", ["never", "silent", "stops"])
def test_a_cancel_is_heard(how: str, image: convert.DiskInfo, fails: Callable[[str], None]) -> None:
    fails(how)
    token = CancelToken()
    timer = threading.Timer(0.5, token.cancel, ["enough"])
    timer.start()
    start = time.monotonic()
    with (
        pytest.raises(BuildCancelled, match="enough"),
        DiskBytes(image, Deadline(clock=SystemClock(), cancel=token)) as disk,
    ):
        disk.read(0, 100)
    timer.join()
    assert time.monotonic() - start < 30


def test_nothing_is_left(image: convert.DiskInfo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    disk = DiskBytes(image, forever())
    process = disk._server._process
    assert any(folder.iterdir()) and process.poll() is None
    disk.close()
    assert process.poll() is not None and not any(folder.iterdir())


def test_what_is_not_installed_is_named(image: convert.DiskInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    with pytest.raises(HostNotReady, match="qemu-nbd is not installed") as caught:
        DiskBytes(image, forever())
    assert "qemu-utils" in str(caught.value.hint)


def test_a_cancel_is_seen_where_all_is_known(image: convert.DiskInfo) -> None:
    """Who is led round and round in what was fetched asks nobody else."""
    cancel = CancelToken()
    with DiskBytes(image, Deadline(clock=SystemClock(), cancel=cancel)) as disk:
        assert disk.read(0, 16) == b"0123456789abcde\n"
        cancel.cancel("stopped")
        with pytest.raises(BuildCancelled):
            for _ in range(1000):
                disk.read(0, 16)


def test_a_temporary_folder_that_is_too_deep_for_sockets(
    image: convert.DiskInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep, runtime = tmp_path / ("d" * 110), tmp_path / "r"
    deep.mkdir()
    runtime.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        folder.mkdir()

    monkeypatch.setattr(nbd, "make_socket_directory", make)
    with DiskBytes(image, forever()) as disk:
        assert disk.read(16, 16) == b"0123456789abcde\n" and len(made) == 1
    assert not made[0].exists() and list(deep.iterdir()) == []
