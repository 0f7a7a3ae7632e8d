"""The downloader against a real server on the loopback that cuts, lies, changes its mind, floods or says nothing."""

from __future__ import annotations

import contextlib
import errno
import gzip
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from urllib3.response import HTTPResponse

from aibemu import download as module
from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.download import Downloaded, DownloadError, Failure, Policy, Watcher, download
from aibemu.errors import BuildCancelled, Expired, HostNotReady
from aibemu.testing.clock import FakeClock

BODY = bytes(range(256)) * 2000
HALF = len(BODY) // 2
ONCE = Policy(tries=3, pauses=(1.0, 2.0), timeouts=(5.0, 30.0), limit=1 << 30)
RESUMED = replace(ONCE, resume=True)


class Handler(BaseHTTPRequestHandler):
    """`reply` is the test's; HTTP/1.1, so that connections are used again unless a test ends them."""

    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        number = len(self.site.asked)
        self.site.asked.append(dict(self.headers))
        self.site.reply(self, number)

    def start(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def whole(self, body: bytes = BODY, **headers: str) -> None:
        self.start(200, Content_Length=str(len(body)), **headers)
        self.wfile.write(body)

    def cut(self, sent: bytes, promised: int = len(BODY), **headers: str) -> None:
        """Send less than promised, and hang up."""
        self.start(200, Content_Length=str(promised), **headers)
        self.wfile.write(sent)
        self.close_connection = True

    def part(self, start: int, body: bytes = BODY, end: int | None = None, **headers: str) -> None:
        sent = body[start:end]
        place = f"bytes {start}-{start + len(sent) - 1}/{len(body)}"
        self.start(206, Content_Range=place, Content_Length=str(len(sent)), **headers)
        self.wfile.write(sent)

    def wait_for_the_end(self) -> None:
        self.site.over.wait(60)

    def log_message(self, *_: object) -> None:
        return


@dataclass
class Site:
    """A server. asked: the headers of each request. over: set when the test ends, for replies that hang."""

    url: str = ""
    reply: Callable[[Handler, int], None] = lambda handler, number: handler.whole()
    asked: list[dict[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def starts(self) -> list[str | None]:
        return [headers.get("Range") for headers in self.asked]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    site = Site()
    handler = type("SiteHandler", (Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # we hang up on it
    site.url = f"http://127.0.0.1:{server.server_port}/x"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield site
    site.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


class Bench:
    """Downloads into one file; notes what was told."""

    def __init__(self, site: Site, target: Path, clock: FakeClock) -> None:
        self.site, self.target, self.clock = site, target, clock
        self.retries: list[tuple[Failure, float]] = []
        self.progress: list[tuple[int, int | None]] = []
        self.rooms: list[int] = []

    def get(
        self, policy: Policy = ONCE, deadline: Deadline | None = None, make_room: Callable[[int], None] | None = None
    ) -> Downloaded:
        watcher = Watcher(
            on_retry=lambda failure, pause: self.retries.append((failure, pause)),
            progress=lambda done, total: self.progress.append((done, total)),
            make_room=make_room or self.rooms.append,
        )
        deadline = deadline or Deadline(clock=self.clock)
        return download(self.site.url, self.target, policy=policy, deadline=deadline, watcher=watcher)

    def fails(self, policy: Policy = ONCE) -> Failure:
        with pytest.raises(DownloadError) as caught:
            self.get(policy)
        return caught.value.failure

    def reasons(self) -> list[str]:
        return [failure.reason for failure, _ in self.retries]

    def left(self) -> list[str]:
        return sorted(path.name for path in self.target.parent.iterdir())


@pytest.fixture
def bench(site: Site, tmp_path: Path, clock: FakeClock) -> Bench:
    folder = tmp_path / "cache"
    folder.mkdir()
    return Bench(site, folder / "x.partial", clock)


def test_a_whole_file(bench: Bench, site: Site) -> None:
    site.reply = lambda handler, _: handler.whole(ETag='"1"', Last_Modified="Sun, 01 Nov 2026 12:00:00 GMT")
    got = bench.get(RESUMED)
    assert got == Downloaded(
        fresh=True, attempts=1, size=len(BODY), etag='"1"', last_modified="Sun, 01 Nov 2026 12:00:00 GMT"
    )
    assert bench.target.read_bytes() == BODY
    assert bench.progress[-1] == (len(BODY), len(BODY))
    assert bench.rooms == [len(BODY)]
    assert bench.left() == ["x.partial"]
    assert site.asked[0]["Accept-Encoding"] == "identity"


# A file is whole when all that was promised came: our comparison, for urllib3 1.26 has none.


def test_a_file_that_ends_early_is_not_taken(bench: Bench, site: Site) -> None:
    site.reply = lambda handler, _: handler.cut(b"#!/bin/sh\necho half\n", promised=999)
    failure = bench.fails()
    assert failure == Failure(attempt=3, reason="the connection ended early: 20 of 999 bytes came")
    assert bench.reasons() == [failure.reason] * 2
    assert bench.left() == []


def test_a_file_that_ends_early_is_asked_for_again(bench: Bench, site: Site) -> None:
    site.reply = lambda handler, number: handler.cut(BODY[:7]) if number == 0 else handler.whole()
    assert bench.get().attempts == 2
    assert bench.target.read_bytes() == BODY


def test_an_empty_answer_that_promised_more_is_not_taken(bench: Bench, site: Site) -> None:
    site.reply = lambda handler, _: handler.cut(b"", promised=5)
    assert bench.fails().reason == "the connection ended early: 0 of 5 bytes came"


def test_lengths_of_compressed_answers_are_those_of_the_bytes_sent(bench: Bench, site: Site) -> None:
    packed = gzip.compress(BODY)
    site.reply = lambda handler, _: handler.whole(packed, Content_Encoding="gzip")
    assert bench.get().size == len(BODY)
    assert bench.target.read_bytes() == BODY
    assert bench.progress[-1] == (len(BODY), None)
    # All of the text is there but for the check at the end: only the length shows that something is missing.
    site.reply = lambda handler, _: handler.cut(packed[:-8], promised=len(packed), Content_Encoding="gzip")
    assert "the connection ended early" in bench.fails().reason
    assert bench.left() == []


def test_an_answer_in_chunks(bench: Bench, site: Site) -> None:
    def reply(handler: Handler, number: int) -> None:
        handler.start(200, Transfer_Encoding="chunked")
        handler.wfile.write(b"5\r\nhello\r\n" + [b"5\r\nwo", b"", b"0\r\n\r\n"][number])
        handler.close_connection = True

    site.reply = reply
    assert bench.get() == Downloaded(fresh=True, attempts=3, size=5)
    assert bench.target.read_bytes() == b"hello"
    assert bench.progress[-1] == (5, None)
    assert [failure.network for failure, _ in bench.retries] == ["ChunkedEncodingError"] * 2


def test_an_answer_without_a_length_ends_with_its_connection(bench: Bench, site: Site) -> None:
    def reply(handler: Handler, _: int) -> None:
        handler.start(200)
        handler.wfile.write(BODY)
        handler.close_connection = True

    site.reply = reply
    assert bench.get().size == len(BODY)


def test_what_comes_beyond_the_promise_is_not_of_the_file(bench: Bench, site: Site) -> None:
    def reply(handler: Handler, _: int) -> None:
        handler.start(200, Content_Length="5")
        handler.wfile.write(b"hello and more")

    site.reply = reply
    assert bench.get().size == 5
    assert bench.target.read_bytes() == b"hello"


def test_what_comes_beyond_the_promise_is_no_answer_to_the_next_try(bench: Bench, site: Site) -> None:
    connections: list[object] = []

    def reply(handler: Handler, number: int) -> None:
        connections.append(handler.connection.getpeername())
        if number == 0:
            handler.start(503, Content_Length="0")
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
        else:
            handler.whole()

    site.reply = reply
    assert bench.get().size == len(BODY)
    assert len(set(connections)) == 2


def test_lengths_that_contradict_each_other(bench: Bench, site: Site) -> None:
    def reply(handler: Handler, _: int) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "5")
        handler.send_header("Content-Length", "6")
        handler.end_headers()
        handler.wfile.write(b"hello")
        handler.close_connection = True

    site.reply = reply
    assert "Content-Length" in bench.fails().reason
    assert bench.left() == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"garbage\r\n\r\n", "garbage"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n0\r\n\r\n", "read length must be"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", "InvalidChunkLength"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "decompress"),
    ],
)
def test_an_answer_that_is_none(bench: Bench, site: Site, answer: bytes, reason: str) -> None:
    def reply(handler: Handler, _: int) -> None:
        handler.wfile.write(answer)
        handler.close_connection = True

    site.reply = reply
    failure = bench.fails()
    assert (reason in failure.reason, failure.reason.splitlines()) == (True, [failure.reason])
    assert failure.attempt == 3
    assert bench.left() == []


@pytest.mark.parametrize("name", ["compress", "gzip, Compress"])
def test_a_compression_that_nobody_unpacks_is_not_taken_for_the_file(bench: Bench, site: Site, name: str) -> None:
    site.reply = lambda handler, _: handler.whole(Content_Encoding=name)
    failure = bench.fails()
    assert (failure.reason, failure.final) == ("the server compresses it as compress, though it was asked not to", True)


@pytest.mark.parametrize("name", ["identity", "aws-chunked", "utf-8"])
def test_what_only_looks_like_a_compression_is_the_file(bench: Bench, site: Site, name: str) -> None:
    site.reply = lambda handler, _: handler.whole(Content_Encoding=name)
    bench.get()
    assert bench.target.read_bytes() == BODY


@pytest.mark.parametrize(
    "place", ["http://[::bad/x", "http://h:99999999/", "http://127.0.0.1:x/", "http://./", "mailto:x"]
)
def test_a_redirect_to_nowhere(bench: Bench, site: Site, place: str) -> None:
    site.reply = lambda handler, _: handler.start(302, Location=place, Content_Length="0")
    assert bench.fails().final
    assert len(site.asked) == 1


# Going on with what came.


def cut_then(then: Callable[[Handler], None], **headers: str) -> Callable[[Handler, int], None]:
    """Half of the file first, then `then` for each request."""
    return lambda handler, number: handler.cut(BODY[:HALF], len(BODY), **headers) if number == 0 else then(handler)


def test_only_the_rest_is_asked_for(bench: Bench, site: Site) -> None:
    site.reply = cut_then(lambda handler: handler.part(HALF, ETag='"1"'), ETag='"1"')
    assert bench.get(RESUMED).size == len(BODY)
    assert bench.target.read_bytes() == BODY
    assert site.starts() == [None, f"bytes={HALF}-"]
    assert site.asked[1]["If-Range"] == '"1"'
    assert bench.rooms == [len(BODY), len(BODY) - HALF]
    assert bench.left() == ["x.partial"]


def test_a_policy_may_want_one_answer(bench: Bench, site: Site) -> None:
    site.reply = cut_then(lambda handler: handler.whole(ETag='"1"'), ETag='"1"')
    other = bench.target.with_suffix(".json")
    other.write_text(json.dumps({"tag": '"1"'}))
    bench.get(ONCE)
    assert site.starts() == [None, None]
    assert other.exists()  # it is not the download's


def test_another_command_goes_on_where_the_first_ended(bench: Bench, site: Site) -> None:
    site.reply = lambda handler, _: handler.cut(BODY[:HALF], Last_Modified="Sun, 01 Nov 2026 12:00:00 GMT")
    bench.fails(replace(RESUMED, tries=1))
    assert bench.left() == ["x.json", "x.partial"]
    site.reply = lambda handler, _: handler.part(HALF)
    bench.get(RESUMED)
    assert site.starts() == [None, f"bytes={HALF}-"]
    assert bench.target.read_bytes() == BODY


@pytest.mark.parametrize("state", ["", "{", "[]", "null", '{"tag": ""}', "{}", '"tag"'])
def test_a_part_of_which_nothing_is_known_is_not_used(bench: Bench, site: Site, state: str) -> None:
    bench.target.write_bytes(b"rubbish")
    bench.target.with_suffix(".json").write_text(state)
    bench.get(RESUMED)
    assert site.starts() == [None]
    assert bench.target.read_bytes() == BODY


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"1"'}, {"ETag": '"1"', "Content_Encoding": "gzip"}])
def test_nothing_is_kept_of_a_file_that_cannot_be_continued(bench: Bench, site: Site, headers: dict[str, str]) -> None:
    packed = gzip.compress(BODY)
    site.reply = lambda handler, _: handler.cut(packed[:99], len(packed), **headers)
    bench.fails(RESUMED)
    assert bench.left() == []


def test_a_server_that_ignores_the_range_sends_all_anew(bench: Bench, site: Site) -> None:
    site.reply = cut_then(lambda handler: handler.whole(b"another file", ETag='"2"'), ETag='"1"')
    assert bench.get(RESUMED).size == 12
    assert bench.target.read_bytes() == b"another file"


OTHER = b"x" * len(BODY)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda handler: handler.part(HALF, OTHER, ETag='"2"'),  # it does not know If-Range
        lambda handler: handler.part(HALF - 1, OTHER, ETag='"1"'),
        lambda handler: handler.part(HALF, OTHER, ETag='"1"', Content_Encoding="gzip"),
        lambda handler: handler.start(206, Content_Length="0", ETag='"1"'),
        lambda handler: handler.start(206, Content_Range="bytes " + "9" * 5000 + "-1/2", Content_Length="0"),
        lambda handler: handler.start(416, Content_Range="bytes */7", Content_Length="0"),
        lambda handler: handler.start(416, Content_Range=f"bytes */{HALF}", Content_Length="0", ETag='"2"'),
        lambda handler: handler.start(416, Content_Length="0"),
    ],
)
def test_a_part_of_another_file_is_never_put_behind_ours(
    bench: Bench, site: Site, wrong: Callable[[Handler], None]
) -> None:
    site.reply = lambda handler, number: (
        handler.cut(BODY[:HALF], ETag='"1"') if number == 0 else wrong(handler) if number == 1 else handler.whole(OTHER)
    )
    bench.get(RESUMED)
    assert bench.target.read_bytes() == OTHER
    assert site.starts() == [None, f"bytes={HALF}-", None]
    assert bench.reasons()[1] == "the file changed between two tries"


