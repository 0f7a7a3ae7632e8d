"""One handshake and one login, and what it means when they fail: wait, it may yet come, or never.

This module imports paramiko (0.25 s): import it only where a connection is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from paramiko import AuthenticationException, PKey
from paramiko.ssh_exception import BadAuthenticationType, IncompatiblePeer, PartialAuthentication

from aibemu.communicators import LoginHopeless

if TYPE_CHECKING:
    from aibemu.communicators.ssh.transport import GuestTransport

# What pam_nologin says while a guest boots or goes down.
_FOR_NOW = re.compile(r"system is (?:booting|going down|being shut)|not permitted to log in yet|nologin", re.IGNORECASE)
# What paramiko calls a connection that broke off while it waited for the answer: that says nothing of the key.
_BROKE_OFF = ("EOF", "timeout", "timed out", "not open")
LONGEST_WORDS = 300


class LoginRefused(Exception):
    """The server answered, and did not let in; str() is its answer, in a sentence."""

    def __init__(self, answer: str, *, for_now: bool, about_user: bool) -> None:
        """for_now: see `aibemu.communicators.Refusal`. about_user: it is about who wants to log in."""
        super().__init__(answer)
        self.for_now = for_now
        self.about_user = about_user


def log_in(
    transport: GuestTransport, user: str, key: PKey, *, patience: float, check_host_key: Callable[[PKey], None]
) -> PKey:
    """Shake hands, have the host key checked, log in by `key`; the host key.

    Raises `LoginRefused`, `LoginHopeless`, what `check_host_key` raises, and for what may be another time SSHException,
    EOFError or OSError.
    """
    try:
        transport.start_client(timeout=patience)
    except IncompatiblePeer as error:
        raise incompatible(transport, error) from error
    host_key = transport.get_remote_server_key()
    check_host_key(host_key)
    try:
        more = transport.auth_publickey(user, key)
    except AuthenticationException as error:
        raise _refused(transport, user, error) from error
    if not transport.is_authenticated():
        raise _refused(transport, user, PartialAuthentication(more))
    return host_key


def incompatible(transport: GuestTransport, error: IncompatiblePeer) -> LoginHopeless:
    """Two sides that have nothing in common, with what each has."""
    missing = transport.missing()
    if missing is None:
        return LoginHopeless(f"the guest's SSH server cannot be talked to: {error}")
    title, setting, theirs, ours = missing
    return LoginHopeless(
        f"the guest's SSH server and aibemu have no {title} in common, so nobody can log in",
        details=[f"the server offers: {_listed(theirs)}", f"aibemu knows: {_listed(ours)}"],
        hint=f"let sshd of the image also offer one that aibemu knows: {setting} in /etc/ssh/sshd_config, or the "
        "system's crypto policy",
    )


def _refused(transport: GuestTransport, user: str, error: AuthenticationException) -> LoginRefused:
    said = " ".join((transport.get_banner() or b"").decode("utf-8", "replace").split())[:LONGEST_WORDS]
    answer = f"the guest refused the login of {user}: {_reason(error)}{f' (it says: {said})' if said else ''}"
    broke_off = any(words in str(error) for words in _BROKE_OFF)
    return LoginRefused(answer, for_now=bool(_FOR_NOW.search(said)), about_user=bool(said) or not broke_off)


def _reason(error: AuthenticationException) -> str:
    if isinstance(error, PartialAuthentication):
        return f"it wants more than a key: {', '.join(error.allowed_types)}"
    if isinstance(error, BadAuthenticationType):
        return f"it takes no keys, only: {', '.join(error.allowed_types)}"
    return str(error)


def _listed(names: object) -> str:
    return ", ".join(map(str, names))[: 2 * LONGEST_WORDS] if isinstance(names, list | tuple) and names else "nothing"
