"""Whether a guest is still there while a command of its runs: a question again and again, which every server answers.

A connection through QEMU's user network lives on when the guest's network is down, and a command that says nothing may
only be busy: what tells the two apart is whether the server answers.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from aibemu.clock import Clock

if TYPE_CHECKING:
    from aibemu.communicators.ssh.transport import GuestTransport

# Seconds between an answer and the next question.
EVERY = 5.0
# OpenSSH knows it from its own clients; any server refuses what it does not know, which is an answer too.
QUESTION = "keepalive@openssh.com"


class Pulse:
    """Asks as long as the connection lasts, in a thread of its own: nothing bounds how long an answer may take."""

    def __init__(self, transport: GuestTransport, clock: Clock) -> None:
        self._transport, self._clock = transport, clock
        self._answered = clock.monotonic()
        self._asked = False
        threading.Thread(target=self._ask, name="ssh-pulse", daemon=True).start()

    def silence(self) -> float:
        """Seconds since the last sign of life; 0.0 while nothing is asked."""
        return max(0.0, self._clock.monotonic() - self._answered) if self._asked else 0.0

    def _ask(self) -> None:
        from paramiko import SSHException

        never = threading.Event()
        while self._transport.is_active():
            self._answered, self._asked = self._clock.monotonic(), True
            try:
                self._transport.global_request(QUESTION, wait=True)
            except (SSHException, EOFError, OSError):
                return
            self._asked = not self._transport.is_active()
            self._clock.wait(never, EVERY)
