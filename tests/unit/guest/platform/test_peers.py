"""Who holds the other end of a connection."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aibemu.guest.platform.peers import Address, client_inode, held_by


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, Address, Address]]:
    """A connection of this process with itself: its client's end, both addresses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client:
            accepted, _ = listener.accept()
            with accepted:
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


def test_a_line_that_is_missed_once_is_looked_for_again(
    connection: tuple[socket.socket, Address, Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, here, there = connection
    answers: list[int | None] = [None, None, client_inode(here, there)]
    monkeypatch.setattr("aibemu.guest.platform.peers.client_inode", lambda *_, **__: answers.pop(0))
    assert held_by(os.getpid(), here, there)


def test_a_table_without_the_connection(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text("  sl  local_address rem_address\n")
    assert not held_by(os.getpid(), ("127.0.0.1", 1), ("127.0.0.1", 2), table=table)
