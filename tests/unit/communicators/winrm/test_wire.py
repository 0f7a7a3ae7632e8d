"""A guest that means harm, or has something else on its port: whatever it answers is one clear word, in little room."""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aibemu.communicators.winrm.greeting import NotYet, ask
from aibemu.communicators.winrm.trouble import Broken, Busy, Fault, Gone, Quota, Refused, Silent, TooLarge, of_fault
from aibemu.communicators.winrm.wire import LARGEST_ANSWER, Wire
from fixtures.guests.winrm.certificate import Certificate, make_certificate

SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
Answer = tuple[int, dict[str, str], bytes]


class Odd:
    """An HTTPS server that gives one answer to whatever is asked, and notes what that was."""

    def __init__(self, certificate: Certificate) -> None:
        self.answer: Answer = (200, {}, b"")
        self.asked: list[tuple[str, str]] = []
        odd = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                odd.asked.append((self.path, self.headers.get("Authorization", "")))
                status, headers, body = odd.answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    for at in range(0, len(body), 1 << 20):
                        self.wfile.write(body[at : at + (1 << 20)])
                except OSError:
                    self.close_connection = True

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                """Nothing to anybody."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


@pytest.fixture
def odd(certificate: Certificate) -> Iterator[Odd]:
    made = Odd(certificate)
    yield made
    made.server.shutdown()
    made.server.server_close()


def wire_to(odd: Odd, certificate: str, method: Any = "basic") -> Wire:
    return Wire(
        "127.0.0.1", odd.port, "packer", "secret", method=method, certificate=certificate, operation=1, patience=10.0
    )


@pytest.fixture
def wire(odd: Odd, certificate: Certificate) -> Iterator[Wire]:
    made = wire_to(odd, certificate.sha256)
    yield made
    made.close()


BOMB = b"<!DOCTYPE a [<!ENTITY a '" + b"x" * 1000 + b"'>" + b"".join(
    b"<!ENTITY %c '%s'>" % (97 + at, b"&%c;" % (96 + at) * 20) for at in range(1, 10)
) + b"]><a>&j;</a>"  # fmt: skip


@pytest.mark.parametrize(
    "body", [b"", b"<html>hello</html>", b"\0" * 100, b"<a>" * 5000, BOMB, b"<?xml version='1.0'?>", b"{}"],
    ids=["empty", "page", "zeros", "deep", "bomb", "half", "json"],
)  # fmt: skip
def test_an_answer_that_is_none_is_a_fault(odd: Odd, wire: Wire, body: bytes) -> None:
    odd.answer = (200, {}, body)
    for act in (wire.open_shell, lambda: wire.receive("S", "C"), lambda: wire.start("S", "x", piped=True)):
        with pytest.raises(Fault, match="none of WinRM's"):
            act()


def test_output_that_is_no_base64_is_a_fault(odd: Odd, wire: Wire) -> None:
    stream = '<r:Stream Name="stdout">a</r:Stream>'
    odd.answer = (200, {}, f'<r:ReceiveResponse xmlns:r="{SHELL}">{stream}</r:ReceiveResponse>'.encode())
    with pytest.raises(Fault):
        wire.receive("S", "C")


def test_an_answer_without_end_is_cut_off(odd: Odd, wire: Wire) -> None:
    odd.answer = (200, {}, b"x" * (LARGEST_ANSWER + (2 << 20)))
    with pytest.raises(Fault, match=f"more than {LARGEST_ANSWER} bytes"):
        wire.open_shell()


def test_a_refusal_without_end_is_cut_off(odd: Odd, wire: Wire) -> None:
    """Whatever its Content-Length says: chunks count."""
    pieces = (b"100000\r\n" + b"x" * (1 << 20) + b"\r\n") * ((LARGEST_ANSWER >> 20) + 2)
    odd.answer = (401, {"Connection": "close", "Transfer-Encoding": "chunked", "Content-Length": "0"}, pieces)
    with pytest.raises(Fault, match="more than"):
        wire.open_shell()


@pytest.mark.parametrize(
    "headers", [{"Content-Length": "753"}, {"Content-Length": "0", "Transfer-Encoding": "chunked"}]
)
def test_a_connection_that_ends_in_an_answer_is_broken(odd: Odd, wire: Wire, headers: dict[str, str]) -> None:
    odd.answer = (200, {"Connection": "close", **headers}, b"20\r\n<s:Envelope")
    with pytest.raises(Broken):
        wire.send("S", "C", b"input", end=True)


def test_an_answer_that_stands_still_is_broken(odd: Odd, certificate: Certificate) -> None:
    odd.answer = (200, {"Content-Length": "753"}, b"<s:Envelope")
    made = Wire(
        "127.0.0.1", odd.port, "packer", "s", method="basic", certificate=certificate.sha256, operation=1, patience=0.5
    )
    with pytest.raises(Broken, match="does not answer"):
        made.send("S", "C", b"input", end=True)
    made.close()


def test_what_is_compressed_is_not_unpacked(odd: Odd, wire: Wire) -> None:
    odd.answer = (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b" + b"\0" * 50)
    with pytest.raises(Fault):
        wire.open_shell()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nobody_is_led_elsewhere(odd: Odd, wire: Wire, status: int) -> None:
    odd.answer = (status, {"Location": f"https://127.0.0.1:{odd.port}/elsewhere"}, b"")
    with pytest.raises(Fault, match="redirection"):
        wire.open_shell()
    assert [path for path, _ in odd.asked] == ["/wsman"]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Refused), (404, Busy), (503, Busy), (413, TooLarge), (500, Fault), (418, Fault)]
)
def test_a_status_alone_says_enough(odd: Odd, wire: Wire, status: int, kind: type[Exception]) -> None:
    odd.answer = (status, {}, b"")
    with pytest.raises(kind):
        wire.open_shell()


@pytest.mark.parametrize(
    "offered", ["", "Basic realm=x", "Negotiate", "NTLM", "Negotiate AAAA", "NTLM !!!", "NTLM " + "A" * 400]
)
def test_a_handshake_that_makes_no_sense_is_a_refusal(odd: Odd, certificate: Certificate, offered: str) -> None:
    odd.answer = (401, {"WWW-Authenticate": offered} if offered else {}, b"")
    wire = wire_to(odd, certificate.sha256, "ntlm")
    with pytest.raises((Refused, Fault)):
        wire.open_shell()
    assert not any("secret" in asked or base64.b64encode(b"packer:secret").decode() in asked for _, asked in odd.asked)
    wire.close()


def test_a_server_with_another_certificate_hears_nothing(odd: Odd) -> None:
    wire = wire_to(odd, "0" * 64)
    with pytest.raises(Broken):
        wire.open_shell()
    assert odd.asked == []


def test_a_wire_that_is_closed_asks_nobody(odd: Odd, wire: Wire) -> None:
    wire.close()
    with pytest.raises(Broken, match="closed"):
        wire.open_shell()
    assert odd.asked == []


def test_an_aborted_wire_makes_a_new_connection(odd: Odd, wire: Wire) -> None:
    odd.answer = (503, {}, b"")
    for _ in range(2):
        with pytest.raises(Busy):
            wire.open_shell()
        wire.abort()


@pytest.mark.parametrize("status", [200, 404, 503])
def test_only_a_question_for_credentials_is_a_greeting(odd: Odd, status: int) -> None:
    odd.answer = (status, {}, b"")
    with pytest.raises(NotYet, match=f"HTTP status {status}"):
        ask("127.0.0.1", odd.port, 5.0)


def test_a_greeting_says_what_is_offered_and_by_whom(odd: Odd, certificate: Certificate) -> None:
    odd.answer = (401, {"Server": "Microsoft-HTTPAPI/2.0", "WWW-Authenticate": 'Negotiate, Basic realm="a, b"'}, b"")
    greeting = ask("127.0.0.1", odd.port, 5.0)
    assert (
        greeting.certificate == certificate.sha256 and "negotiate" in greeting.methods and "basic" in greeting.methods
    )


@pytest.mark.parametrize(
    ("code", "subcode", "kind"),
    [
        (2150858793, "w:TimedOut", Silent), (2150858843, "w:InvalidSelectors", Gone), (2150859173, "", Quota),
        (2150859174, "", Quota), (2150859179, "", Quota), (None, "w:QuotaLimit", Quota), (5, "w:AccessDenied", Refused),
        (2147942405, "", Refused), (995, "w:InternalError", Broken), (2150858766, "", Fault), (None, "", Fault),
    ],
)  # fmt: skip
def test_faults_have_kinds(code: int | None, subcode: str, kind: type[Exception]) -> None:
    trouble = of_fault(code, subcode, "The  reason \r\n is this. ")
    assert type(trouble) is kind and "The reason is this." in str(trouble)