def test_a_changed_date_is_a_changed_file(bench: Bench, site: Site) -> None:
    site.reply = lambda handler, number: [
        lambda: handler.cut(BODY[:HALF], Last_Modified="Sun, 01 Nov 2026 12:00:00 GMT"),
        lambda: handler.part(HALF, OTHER, Last_Modified="Sun, 01 Nov 2026 12:00:01 GMT"),
        lambda: handler.whole(OTHER),
    ][number]()
    bench.get(RESUMED)
    assert bench.target.read_bytes() == OTHER


def test_a_server_that_gives_less_than_the_rest_is_asked_once_more(bench: Bench, site: Site) -> None:
    def reply(handler: Handler, number: int) -> None:
        if number == 0:
            handler.cut(BODY[:HALF], ETag='"1"')
        else:
            handler.part(HALF + 1000 * (number - 1), end=HALF + 1000 if number == 1 else None, ETag='"1"')

    site.reply = reply
    bench.get(RESUMED)
    assert bench.target.read_bytes() == BODY
    assert bench.reasons()[1] == f"the server sent {HALF + 1000} of {len(BODY)} bytes"


def test_a_part_in_chunks_that_has_more_than_the_rest(bench: Bench, site: Site) -> None:
    def too_much(handler: Handler) -> None:
        handler.start(206, Content_Range=f"bytes {HALF}-{len(BODY) - 1}/{len(BODY)}", Transfer_Encoding="chunked")
        rest = BODY[HALF:] + b"!"
        handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest))

    site.reply = lambda handler, number: (
        handler.cut(BODY[:HALF], ETag='"1"') if number == 0 else too_much(handler) if number == 1 else handler.whole()
    )
    bench.get(RESUMED)
    assert bench.target.read_bytes() == BODY
    assert site.starts()[2] is None


