"""Free ports on 127.0.0.1. Free now is not free in a moment: the machine tries again when QEMU finds one taken."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence

LOOPBACK = "127.0.0.1"


def choose_ports(guest_ports: Sequence[int]) -> dict[int, int]:
    """A free port of the host for each of the guest's, all different. `OSError` when the loopback cannot be bound."""
    with contextlib.ExitStack() as held:
        chosen = {}
        for guest in guest_ports:
            listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.bind((LOOPBACK, 0))
            chosen[guest] = int(listener.getsockname()[1])
        return chosen
