"""Waiting for a banner: TCP accepts before the guest is up, so only the greeting counts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.communicators.ssh import wait as module
from aibemu.communicators.ssh.wait import find_banner, open_greeted, wait_for_banner
from aibemu.errors import BuildCancelled, Expired, ProvisionFailed
from aibemu.testing.clock import FakeClock

BANNER = b"SSH-2.0-OpenSSH_9.2p1\r\n"


@contextmanager
def answering(answer: Callable[[int, socket.socket], None]) -> Iterator[int]:
    """A server that calls `answer(how many before, connection)` in a thread each; its port."""
    server = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            kept.append(connection)
            threading.Thread(target=answer, args=(len(kept) - 1, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for connection in kept:
            connection.close()


def soon(seconds: float = 10.0, cancel: CancelToken | None = None) -> Deadline:
    token = CancelToken() if cancel is None else cancel
    return Deadline(clock=SystemClock(), cancel=token).within(seconds)


def fine() -> None:
    return None


def test_a_greeting_is_returned_and_stays_unread() -> None:
    with answering(lambda _, c: c.sendall(b"welcome\r\n" + BANNER)) as port:
        connection, banner = open_greeted("127.0.0.1", port, deadline=soon(), alive=fine)
        with connection:
            assert banner == "SSH-2.0-OpenSSH_9.2p1"
            assert connection.recv(100).endswith(BANNER)
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_greeting_in_pieces() -> None:
    def answer(_: int, connection: socket.socket) -> None:
        connection.sendall(BANNER[:9])
        time.sleep(0.3)
        connection.sendall(BANNER[9:])

    with answering(answer) as port:
        assert wait_for_banner("127.0.0.1", port, deadline=soon(), alive=fine) == "SSH-2.0-OpenSSH_9.2p1"


def test_connections_that_are_closed_are_tried_again() -> None:
    with answering(lambda n, c: c.close() if n < 2 else c.sendall(BANNER)) as port:
        assert wait_for_banner("127.0.0.1", port, deadline=soon(), alive=fine)


def test_a_refusing_port_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]

    def serve() -> None:
        with socket.create_server(("127.0.0.1", port)) as server:
            connection, _ = server.accept()
            connection.sendall(BANNER)
            time.sleep(1)

    timer = threading.Timer(0.5, serve)
    timer.daemon = True
    timer.start()
    assert wait_for_banner("127.0.0.1", port, deadline=soon(), alive=fine)


def test_a_silent_connection_is_kept_for_a_slow_guest() -> None:
    def answer(number: int, connection: socket.socket) -> None:
        if number == 0:
            time.sleep(1.0)
            connection.sendall(BANNER)

    with answering(answer) as port:
        assert wait_for_banner("127.0.0.1", port, deadline=soon(), alive=fine)


def test_a_silent_connection_gets_a_fresh_one_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AFTER_SILENCE", 0.2)
    with answering(lambda n, c: c.sendall(BANNER) if n == 2 else None) as port:
        assert wait_for_banner("127.0.0.1", port, deadline=soon(5), alive=fine)


def test_silent_connections_are_few_and_are_given_up(clock: FakeClock) -> None:
    slow = Deadline(clock=clock, slowness=2 * module.AFTER_SILENCE * module.MOST / module.PATIENCE)
    held: list[set[socket.socket]] = []
    with answering(lambda *_: None) as port, closing(module._Knocker("127.0.0.1", port, slow)) as knocker:
        for _ in range(2 * module.MOST + 1):
            assert knocker.step() is None
            held.append(set(knocker.until))
            clock.advance(module.AFTER_SILENCE)
    assert [len(some) for some in held] == [1, 2, *[module.MOST] * (len(held) - 2)]
    assert held[-2] == held[module.MOST - 1]
    assert len(held[-1] - held[-2]) == 1  # the first was silent for too long, and a fresh one is there instead


def test_a_dead_machine_and_a_cancel_end_the_wait() -> None:
    calls: list[int] = []

    def alive() -> None:
        calls.append(1)
        if len(calls) > 2:
            raise ProvisionFailed("kernel panic")

    token = CancelToken()
    with answering(lambda *_: None) as port:
        with pytest.raises(ProvisionFailed, match="kernel panic"):
            wait_for_banner("127.0.0.1", port, deadline=soon(), alive=alive)
        threading.Timer(0.2, token.cancel, ["stop"]).start()
        start = time.monotonic()
        with pytest.raises(BuildCancelled):
            wait_for_banner("127.0.0.1", port, deadline=soon(cancel=token), alive=fine)
        assert time.monotonic() - start < 8


def test_somebody_else_on_the_port_is_not_ssh() -> None:
    with answering(lambda _, c: c.sendall(b"HTTP/1.1 400\r\n")) as port, pytest.raises(Expired):
        wait_for_banner("127.0.0.1", port, deadline=soon(0.5), alive=fine)


@pytest.mark.parametrize(
    ("heard", "banner"),
    [
        (b"SSH-2.0-x\r\n", "SSH-2.0-x"),
        (b"SSH-1.99-x\n", "SSH-1.99-x"),
        (b"hello\r\nSSH-2.0-x\r\nrest", "SSH-2.0-x"),
        (b"SSH-2.0-x", None),
        (b"SSH-1.5-x\r\n", None),
        (b"x SSH-2.0-x\r\n", None),
        (b"", None),
    ],
)
def test_find_banner(heard: bytes, banner: str | None) -> None:
    assert find_banner(heard) == banner


@given(st.binary())
def test_find_banner_takes_anything(heard: bytes) -> None:
    assert find_banner(heard) is None or b"SSH-" in heard