def test_a_part_that_is_the_whole_file_already(bench: Bench, site: Site) -> None:
    bench.target.write_bytes(BODY)
    bench.target.with_suffix(".json").write_text(json.dumps({"tag": '"1"'}))
    site.reply = lambda handler, _: handler.start(416, Content_Range=f"bytes */{len(BODY)}", Content_Length="0")
    assert bench.get(RESUMED).size == len(BODY)
    assert bench.target.read_bytes() == BODY
    assert bench.left() == ["x.partial"]


def test_old_bytes_never_get_the_new_files_tag(bench: Bench, site: Site) -> None:
    bench.target.write_bytes(b"old")
    bench.target.with_suffix(".json").write_text(json.dumps({"tag": '"1"'}))
    site.reply = lambda handler, _: handler.whole(ETag='"2"')

    def full(size: int) -> None:
        assert (bench.target.stat().st_size, size) == (0, len(BODY))
        raise HostNotReady("full")

    with pytest.raises(HostNotReady):
        bench.get(RESUMED, make_room=full)
    assert bench.left() == []


# What is asked for again, and when.


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_fault_that_passes_is_asked_about_again(bench: Bench, site: Site, status: int) -> None:
    site.reply = lambda handler, n: handler.start(status, Content_Length="0") if n < 2 else handler.whole()
    assert bench.get().attempts == 3
    assert [(failure.status, failure.final, pause) for failure, pause in bench.retries] == [
        (status, False, 1.0), (status, False, 2.0)
    ]  # fmt: skip


