"""HTTP for a guest that is not trusted: what it may get wrong, and that the next request is answered all the same."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aibemu.clock import SystemClock
from aibemu.fabric.http import Reply, Request, text_reply
from aibemu.fabric.journal import Journal
from aibemu.fabric.peers import Address
from aibemu.fabric.server import CONNECTIONS, LARGEST_BODY, Listener, listen

PLAIN = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Echo:
    """Says what it was asked."""

    name, banner = "echo", "Echo/1"

    def handle(self, request: Request) -> Reply:
        if request.path == "/nonsense":
            raise ValueError("nonsense")
        if request.path == "/bug":
            raise RuntimeError("a bug")
        if request.path == "/secret":
            return Reply(status=200, body=b'{"token":"hush-hush"}', secrets=("hush-hush",))
        body = request.body
        return text_reply(200, f"{request.method} {request.path} {request.query} {len(body)} {body[:9]!r}")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "journal.ndjson"


@pytest.fixture
def echo(journal: Path) -> Iterator[Listener]:
    book = Journal(journal, SystemClock(), ["known-secret"])
    listener = listen(Echo(), book, SystemClock(), lambda client, server: True)
    yield listener
    listener.close()
    book.close()


def talk(listener: Listener, data: bytes, *, finish: bool = True) -> bytes:
    """All that comes back."""
    with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as connection:
        connection.sendall(data)
        if finish:
            connection.shutdown(socket.SHUT_WR)
        heard = b""
        while piece := connection.recv(65536):
            heard += piece
    return heard


def status(heard: bytes) -> int:
    return int(heard.split()[1])


def entries(journal: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in journal.read_text().splitlines()]


def test_a_request_is_answered_and_recorded(echo: Listener, journal: Path) -> None:
    heard = talk(echo, b"POST /a%20b?x=1&y HTTP/1.1\r\nHost: x\r\nUser-Agent: me\r\nContent-Length: 3\r\n\r\nabc")
    assert status(heard) == 200 and b"Server: Echo/1\r\n" in heard
    assert heard.endswith(b"POST /a b {'x': '1', 'y': ''} 3 b'abc'")
    (entry,) = entries(journal)
    assert (entry["service"], entry["method"], entry["target"]) == ("echo", "POST", "/a%20b?x=1&y")
    assert (entry["agent"], entry["body"], entry["status"]) == ("me", "abc", 200)


def test_connections_are_kept_open_for_the_next_request(echo: Listener) -> None:
    first = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
    heard = talk(echo, first + PLAIN)
    assert heard.count(b"HTTP/1.1 200") == 2


def test_no_secret_is_recorded(echo: Listener, journal: Path) -> None:
    assert b"hush-hush" in talk(echo, PLAIN.replace(b"/a", b"/secret"))
    talk(echo, PLAIN.replace(b"/a", b"/?q=known-secret"))
    assert "hush" not in journal.read_text() and "known-secret" not in journal.read_text()
    assert entries(journal)[0]["answer"] == '{"token":"***"}'


CHUNKED = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n", 200),
        (CHUNKED + b"zz\r\n", 400),
        (CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", 400),
        (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
        (CHUNKED + b"3\r\nab", 400),
        (CHUNKED + b"ffffffffff\r\n", 413),
        (CHUNKED + b"0\r\n" + b"T: x\r\n" * 200, 400),
        (b"POST / HTTP/1.1\r\nContent-Length: nine\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (LARGEST_BODY + 1), 413),
        (b"GET /nonsense HTTP/1.1\r\n\r\n", 400),
        (b"GET /bug HTTP/1.1\r\n\r\n", 500),
        (b"BREW / HTTP/1.1\r\n\r\n", 501),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"what is this\r\n\r\n", 400),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + (b"A: " + b"b" * 20000 + b"\r\n") * 4 + b"\r\n", 431),
    ],
)
def test_what_is_wrong_is_said_and_recorded(data: bytes, expected: int, echo: Listener, journal: Path) -> None:
    assert status(talk(echo, data)) == expected
    assert entries(journal)[-1]["status"] == expected
    assert status(talk(echo, PLAIN)) == 200


def test_a_large_body_is_read_but_only_its_beginning_is_kept(echo: Listener, journal: Path) -> None:
    body = b"x" * 2_000_000
    heard = talk(echo, b"PUT /log HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    assert b" 262144 " in heard
    assert journal.stat().st_size < 10_000


def test_a_connection_that_is_not_the_machines_gets_nothing(tmp_path: Path) -> None:
    asked: list[tuple[Address, Address]] = []

    def nobody(client: Address, server: Address) -> bool:
        asked.append((client, server))
        return False

    book = Journal(tmp_path / "j", SystemClock())
    listener = listen(Echo(), book, SystemClock(), nobody)
    try:
        with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as connection:
            own = connection.getsockname()
            try:
                connection.sendall(PLAIN)
                assert connection.recv(10) == b""
            except ConnectionError:
                pass
        assert asked == [(own, ("127.0.0.1", listener.port))]
        assert (tmp_path / "j").read_text() == ""
    finally:
        listener.close()


def test_connections_without_end_cost_no_more_than_their_number(echo: Listener) -> None:
    before = threading.active_count()
    held = [socket.create_connection(("127.0.0.1", echo.port), timeout=10) for _ in range(CONNECTIONS + 40)]
    try:
        for _ in range(100):
            if threading.active_count() - before >= CONNECTIONS:
                break
            threading.Event().wait(0.05)
        assert threading.active_count() - before <= CONNECTIONS + 1
    finally:
        for one in held:
            one.close()
    for _ in range(100):
        if threading.active_count() <= before + 1:
            break
        threading.Event().wait(0.05)
    assert status(talk(echo, PLAIN)) == 200


def test_a_secret_is_masked_before_a_text_is_cut(echo: Listener, journal: Path) -> None:
    body = b"a" * 3995 + b"known-secret"
    talk(echo, b"POST /?q=" + body + b" HTTP/1.1\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
    assert "known" not in journal.read_text()


def test_a_header_made_to_be_slow_to_search_is_not_searched(echo: Listener, journal: Path) -> None:
    before = time.process_time()
    talk(echo, PLAIN.replace(b"Host: x", b"User-Agent: " + b"a." * 30000))
    assert time.process_time() - before < 1
    assert len(str(entries(journal)[0]["agent"])) < 600


def test_the_journal_has_an_end(tmp_path: Path) -> None:
    book = Journal(tmp_path / "j", SystemClock(), largest=1000)
    for _ in range(50):
        book.write("echo", Request(method="GET", target="/"), text_reply(200, "x" * 100), 0.1)
    book.close()
    lines = (tmp_path / "j").read_text().splitlines()
    assert len(lines) < 10 and "setting platform_log_limit" in json.loads(lines[-1])["full"]


def test_a_journal_without_a_bound(tmp_path: Path) -> None:
    book = Journal(tmp_path / "j", SystemClock(), largest=0)
    for _ in range(50):
        book.write("echo", Request(method="GET", target="/"), text_reply(200, "x" * 100), 0.1)
    book.close()
    assert len((tmp_path / "j").read_text().splitlines()) == 50


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_garbage_never_ends_it(echo: Listener, data: bytes) -> None:
    talk(echo, data)
    assert status(talk(echo, PLAIN)) == 200
