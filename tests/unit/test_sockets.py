"""Where unix sockets go."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.sockets import LONGEST, fits, make_socket_directory, remove_socket_directory, socket_directory


def test_a_short_directory_holds_its_own_socket() -> None:
    assert socket_directory(Path("/r/m"), "qmp.sock") == Path("/r/m")


@given(st.integers(min_value=80, max_value=120))
def test_the_limit_is_the_kernels(length: int) -> None:
    path = Path("/tmp") / ("x" * (length - 5))
    accepted = False
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            accepted = True
    assert fits(path) is accepted
    assert fits(path) is (length <= LONGEST)


def test_a_deep_directory_gets_a_private_one_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 100)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    short = socket_directory(deep, "qmp.sock")
    assert short.parent == Path("/tmp") and not short.exists()
    assert socket_directory(deep, "qmp.sock") != short  # nobody can guess it
    make_socket_directory(short)
    try:
        assert short.stat().st_mode & 0o777 == 0o700
        with pytest.raises(FileExistsError):
            make_socket_directory(short)
    finally:
        remove_socket_directory(short, deep)
    assert not short.exists()


def test_only_a_folder_of_ours_is_removed(tmp_path: Path) -> None:
    theirs = tmp_path / "precious"
    theirs.mkdir()
    remove_socket_directory(theirs, tmp_path / "m")
    link = tmp_path / "aibemu-123"
    link.symlink_to(theirs)
    (theirs / "x").touch()
    remove_socket_directory(link, tmp_path / "m")
    assert (theirs / "x").exists()