@pytest.mark.parametrize("status", [204, 206, 400, 401, 403, 404, 410, 412, 416])
def test_what_will_not_change_is_asked_once(bench: Bench, site: Site, status: int) -> None:
    site.reply = lambda handler, _: handler.start(status, Content_Length="0")
    failure = bench.fails(RESUMED)
    assert (failure.status, failure.attempt, failure.final) == (status, 1, True)
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("said", "pause"),
    [
        ("7", 7.0), ("9999", 60.0), ("9" * 400, 60.0), ("-5", 1.0), ("soon", 1.0), ("", 1.0),
        ("Mon, 23 Nov 2026 10:00:30 GMT", 30.0), ("Mon, 23 Nov 2026 09:00:00 GMT", 1.0),
        ("Tue, 24 Nov 2026 10:00:00 GMT", 60.0),
    ],
)  # fmt: skip
def test_the_server_may_say_when(bench: Bench, site: Site, said: str, pause: float) -> None:
    site.reply = lambda handler, number: (
        handler.start(503, Content_Length="0", Retry_After=said) if number == 0 else handler.whole()
    )
    bench.get()
    assert [waited for _, waited in bench.retries] == [pause]
    assert bench.clock.monotonic() == pause


# Bounds.


def test_a_file_that_is_too_large_is_not_begun(bench: Bench, site: Site) -> None:
    failure = bench.fails(replace(RESUMED, limit=len(BODY) - 1))
    assert failure.final
    assert failure.reason == "the file is larger than 500 KiB, the most that is taken"
    assert len(site.asked) == 1
    assert bench.progress == []
    assert bench.left() == []
    assert bench.get(replace(RESUMED, limit=len(BODY))).size == len(BODY)


