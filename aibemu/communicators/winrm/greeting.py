"""Waiting for a guest's WinRM service to answer, without logging in: how it calls itself, and which logins it takes.

QEMU's port forwarding accepts a TCP connection at once although the guest is down, and Windows' HTTP server answers
before the WinRM service is there (404, 503): only an answer of the service itself proves that it is. A connection that
says nothing may be a SYN that was lost or a busy guest: we stay, and knock again beside it.
"""

from __future__ import annotations

import hashlib
import http.client
import queue
import re
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from aibemu.clock import Deadline
from aibemu.communicators.supervising import LOOK

# Seconds: after an answer that is none; between two silent knocks; how long a silent one is waited for (x slowness).
AFTER_ANSWER = 0.25
AFTER_SILENCE = 2.0
PATIENCE = 10.0
MOST = 3
_HEAD = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What the service says to somebody who has not logged in."""

    # How it calls itself: `Microsoft-HTTPAPI/2.0`.
    server: str
    # Ways to log in, as it names them, in lower case.
    methods: tuple[str, ...]
    # SHA-256 of its certificate (DER), in hexadecimal.
    certificate: str


class NotYet(Exception):
    """No answer of the service; str() is what came instead."""


def await_greeting(
    host: str, port: int, *, deadline: Deadline, alive: Callable[[], None], heard: Callable[[str], None]
) -> Greeting:
    """Wait for it. heard: gets what came instead, each time. Raises what `alive` and `deadline` raise."""
    patience = PATIENCE * deadline.slowness
    answers: queue.SimpleQueue[Greeting | str] = queue.SimpleQueue()
    knocking, next_at = 0, 0.0
    while True:
        deadline.check()
        alive()
        now = deadline.clock.monotonic()
        if knocking < MOST and (now >= next_at or not knocking):
            knocking, next_at = knocking + 1, now + AFTER_SILENCE
            threading.Thread(
                target=_knock, args=(host, port, patience, answers.put), name="winrm-knock", daemon=True
            ).start()  # fmt: skip
        try:
            answer = answers.get(timeout=min(LOOK, deadline.remaining()))
        except queue.Empty:
            continue
        if isinstance(answer, Greeting):
            return answer
        knocking -= 1
        heard(answer)
        deadline.sleep(AFTER_ANSWER)


def _knock(host: str, port: int, patience: float, tell: Callable[[Greeting | str], None]) -> None:
    try:
        tell(ask(host, port, patience))
    except NotYet as error:
        tell(str(error))
    except (OSError, http.client.HTTPException, ValueError) as error:
        tell(_words(error))


def ask(host: str, port: int, patience: float) -> Greeting:
    """Ask once. `NotYet`, OSError or HTTPException when it is not there."""
    # Whose certificate it is, is looked at by whoever logs in; nothing secret is sent here.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, port, timeout=patience, context=context)
    try:
        connection.request("POST", "/wsman", headers={"Content-Length": "0", "User-Agent": "aibemu"})
        shown = connection.sock.getpeercert(True) or b""
        answer = connection.getresponse()
        if answer.status != 401:
            raise NotYet(f"its WinRM service is not ready (HTTP status {answer.status})")
        offered = ", ".join(answer.headers.get_all("WWW-Authenticate") or [])[:_HEAD]
        return Greeting(
            server=" ".join((answer.headers.get("Server") or "").split())[:200],
            methods=tuple(sorted({name.lower() for name in re.findall(r"(?:^|,\s*)([A-Za-z]+)", offered)})),
            certificate=hashlib.sha256(shown).hexdigest(),
        )
    finally:
        with suppress(OSError):
            connection.close()


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, ssl.SSLEOFError | ConnectionResetError | http.client.RemoteDisconnected):
        return "the connection is closed at once"
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
