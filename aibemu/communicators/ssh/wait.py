"""Waiting for a guest's SSH server to say hello.

QEMU's port forwarding accepts a TCP connection at once although the guest is down, so only the server's own
`SSH-2.0-` line proves anything (facts: provisioners 3). A silent connection may be either of two things: a SYN that
the guest's network lost (a fresh connection gets through sooner) or a busy guest (staying is better, an emulated
one may take half a minute). So we stay, and knock again beside it: a few connections at a time, the first that
is greeted wins.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable

from aibemu.clock import Deadline

# Seconds: after a refusal or a close; between two silent connections; how long a silent one is kept (x slowness).
AFTER_CLOSE = 0.25
AFTER_SILENCE = 2.0
PATIENCE = 10.0
# Few, for sshd counts unauthenticated connections (MaxStartups, PerSourcePenalties).
MOST = 3
_PEEK = 8192


def wait_for_banner(host: str, port: int, *, deadline: Deadline, alive: Callable[[], None]) -> str:
    """The server's identification, e.g. `SSH-2.0-OpenSSH_9.2p1`; raises what `alive` and `deadline` raise."""
    connection, banner = open_greeted(host, port, deadline=deadline, alive=alive)
    connection.close()
    return banner


def open_greeted(host: str, port: int, *, deadline: Deadline, alive: Callable[[], None]) -> tuple[socket.socket, str]:
    """A connection whose server has greeted, with the greeting still unread in it, and the greeting."""
    knocker = _Knocker(host, port, deadline)
    try:
        while True:
            deadline.check()
            alive()
            if answer := knocker.step():
                return answer
    finally:
        knocker.close()


class _Knocker:
    """Some connections to one server, none of them greeted yet."""

    def __init__(self, host: str, port: int, deadline: Deadline) -> None:
        self.host = host
        self.port = port
        self.deadline = deadline
        self.selector = selectors.DefaultSelector()
        self.until: dict[socket.socket, float] = {}
        self.next_at = 0.0

    def step(self) -> tuple[socket.socket, str] | None:
        """Knock if it is time to, then listen for a moment (0.2 s at most)."""
        now = self.deadline.clock.monotonic()
        for connection, until in list(self.until.items()):
            if now >= until:
                self._drop(connection)
        if len(self.until) < MOST and (now >= self.next_at or not self.until):
            self._knock()
        if not self.until:
            self.deadline.sleep(AFTER_CLOSE)
            return None
        return self._listen()

    def _listen(self) -> tuple[socket.socket, str] | None:
        half = False
        for key, _ in self.selector.select(min(0.2, self.deadline.remaining())):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            try:
                heard = connection.recv(_PEEK, socket.MSG_PEEK)
            except OSError:
                heard = b""
            if banner := find_banner(heard):
                self._forget(connection)
                connection.setblocking(True)
                return connection, banner
            if not heard or len(heard) >= _PEEK:
                self._drop(connection)
            else:
                half = True
        if not self.until:
            self.deadline.sleep(AFTER_CLOSE)
        elif half:  # what was peeked stays readable: do not spin
            self.deadline.sleep(0.05)
        return None

    def close(self) -> None:
        for connection in list(self.until):
            self._drop(connection)
        self.selector.close()

    def _knock(self) -> None:
        clock = self.deadline.clock
        connection = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_STREAM)
        connection.settimeout(2.0)
        try:
            connection.connect((self.host, self.port))
        except OSError:
            connection.close()
            return
        connection.setblocking(False)
        # Without it each new channel costs 44 ms instead of 6 (facts: provisioners 3.1).
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.selector.register(connection, selectors.EVENT_READ)
        self.until[connection] = clock.monotonic() + PATIENCE * self.deadline.slowness
        self.next_at = clock.monotonic() + AFTER_SILENCE

    def _forget(self, connection: socket.socket) -> None:
        self.selector.unregister(connection)
        del self.until[connection]

    def _drop(self, connection: socket.socket) -> None:
        self._forget(connection)
        connection.close()


def find_banner(heard: bytes) -> str | None:
    """The identification line in what a server said first; other lines may come before it (RFC 4253, 4.2)."""
    for line in heard.split(b"\n")[:-1]:
        if line.startswith((b"SSH-2.0-", b"SSH-1.99-")):
            return line.decode("ascii", errors="replace").rstrip()
    return None