@pytest.mark.parametrize("headers", [{}, {"Content_Encoding": "gzip"}])
def test_an_answer_without_an_end_is_ended_at_the_bound(bench: Bench, site: Site, headers: dict[str, str]) -> None:
    gone = threading.Event()

    def reply(handler: Handler, _: int) -> None:
        handler.start(200, ETag='"1"', **headers)
        packer = gzip.compress(bytes(1 << 20)) if headers else bytes(1 << 16)
        try:
            while not handler.site.over.is_set():
                handler.wfile.write(packer)
        except OSError:
            gone.set()

    site.reply = reply
    failure = bench.fails(replace(RESUMED, limit=5 << 20))
    assert failure.reason == "the file is larger than 5 MiB, the most that is taken"
    assert len(site.asked) == 1
    assert bench.left() == []
    assert gone.wait(30)  # we have hung up


def fails_in_time(bench: Bench, policy: Policy) -> Failure:
    """With a clock that runs."""
    with pytest.raises(DownloadError) as caught:
        bench.get(policy, Deadline(clock=SystemClock()))
    return caught.value.failure


def drip(handler: Handler, _: int) -> None:
    """A byte now and then: no single read takes long."""
    handler.start(200, Content_Length="1000000")
    with contextlib.suppress(OSError):
        while not handler.site.over.wait(0.05):
            handler.wfile.write(b"x")


