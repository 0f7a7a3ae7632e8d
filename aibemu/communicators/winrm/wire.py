"""One HTTP session with the guest's WinRM service, for one thread at a time: requests of WinRS, by pywinrm.

Requests are built and sent by pywinrm; what it takes from the environment of this process (proxies, certificates,
.netrc) is switched off, answers have a bound, and only the server with the pinned certificate is talked to. Whatever
goes wrong is a `Trouble`.

This module imports winrm and requests (0.5 s): import it only where a connection is made.
"""

from __future__ import annotations

import base64
import binascii
import re
import socket
import struct
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import requests
import urllib3
import xmltodict
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from winrm.exceptions import (
    InvalidCredentialsError,
    WinRMOperationTimeoutError,
    WinRMTransportError,
    WSManFaultError,
)
from winrm.protocol import Protocol

from aibemu.communicators import Stream
from aibemu.communicators.winrm.trouble import Broken, Fault, Refused, Silent, Trouble, of_fault, of_status, words_of

Method = Literal["ntlm", "basic"]
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
CODE_PAGE = 65001  # UTF-8
# Bytes of an answer that are asked for, as the server's own default bound, and those that are read at all.
ENVELOPE = 500 * 1024
LARGEST_ANSWER = 16 * ENVELOPE
_PIECE = 64 * 1024
# What any library below may raise for an answer of a server that means harm, or is none of WinRM's.
_NO_ANSWER = (
    ET.ParseError, binascii.Error, struct.error, ValueError, LookupError, AttributeError, TypeError, StopIteration,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An answer to Receive."""

    # In the order of the answer.
    pieces: tuple[tuple[Stream, bytes], ...]
    # The command's, as an unsigned number of 32 bits, once it is over.
    exit_code: int | None


class Wire:
    """Logs in with the first request, and again whenever the server has closed the connection.

    patience: seconds that the server may take for an answer beyond what it was asked to wait.
    """

    def __init__(
        self,
        host: str,
        port: int,
        user: str,
        password: str,
        *,
        method: Method,
        certificate: str,
        operation: int,
        patience: float,
    ) -> None:
        self._protocol = Protocol(
            f"https://{f'[{host}]' if ':' in host else host}:{port}/wsman", transport=method, username=user,
            password=password, server_cert_validation="ignore", operation_timeout_sec=operation,
            read_timeout_sec=operation + 1, proxy=None,
        )  # fmt: skip
        self._operation = operation
        self._closed = False
        self._adapter = _GuestAdapter(certificate)
        session = self._protocol.transport.build_session()
        session.trust_env, session.max_redirects = False, 0
        session.proxies = {}
        session.headers["Accept-Encoding"] = "identity"
        session.mount("https://", self._adapter)
        self.patience = patience

    def open_shell(self) -> str:
        """The id of a new shell."""
        with self._asking():
            return self._protocol.open_shell(codepage=CODE_PAGE)

    def start(self, shell: str, command: str, *, piped: bool) -> str:
        """Start a command, by cmd.exe; its id. piped: its input is data, not what a person types."""
        with self._asking():
            return self._protocol.run_command(shell, command, console_mode_stdin=not piped)

    def send(self, shell: str, command: str, data: bytes, *, end: bool) -> None:
        """Give a command input."""
        with self._asking():
            self._protocol.send_command_input(shell, command, data, end=end)

    def receive(self, shell: str, command: str) -> Received:
        """What a command has said; `Silent` when it said nothing for `operation` seconds."""
        header = self._protocol.build_wsman_header(f"{SHELL}/Receive", f"{SHELL}/cmd", shell)
        header["env:Header"]["w:MaxEnvelopeSize"]["#text"] = str(ENVELOPE)
        wanted = {"@CommandId": command, "#text": "stdout stderr"}
        header["env:Body"] = {"rsp:Receive": {"rsp:DesiredStream": wanted}}
        with self._asking(self._operation):
            answer = self._protocol.send_message(xmltodict.unparse({"env:Envelope": header}))
            return _received(ET.fromstring(answer))  # noqa: S314 - expat bounds what entities may grow to

    def terminate(self, shell: str, command: str) -> None:
        """End a command, or tell the server that all of it was read."""
        with self._asking(), suppress(AssertionError):
            self._protocol.cleanup_command(shell, command)

    def delete(self, shell: str) -> None:
        """End a shell and what runs in it."""
        with self._asking(), suppress(AssertionError):
            self._protocol.close_shell(shell, close_session=False)

    def abort(self) -> None:
        """Break the connection off, from another thread: who waits for an answer gets `Broken`. The next request makes
        a new one."""
        self._adapter.hang_up()

    def close(self) -> None:
        """Hang up for good. The session stays: pywinrm would make another, that trusts any certificate."""
        self._closed = True
        self._adapter.hang_up()
        self._adapter.close()

    @contextmanager
    def _asking(self, more: float = 0.0) -> Iterator[None]:
        """more: seconds that the server is asked to wait."""
        seconds: Any = (self.patience, self.patience + more)  # requests takes a pair: to connect, to read
        self._protocol.transport.read_timeout_sec = seconds
        if self._closed:
            raise Broken("the connection is closed")
        try:
            yield
        except Trouble:
            raise
        except Exception as error:
            raise trouble_of(error) from error


def trouble_of(error: Exception) -> Trouble:
    """What an exception of the libraries means."""
    if isinstance(error, WinRMOperationTimeoutError):
        return Silent(words_of(str(error)))
    if isinstance(error, WSManFaultError):
        return of_fault(error.wsman_fault_code or error.wmierror_code, error.fault_subcode or "", error.reason)
    if isinstance(error, WinRMTransportError):
        return of_status(error.code)
    if isinstance(error, InvalidCredentialsError | PermissionError):
        return Refused("HTTP status 401")
    if isinstance(error, requests.TooManyRedirects):
        return Fault("it answers with a redirection")
    # urllib3's come from bodies, which are read without requests.
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return Broken("it does not answer")
    if isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError | OSError):
        return Broken(_innermost(error))
    if type(error).__module__.partition(".")[0] == "spnego":
        return Refused(f"the exchange of NTLM failed: {words_of(str(error))}")
    if isinstance(error, _NO_ANSWER):
        return Fault("its answer is none of WinRM's")
    raise error


def _innermost(error: BaseException) -> str:
    """The cause of an exception of requests, without addresses of objects."""
    while True:
        inner = getattr(error, "reason", None)
        inner = inner if isinstance(inner, BaseException) else error.args[-1] if error.args else None
        if not isinstance(inner, BaseException):
            return words_of(getattr(error, "strerror", None) or str(error) or type(error).__name__)
        error = inner


def _received(root: ET.Element) -> Received:
    pieces = []
    for node in root.iter(f"{{{SHELL}}}Stream"):
        if node.text and node.get("Name") in ("stdout", "stderr"):
            pieces.append((Stream(node.attrib["Name"]), base64.b64decode(node.text)))
    code = None
    for state in root.iter(f"{{{SHELL}}}CommandState"):
        if state.get("State", "").endswith("/CommandState/Done"):
            code = int(state.findtext(f"{{{SHELL}}}ExitCode") or 0) & 0xFFFFFFFF
    if not pieces and code is None and root.find(f".//{{{SHELL}}}ReceiveResponse") is None:
        raise ValueError("no answer to Receive")
    return Received(pieces=tuple(pieces), exit_code=code)


class _GuestAdapter(HTTPAdapter):
    """Connections to the one server with this certificate (SHA-256; "" for any); answers with a bound."""

    def __init__(self, certificate: str) -> None:
        self._certificate = certificate
        self._lock = threading.Lock()
        self._open: list[Any] = []
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        if self._certificate:  # looked at before a byte is sent
            options["assert_fingerprint"] = self._certificate
        super().init_poolmanager(1, 1, block=False, **options)

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = self._connection
        return pool

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        """Read the answer, as far as its bound allows."""
        answer = super().send(request, **options | {"stream": True})
        length, chunked = answer.headers.get("Content-Length", ""), "Transfer-Encoding" in answer.headers
        if answer.status_code == 401 and not chunked and re.fullmatch("[0-9]{1,5}", length) and int(length) <= _PIECE:
            return answer  # the handshake of NTLM looks for the certificate in the open connection
        body = bytearray()
        while piece := answer.raw.read(_PIECE, decode_content=False):
            body += piece
            if len(body) > LARGEST_ANSWER:
                answer.close()
                raise Fault(f"its answer has more than {LARGEST_ANSWER} bytes")
        answer._content = bytes(body)
        answer._content_consumed = True  # type: ignore[attr-defined]
        return answer

    def hang_up(self) -> None:
        with self._lock:
            connections, self._open = self._open, []
        for connection in connections:
            opened = getattr(connection, "sock", None)
            if opened is not None:
                with suppress(OSError, ValueError):  # the method of plain sockets: that of TLS would touch its state
                    socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def _connection(self, *args: Any, **options: Any) -> HTTPSConnection:
        made = HTTPSConnection(*args, **options)
        with self._lock:
            self._open = [known for known in self._open if getattr(known, "sock", None) is not None]
            self._open.append(made)
        return made
