"""paramiko's transport with what aibemu needs besides: AES-GCM first, exit signals, the order of arrival, and key
exchange methods and MACs that OpenSSH offers alone when it is hardened.

paramiko keeps standard output and standard error in two buffers and throws away by which signal a command ended.
`GuestTransport` watches the messages of a channel on their way in: a `Watch` holds what came, in its order.
This module imports paramiko (0.25 s): import it only where a connection is made.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import paramiko
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA, MSG_CHANNEL_REQUEST

from aibemu.communicators import Stream

# Bytes the guest may send before we have read them. The default 2 MiB stalls on fast output.
WINDOW = 8 * 1024 * 1024
KEEPALIVE_SECONDS = 5

_GCM = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
# One that paramiko knows; with AES-GCM it is agreed on and not used.
_ANY_MAC = "hmac-sha2-256"
_Handler = Callable[[paramiko.Channel, paramiko.Message], None]
# Methods that paramiko has under another name only: what a server offers -> what paramiko calls it.
_KEX_ALIASES = {"curve25519-sha256": "curve25519-sha256@libssh.org"}
# What two sides must have in common: what people call it, the setting of sshd, paramiko's names for what each offers.
COMMON = (
    ("key exchange method", "KexAlgorithms", "kex_algo_list", "preferred_kex"),
    ("host key algorithm", "HostKeyAlgorithms", "server_key_algo_list", "preferred_keys"),
    ("cipher", "Ciphers", "server_encrypt_algo_list", "preferred_ciphers"),
    ("MAC", "MACs", "server_mac_algo_list", "preferred_macs"),
)


class Watch:
    """What arrived on one channel: `(stream, byte count)` in order, a signal's name; `activity` after each message."""

    def __init__(self) -> None:
        self.arrivals: deque[tuple[Stream, int]] = deque()
        self.signal: str | None = None
        self.activity = threading.Event()


def _watched(kind: int, handler: _Handler) -> _Handler:
    def handle(channel: paramiko.Channel, message: paramiko.Message) -> None:
        transport = channel.get_transport()
        watch = transport.watches.get(channel.get_id()) if isinstance(transport, GuestTransport) else None
        if watch is None:
            handler(channel, message)
            return
        start = message.packet.tell()
        arrival = _read_arrival(kind, message, watch)
        message.packet.seek(start)
        handler(channel, message)
        if arrival is not None:  # only now is it in the channel's buffer
            watch.arrivals.append(arrival)
        elif watch.signal is not None:
            channel.status_event.set()
        watch.activity.set()

    return handle


def _read_arrival(kind: int, message: paramiko.Message, watch: Watch) -> tuple[Stream, int] | None:
    if kind == MSG_CHANNEL_DATA:
        return Stream.STDOUT, message.get_int()
    if kind == MSG_CHANNEL_EXTENDED_DATA:
        return (Stream.STDERR, message.get_int()) if message.get_int() == 1 else None
    if kind == MSG_CHANNEL_REQUEST and message.get_text() == "exit-signal":
        message.get_boolean()
        watch.signal = message.get_text()
    return None


def _kex_of(known: Mapping[str, Any]) -> dict[str, Any]:
    """paramiko's key exchange methods, also under their other names."""
    return {**known, **{alias: known[name] for alias, name in _KEX_ALIASES.items() if name in known}}


class GuestTransport(paramiko.Transport):
    """A connection to one guest. `watches` maps channel numbers to their `Watch`."""

    _kex_info = _kex_of(paramiko.Transport._kex_info)  # type: ignore[attr-defined]
    _preferred_kex = (
        *(alias for alias, name in _KEX_ALIASES.items() if name in paramiko.Transport._kex_info),  # type: ignore[attr-defined]
        *paramiko.Transport._preferred_kex,  # type: ignore[attr-defined]
    )

    # GCM comes last in paramiko's own order and is twice as fast (facts: provisioners 3.1).
    _preferred_ciphers = _GCM + tuple(
        name
        for name in paramiko.Transport._preferred_ciphers  # type: ignore[attr-defined]
        if name not in _GCM
    )
    _channel_handler_table = {  # noqa: RUF012 - the name and shape are paramiko's
        kind: _watched(kind, handler)
        for kind, handler in paramiko.Transport._channel_handler_table.items()  # type: ignore[attr-defined]
    }

    def __init__(self, sock: socket.socket, *, patience: float) -> None:
        """patience: seconds for the handshake and for the answer to a login."""
        # Without a handler Python would write paramiko's complaints, tracebacks and all, to standard error.
        logger = logging.getLogger("paramiko")
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
        self.watches: dict[int, Watch] = {}
        # What the server offered, by the names of `COMMON`.
        self.offered: Mapping[str, Sequence[str]] = {}
        super().__init__(sock, default_window_size=WINDOW)
        self.banner_timeout: float = patience
        self.handshake_timeout: float = patience
        self.auth_timeout: float = patience

    def missing(self) -> tuple[str, str, Sequence[str], Sequence[str]] | None:
        """What the server and this side have not in common: what people call it, sshd's setting, what the server
        offers, what this side knows. None when it is nothing of that, or the server said nothing yet."""
        for title, setting, offered, ours in COMMON:
            theirs, known = self.offered.get(offered), tuple(getattr(self, ours))
            if theirs is not None and not set(theirs) & set(known):
                return title, setting, theirs, known
        return None

    def _really_parse_kex_init(self, m: paramiko.Message, ignore_first_byte: bool = False) -> dict[str, Any]:
        """Keep what the server offers; and where both sides will take AES-GCM, which brings its own integrity, let no
        missing MAC be in the way: OpenSSH does not mind, either."""
        parsed: dict[str, Any] = super()._really_parse_kex_init(m, ignore_first_byte)  # type: ignore[misc]
        for way in ("client", "server"):
            ciphers = parsed[f"{way}_encrypt_algo_list"]
            chosen = next((name for name in self.preferred_ciphers if name in ciphers), "")
            if chosen in _GCM:
                macs = parsed[f"{way}_mac_algo_list"]
                parsed[f"{way}_mac_algo_list"] = [*macs, *(() if set(macs) & set(self.preferred_macs) else (_ANY_MAC,))]
        self.offered = {offered: list(parsed[offered]) for _, _, offered, _ in COMMON}
        return parsed

    def run(self) -> None:
        try:
            super().run()
        finally:
            for watch in list(self.watches.values()):
                watch.activity.set()


def load_key(path: Any) -> paramiko.PKey:
    """The private key in a file of any of the usual formats; raises OSError, ValueError or paramiko's exceptions."""
    return paramiko.PKey.from_path(path)
