"""Who holds the other end of a connection."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aibemu.fabric import peers
from aibemu.fabric.peers import Address, client_inode, held_by


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, Address, Address]]:
    """A connection of this process with itself: its client's end, both addresses."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0],
    ):
        yield client, client.getsockname(), listener.getsockname()


def test_the_clients_socket_is_found(connection: tuple[socket.socket, Address, Address]) -> None:
    client, here, there = connection
    assert client_inode(here, there) == os.fstat(client.fileno()).st_ino
    assert client_inode((here[0], 1), there) is None


def test_only_the_process_that_has_it_open_holds_it(connection: tuple[socket.socket, Address, Address]) -> None:
    _, here, there = connection
    assert held_by(os.getpid(), here, there)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not held_by(other.pid, here, there)
    finally:
        other.communicate(b"\n")
    assert not held_by(other.pid, here, there)  # gone


def test_a_kernel_that_cannot_be_asked_still_has_a_table(
    connection: tuple[socket.socket, Address, Address], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client, here, there = connection

    def refuse(*_: object) -> None:
        raise OSError(errno.EPROTONOSUPPORT, "no sock_diag")

    monkeypatch.setattr(peers, "_asked", refuse)
    found = [None, None, os.fstat(client.fileno()).st_ino]  # a line may be missed
    whole = peers.in_table
    monkeypatch.setattr(peers, "in_table", lambda *ends: whole(*ends) if found.pop(0) else None)
    assert held_by(os.getpid(), here, there) and not found
    table = tmp_path / "tcp"
    table.write_text("  sl  local_address rem_address\n")
    assert whole(here, there, table=table) is None