def test_a_body_that_drips_is_given_up_and_asked_for_again(
    bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.3)
    site.reply = drip
    failure = fails_in_time(bench, replace(ONCE, tries=2, pauses=(0.1,)))
    assert failure.reason == "less than 64 KiB came within 0.3 seconds"
    assert (failure.attempt, failure.final, len(site.asked)) == (2, False, 2)
    assert bench.left() == []


def test_all_tries_together_have_a_bound(bench: Bench, site: Site) -> None:
    site.reply = drip
    failure = fails_in_time(bench, replace(ONCE, seconds=0.5))
    assert failure.reason == "it did not come within 0.5 seconds, the most that is waited"
    assert failure.final and failure.bound
    assert bench.left() == []


def test_an_answer_that_never_begins_is_given_up(bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head of `100 Continue` may come any number of times before the head of the answer."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)

    def reply(handler: Handler, _: int) -> None:
        with contextlib.suppress(OSError):
            while not handler.site.over.wait(0.02):
                handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    site.reply = reply
    failure = fails_in_time(bench, replace(ONCE, tries=2, pauses=(0.1,)))
    assert (failure.reason, failure.attempt) == ("no answer came within 0.3 seconds", 2)


def test_the_body_of_a_redirect_is_not_read(bench: Bench, site: Site) -> None:
    def reply(handler: Handler, number: int) -> None:
        if number:
            handler.whole()
            return
        handler.start(302, Location="/there")
        with contextlib.suppress(OSError):
            while not handler.site.over.is_set():
                handler.wfile.write(bytes(1 << 16))

    site.reply = reply
    assert bench.get().size == len(BODY)


def test_what_unpacks_to_far_more_than_was_sent(bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FROM", 1 << 20)
    bomb = gzip.compress(bytes(64 << 20))
    site.reply = lambda handler, _: handler.whole(bomb, Content_Encoding="gzip")
    failure = bench.fails()
    assert failure.reason == "the server compresses it, and it unpacks to more than 200 times of what was sent"
    assert failure.final and bench.left() == []


@pytest.mark.parametrize("name", ["gzip, gzip", "deflate,gzip", "br", "zstd"])
def test_what_may_unpack_to_gigabytes_at_once_is_not_unpacked(bench: Bench, site: Site, name: str) -> None:
    packed = gzip.compress(gzip.compress(bytes(1 << 20)))
    site.reply = lambda handler, _: handler.whole(packed, Content_Encoding=name)
    assert bench.fails().reason.startswith("the server compresses it as ")


def test_a_part_counts_too(bench: Bench, site: Site) -> None:
    site.reply = cut_then(lambda handler: handler.part(HALF, ETag='"1"'), ETag='"1"')
    bench.fails(replace(RESUMED, tries=1))
    assert bench.fails(replace(RESUMED, limit=HALF + 10)).final
    assert bench.left() == []


def test_a_full_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_writable", open_any)
    bench.target.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        bench.get(RESUMED)
    assert caught.value.errno == errno.ENOSPC
    assert bench.left() == []


def open_any(path: Path, flags: int, *, mode: int) -> int:
    """Devices, too: /dev/full answers as a full disk does."""
    return os.open(path, flags, mode)


# A server that keeps us waiting: a cancel and a deadline are obeyed all the same, and the thread goes too.


def silent(handler: Handler, begun: Callable[[], None]) -> None:
    begun()
    handler.wait_for_the_end()


def stalled(handler: Handler, begun: Callable[[], None]) -> None:
    handler.start(200, Content_Length=str(len(BODY)), ETag='"1"')
    handler.wfile.write(BODY[:HALF])
    begun()
    handler.wait_for_the_end()


def trickling(handler: Handler, begun: Callable[[], None]) -> None:
    handler.start(200, Content_Length=str(len(BODY)), ETag='"1"')
    for place in itertools.count():
        handler.wfile.write(BODY[place : place + 1])
        begun()
        if handler.site.over.wait(0.05):
            return


def refusing_slowly(handler: Handler, begun: Callable[[], None]) -> None:
    handler.start(404, Content_Length="100")
    begun()
    handler.wait_for_the_end()


SLOW = [silent, stalled, trickling, refusing_slowly]


@pytest.mark.parametrize("slow", SLOW)
def test_a_cancel_does_not_wait_for_the_server(
    bench: Bench, site: Site, slow: Callable[[Handler, Callable[[], None]], None]
) -> None:
    token = CancelToken()
    site.reply = lambda handler, _: slow(handler, lambda: token.cancel("stop"))
    start = time.monotonic()
    with pytest.raises(BuildCancelled, match="stop"):
        bench.get(RESUMED, deadline=Deadline(clock=SystemClock(), cancel=token))
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("slow", SLOW)
def test_nor_does_the_end_of_a_deadline(
    bench: Bench, site: Site, slow: Callable[[Handler, Callable[[], None]], None]
) -> None:
    site.reply = lambda handler, _: slow(handler, lambda: bench.clock.advance(99.0))
    with pytest.raises(Expired):
        bench.get(RESUMED, deadline=Deadline(clock=bench.clock).within(50))


@pytest.mark.skipif(not hasattr(HTTPResponse, "shutdown"), reason="urllib3 before 2.3 cannot wake a thread that reads")
@pytest.mark.parametrize("slow", [stalled, trickling])
def test_the_connection_of_a_cancelled_download_is_closed(
    bench: Bench, site: Site, slow: Callable[[Handler, Callable[[], None]], None]
) -> None:
    token = CancelToken()
    site.reply = lambda handler, _: slow(handler, lambda: token.cancel("stop"))
    before = set(threading.enumerate())
    with pytest.raises(BuildCancelled):
        bench.get(RESUMED, deadline=Deadline(clock=SystemClock(), cancel=token))
    for thread in set(threading.enumerate()) - before:
        if thread.name == "download":
            thread.join(10)
            assert not thread.is_alive()


def test_a_cancelled_download_can_be_continued(bench: Bench, site: Site) -> None:
    token = CancelToken()
    deadline = Deadline(clock=bench.clock, cancel=token)
    site.reply = lambda handler, _: handler.whole(ETag='"1"')

    def stop(done: int, total: int | None) -> None:
        token.cancel("stop")

    with pytest.raises(BuildCancelled):
        download(site.url, bench.target, policy=RESUMED, deadline=deadline, watcher=Watcher(progress=stop))
    had = bench.target.stat().st_size
    assert 0 < had < len(BODY)
    site.reply = lambda handler, _: handler.part(had, ETag='"1"')
    bench.get(RESUMED)
    assert bench.target.read_bytes() == BODY


# Who we say we are.


def test_a_policy_says_whether_netrc_counts(
    bench: Bench, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hidden\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    bench.get(ONCE)
    bench.get(replace(ONCE, netrc=True))
    assert ["Authorization" in headers for headers in site.asked] == [False, True]


def test_nobody_listens(bench: Bench, site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    site.url = f"http://127.0.0.1:{port}/?sig=s3cr3t"
    failure = bench.fails()
    assert (failure.network, failure.attempt) == ("ConnectionError", 3)
    assert "Connection refused" in failure.reason
    assert "s3cr3t" not in repr((failure, bench.retries))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "no-scheme"])
def test_other_addresses_are_refused_at_once(bench: Bench, site: Site, url: str) -> None:
    site.url = url
    assert (bench.fails().final, bench.retries) == (True, [])
