"""Fetching against a real HTTP server on the loopback; only the pauses between tries are not waited for."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.artifacts import Artifact, ArtifactStore, FetchRequest, Mapping, fetcher, parse_mappings
from aibemu.artifacts.fetcher import raw_address
from aibemu.artifacts.mapping import find_file
from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.errors import ArtifactError, BuildCancelled, HostNotReady, Span, UsageError
from aibemu.events import FIELDS, Kind

SCRIPT = b"#!/bin/sh\necho hello\n"
SHA = hashlib.sha256(SCRIPT).hexdigest()
SPAN = Span(file="t.json", line=7, column=3)


class ShortClock:
    """Waits are noted and not waited for."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.time = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.time

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waited.append(seconds)
        self.time += seconds
        return event.is_set()


Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Site:
    """A server: `pages` maps paths (with query) to answers, or to a function of (how many before, headers)."""

    url: str = ""
    pages: dict[str, Answer | Callable[[int, Any], Answer]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def count(self, path: str) -> int:
        return sum(1 for asked, _ in self.asked if asked == path)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    site = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = site.pages.get(self.path, (404, {}, b"gone"))
            before = site.count(self.path)
            site.asked.append((self.path, dict(self.headers)))
            status, headers, body = page(before, self.headers) if callable(page) else page
            if status == 0:  # hang up without an answer
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # we hang up on it
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()


class Bench:
    """A store with what a call needs, and the events it emitted."""

    def __init__(self, folder: Path) -> None:
        self.clock = ShortClock()
        self.base = folder / "template"
        self.base.mkdir()
        self.store = ArtifactStore(folder / "cache", self.clock)
        self.events: list[tuple[Kind, dict[str, Any]]] = []

    def emit(self, kind: Kind, /, **fields: Any) -> None:
        assert set(fields) <= FIELDS[kind]
        assert threading.current_thread() is threading.main_thread()
        self.events.append((kind, fields))

    def fetch(
        self,
        uri: str,
        sha256: str | None = None,
        mappings: Sequence[Mapping] = (),
        offline: bool = False,
        deadline: Deadline | None = None,
    ) -> Artifact:
        return self.store.fetch(
            uri, base=self.base, mappings=mappings, sha256=sha256, deadline=deadline or Deadline(clock=self.clock),
            emit=self.emit, offline=offline, span=SPAN,
        )  # fmt: skip

    def fetch_all(self, *requests: FetchRequest) -> list[Artifact]:
        return self.store.fetch_all(requests, base=self.base, deadline=Deadline(clock=self.clock), emit=self.emit)

    def notices(self) -> list[str]:
        return [fields["message"] for kind, fields in self.events if kind is Kind.NOTICE]

    def fetched(self) -> dict[str, Any]:
        return [fields for kind, fields in self.events if kind is Kind.ARTIFACT_FETCHED][-1]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_download_is_a_private_read_only_copy(bench: Bench, site: Site) -> None:
    site.pages["/x.sh"] = (200, {}, SCRIPT)
    got = bench.fetch(f"{site.url}/x.sh", sha256=SHA)
    assert (got.uri, got.sha256, got.size, got.path.read_bytes()) == (f"{site.url}/x.sh", SHA, len(SCRIPT), SCRIPT)
    assert got.path.name == SHA
    assert got.path.stat().st_mode & 0o222 == 0
    event = bench.fetched()
    assert event | {"seconds": 0} == {
        "uri": got.uri, "sha256": SHA, "size": len(SCRIPT), "cached": False, "attempts": 1, "seconds": 0,
        "path": str(got.path),
    }  # fmt: skip
    assert bench.notices() == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_fault_of_the_server_is_tried_again_with_growing_pauses(bench: Bench, site: Site, status: int) -> None:
    site.pages["/x"] = lambda before, _: (status, {}, b"") if before < 3 else (200, {}, SCRIPT)
    assert bench.fetch(f"{site.url}/x").sha256 == SHA
    assert bench.fetched()["attempts"] == 4
    assert bench.clock.waited == sorted(set(bench.clock.waited))
    assert len(bench.clock.waited) == 3
    assert f"({site.url}/x) [attempt 1 of 10] failed: HTTP {status}" in bench.notices()[0]


def test_ten_tries_then_an_error(bench: Bench, site: Site) -> None:
    site.pages["/x"] = (503, {}, b"")
    with pytest.raises(ArtifactError, match=r"\[attempt 10 of 10\] failed: HTTP 503 Service Unavailable") as caught:
        bench.fetch(f"{site.url}/x")
    assert site.count("/x") == 10
    assert len(bench.clock.waited) == 9
    assert caught.value.span == SPAN
    assert caught.value.hint


def test_the_servers_own_pause_counts_up_to_a_minute(bench: Bench, site: Site) -> None:
    site.pages["/x"] = lambda n, _: (429, {"Retry-After": ["7", "9999"][n]}, b"") if n < 2 else (200, {}, SCRIPT)
    bench.fetch(f"{site.url}/x")
    assert bench.clock.waited == [7.0, 60.0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_an_answer_that_will_not_change_is_not_asked_for_again(bench: Bench, site: Site, status: int) -> None:
    site.pages["/x"] = (status, {}, b"")
    with pytest.raises(ArtifactError, match=rf"\[attempt 1 of 10\] failed: HTTP {status}"):
        bench.fetch(f"{site.url}/x")
    assert site.count("/x") == 1
    assert bench.clock.waited == []


def test_a_storage_accounts_error_is_told(bench: Bench, site: Site) -> None:
    body = "\ufeff<?xml version='1.0'?><Error><Code>BlobNotFound</Code><Message>No such blob.\nRequestId:1</Message>"
    site.pages["/x"] = (404, {"Content-Type": "application/xml"}, body.encode())
    with pytest.raises(ArtifactError, match=r"HTTP 404 Not Found: BlobNotFound: No such blob\.$"):
        bench.fetch(f"{site.url}/x")


def test_a_plain_texts_first_line_is_told(bench: Bench, site: Site) -> None:
    site.pages["/x"] = (404, {"Content-Type": "text/plain"}, b"404: Not here\nmore")
    with pytest.raises(ArtifactError, match=r"404: Not here$"):
        bench.fetch(f"{site.url}/x")


def test_network_faults_are_tried_again(bench: Bench, site: Site) -> None:
    def answer(before: int, _: Any) -> Answer:
        if before == 0:
            return (0, {}, b"")
        return (200, {"Content-Length": "999"} if before == 1 else {}, SCRIPT)

    site.pages["/x"] = answer
    assert bench.fetch(f"{site.url}/x").size == len(SCRIPT)
    assert bench.fetched()["attempts"] == 3
    assert not any("0x" in message for message in bench.notices())  # no addresses of objects


def test_nobody_listens(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(ArtifactError, match=r"\[attempt 10 of 10\] failed: .*Connection refused"):
        bench.fetch(f"http://127.0.0.1:{port}/x")


def test_redirects_are_followed_but_not_for_ever_nor_to_other_schemes(bench: Bench, site: Site) -> None:
    site.pages |= {
        "/a": (302, {"Location": "/b"}, b""),
        "/b": (200, {}, SCRIPT),
        "/loop": (302, {"Location": "/loop"}, b""),
        "/out": (302, {"Location": "file:///etc/passwd"}, b""),
    }
    assert bench.fetch(f"{site.url}/a").sha256 == SHA
    for path in ("/loop", "/out"):
        with pytest.raises(ArtifactError, match="attempt 1 of 10"):
            bench.fetch(site.url + path)


def test_a_mutable_url_is_revalidated(bench: Bench, site: Site) -> None:
    def answer(_: int, headers: Any) -> Answer:
        return (304, {}, b"") if headers.get("If-None-Match") == '"v1"' else (200, {"ETag": '"v1"'}, SCRIPT)

    site.pages["/x"] = answer
    first = bench.fetch(f"{site.url}/x")
    assert bench.fetch(f"{site.url}/x") == first
    assert (bench.fetched()["cached"], site.count("/x")) == (True, 2)
    site.pages["/x"] = (200, {"ETag": '"v2"'}, b"changed")
    assert bench.fetch(f"{site.url}/x").path.read_bytes() == b"changed"
    assert first.path.read_bytes() == SCRIPT


def test_last_modified_revalidates_too(bench: Bench, site: Site) -> None:
    date = "Mon, 23 Nov 2026 10:00:00 GMT"
    site.pages["/x"] = lambda _, headers: (
        (304, {}, b"") if headers.get("If-Modified-Since") == date else (200, {"Last-Modified": date}, SCRIPT)
    )
    bench.fetch(f"{site.url}/x")
    bench.fetch(f"{site.url}/x")
    assert bench.fetched()["cached"] is True


def test_a_declared_checksum_that_is_cached_needs_no_network(bench: Bench, site: Site) -> None:
    site.pages["/x"] = (200, {}, SCRIPT)
    bench.fetch(f"{site.url}/x", sha256=SHA)
    bench.fetch(f"{site.url}/x", sha256=SHA)
    assert site.count("/x") == 1
    assert (bench.fetched()["cached"], bench.fetched()["attempts"]) == (True, 0)
    with pytest.raises(ArtifactError):  # another address is another question, whatever we hold
        bench.fetch(f"{site.url}/other", sha256=SHA)


def test_a_damaged_cache_is_fetched_again(bench: Bench, site: Site) -> None:
    site.pages["/x"] = (200, {"ETag": '"v1"'}, SCRIPT)
    path = bench.fetch(f"{site.url}/x", sha256=SHA).path
    path.chmod(0o644)
    path.write_bytes(b"rubbish")
    assert bench.fetch(f"{site.url}/x", sha256=SHA).path.read_bytes() == SCRIPT
    (note,) = (bench.store.cache / "urls").iterdir()
    note.write_text("{")
    assert bench.fetch(f"{site.url}/x").sha256 == SHA


def test_offline(bench: Bench, site: Site) -> None:
    site.pages["/x"] = (200, {}, SCRIPT)
    with pytest.raises(ArtifactError, match="not been fetched before"):
        bench.fetch(f"{site.url}/x", offline=True)
    bench.fetch(f"{site.url}/x")
    assert bench.fetch(f"{site.url}/x", offline=True).sha256 == SHA
    assert site.count("/x") == 1


def test_a_wrong_checksum(bench: Bench, site: Site) -> None:
    site.pages["/x"] = (200, {}, SCRIPT)
    for uri in (f"{site.url}/x", "x.sh"):
        (bench.base / "x.sh").write_bytes(SCRIPT)
        with pytest.raises(ArtifactError, match="sha256") as caught:
            bench.fetch(uri, sha256="0" * 64)
        assert any(SHA in line for line in caught.value.details)
        assert any("0" * 64 in line for line in caught.value.details)
        assert caught.value.span == SPAN
    with pytest.raises(ArtifactError) as caught:
        bench.fetch("x.sh", sha256=SHA.upper())
    assert "lower case" in str(caught.value.hint)
    assert not (bench.store.cache / "files" / SHA).exists()


def test_no_partial_files_are_left(bench: Bench, site: Site) -> None:
    site.pages["/x"] = (200, {"Content-Length": "999"}, SCRIPT)
    with pytest.raises(ArtifactError):
        bench.fetch(f"{site.url}/x")
    assert list((bench.store.cache / "files").iterdir()) == []


def test_half_a_script_is_never_taken(bench: Bench, site: Site) -> None:
    site.pages["/x"] = (200, {"Content-Length": "999"}, SCRIPT)
    words = rf"\[attempt 10 of 10\] failed: the connection ended early: {len(SCRIPT)} of 999 bytes came$"
    with pytest.raises(ArtifactError, match=words):
        bench.fetch(f"{site.url}/x")
    assert list((bench.store.cache / "files").iterdir()) == []
    assert not (bench.store.cache / "urls").exists()


def test_a_file_of_two_versions_is_never_made(bench: Bench, site: Site) -> None:
    site.pages["/x"] = lambda n, _: (200, {"ETag": '"1"', **({"Content-Length": "999"} if n == 0 else {})}, SCRIPT)
    assert bench.fetch(f"{site.url}/x").sha256 == SHA
    assert not any("Range" in headers for _, headers in site.asked)


def test_a_script_without_an_end(bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetcher.POLICY.limit == 16 << 30
    monkeypatch.setattr(fetcher, "POLICY", replace(fetcher.POLICY, limit=len(SCRIPT) - 1))
    site.pages["/x"] = (200, {}, SCRIPT)
    with pytest.raises(
        ArtifactError, match=rf"\[attempt 1 of 10\] failed: the file is larger than {len(SCRIPT) - 1} b"
    ):
        bench.fetch(f"{site.url}/x")
    assert list((bench.store.cache / "files").iterdir()) == []


def test_a_disk_that_is_full(bench: Bench, site: Site) -> None:
    site.pages["/x"] = (200, {}, bytes(1 << 20))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, before[1]))
    try:
        with pytest.raises(HostNotReady, match="cannot be written"):
            bench.fetch(f"{site.url}/x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert site.count("/x") == 1
    assert list((bench.store.cache / "files").iterdir()) == []


def test_a_cancel_leaves_nothing_of_a_hanging_download(bench: Bench, site: Site) -> None:
    release = threading.Event()
    token = CancelToken()

    def page(before: int, headers: Any) -> Answer:
        token.cancel("stop")
        release.wait(30)
        return (200, {}, SCRIPT)

    site.pages["/slow"] = page
    others = set(threading.enumerate())
    with pytest.raises(BuildCancelled):
        bench.fetch(f"{site.url}/slow", deadline=Deadline(clock=SystemClock(), cancel=token))
    for thread in set(threading.enumerate()) - others:
        if thread.name == "artifact":
            thread.join(10)
            assert not thread.is_alive()
    assert list((bench.store.cache / "files").iterdir()) == []
    release.set()


def test_compressed_answers_are_unpacked_as_the_service_does(bench: Bench, site: Site) -> None:
    site.pages["/x"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(SCRIPT))
    assert bench.fetch(f"{site.url}/x", sha256=SHA).size == len(SCRIPT)
    assert site.asked[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "body", [b"<!DOCTYPE html><html>", b"\xef\xbb\xbf\n <html lang=en>", b"<!-- x -->\n<!doctype HTML>"]
)
def test_a_web_page_in_place_of_a_script_is_warned_of(bench: Bench, site: Site, body: bytes) -> None:
    site.pages |= {"/x.sh": (200, {"ETag": "1"}, body), "/page.html": (200, {}, body)}
    site.pages["/x.sh"] = lambda n, _: (200, {"ETag": "1"}, body) if n == 0 else (304, {}, b"")
    bench.fetch(f"{site.url}/page.html")
    assert bench.notices() == []
    bench.fetch(f"{site.url}/x.sh")
    bench.fetch(f"{site.url}/x.sh")
    assert len(bench.notices()) == 2
    assert "web page" in bench.notices()[0]


def test_raw_address() -> None:
    raw = "https://raw.githubusercontent.com/o/r/main/a/x.sh"
    assert raw_address("https://github.com/o/r/blob/main/a/x.sh?x#L1") == raw
    assert raw_address(raw) is None


def test_secrets_of_urls_are_never_told(bench: Bench, site: Site) -> None:
    path = "/x.sh?sv=1&sig=s3cr3t%2B"
    site.pages[path] = lambda n, _: (503, {}, b"") if n == 0 else (200, {}, b"<html>")
    bench.fetch(site.url + path)
    site.pages[path] = (403, {"Content-Type": "text/plain"}, b"bad https://h/?sig=s3cr3t")
    with pytest.raises(ArtifactError) as caught:
        bench.fetch(site.url + path)
    site.pages[path] = (302, {"Location": "http://127.0.0.1:1/?token=s3cr3t"}, b"")
    with pytest.raises(ArtifactError) as again:
        bench.fetch(site.url + path)
    with pytest.raises(ArtifactError) as mapped:
        bench.fetch(site.url + path, mappings=[Mapping(prefix=site.url, directory=bench.base)])
    errors = [(error.value.message, error.value.details) for error in (caught, again, mapped)]
    notes = [note.read_text() for note in (bench.store.cache / "urls").iterdir()]
    assert "s3cr3t" not in repr((bench.events, errors, notes))
    assert "sig=***" in caught.value.message


def test_the_users_netrc_is_not_used_but_the_urls_login_is(
    bench: Bench, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hidden\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    site.pages |= {"/x": (302, {"Location": "/y"}, b""), "/y": (200, {}, SCRIPT)}
    bench.fetch(f"{site.url}/x")
    assert not any("Authorization" in headers for _, headers in site.asked)
    bench.fetch(f"{site.url.replace('//', '//user:pw@')}/y")
    assert site.asked[-1][1]["Authorization"].startswith("Basic ")
    site.pages["/away"] = (302, {"Location": f"{site.url.replace('127.0.0.1', 'localhost')}/y"}, b"")
    bench.fetch(f"{site.url.replace('//', '//user:pw@')}/away")
    assert site.asked[-2][1]["Authorization"].startswith("Basic ")
    assert "Authorization" not in site.asked[-1][1]  # not for another host


def test_local_files(bench: Bench) -> None:
    (bench.base / "a b.sh").write_bytes(SCRIPT)
    absolute = bench.base / "a b.sh"
    uris = [
        "a b.sh",
        "./a b.sh",
        str(absolute),
        f"file://{absolute}",
        f"file://localhost{absolute}".replace(" ", "%20"),
    ]
    for uri in uris:
        assert bench.fetch(uri, sha256=SHA).path.read_bytes() == SCRIPT
    copy = bench.fetch("a b.sh")
    absolute.write_bytes(b"changed")
    assert copy.path.read_bytes() == SCRIPT
    assert bench.fetched()["attempts"] == 0


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("missing.sh", "does not exist"),
        (".", "not a file"),
        ("", "not a file"),
        ("file://elsewhere/x", "not the address of a file on this machine"),
        ("ftp://host/x", "cannot fetch ftp"),
        ("s3://bucket/x", "cannot fetch s3"),
        ("a\0b", "not the address of a file"),
        ("file:///a%00b", "not the address of a file"),
        ("http://", "attempt 1 of 10"),
        ("http://[::bad/x", "attempt 1 of 10"),
    ],
)
def test_what_cannot_be_fetched(bench: Bench, uri: str, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason) as caught:
        bench.fetch(uri)
    assert caught.value.span == SPAN


def test_a_mapped_url_never_touches_the_network(bench: Bench, site: Site, tmp_path: Path) -> None:
    folder, deeper = tmp_path / "map", tmp_path / "deeper"
    (folder / "b").mkdir(parents=True)
    deeper.mkdir()
    (folder / "x y.sh").write_bytes(SCRIPT)
    (folder / "b" / "z").write_bytes(b"shorter prefix")
    (deeper / "z").write_bytes(b"longest prefix")
    maps = [
        *parse_mappings([f"{site.url}/a={folder}"], Path.cwd()),
        *parse_mappings([f"{site.url}/a/b/={deeper}"], Path.cwd()),
        *parse_mappings([f"{site.url}/one.sh={folder / 'x y.sh'}"], Path.cwd()),
    ]
    assert bench.fetch(f"{site.url.upper().replace('HTTP', 'http')}/a/x%20y.sh?sig=abc#f", mappings=maps).sha256 == SHA
    assert bench.fetch(f"{site.url}/a/b/z", mappings=maps).path.read_bytes() == b"longest prefix"
    assert bench.fetch(f"{site.url}/one.sh", mappings=maps).sha256 == SHA
    with pytest.raises(ArtifactError, match=str(folder / "missing")):
        bench.fetch(f"{site.url}/a/missing", mappings=maps)
    with pytest.raises(ArtifactError, match="not a file"):
        bench.fetch(f"{site.url}/a", mappings=maps)
    assert site.asked == []
    site.pages["/ab/x"] = (200, {}, b"network")
    assert bench.fetch(f"{site.url}/ab/x", mappings=maps).path.read_bytes() == b"network"


@pytest.mark.parametrize("path", ["../secret", "%2e%2e/secret", "b/../../secret", "..%2fsecret", "link", "//../secret"])
def test_a_mapped_url_stays_in_its_folder(bench: Bench, tmp_path: Path, path: str) -> None:
    folder = tmp_path / "map"
    (folder / "b").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match="outside"):
        bench.fetch(f"https://h/a/{path}", mappings=[Mapping(prefix="https://h/a", directory=folder)])


@given(st.lists(st.sampled_from(["..", ".", "a", "%2e%2e", "/", "%2f", "link"])).map("/".join))
def test_no_mapped_path_leaves_its_folder(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "mapped"
    folder.mkdir(exist_ok=True)
    (folder / "a").touch()
    try:
        found = find_file(f"https://h/{path}", base=folder, mappings=[Mapping(prefix="https://h", directory=folder)])
    except ArtifactError:
        return
    assert found is not None
    assert found.is_relative_to(folder.resolve())


@pytest.mark.parametrize("text", ["", "=", "https://h", "https://h=", "=dir", "ftp://h=.", "scripts=.", "https://=."])
def test_parse_mapping_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="--map"):
        parse_mappings([text], Path.cwd())


def test_parse_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a=b").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_mappings(["https://h/p=a=b"], Path.cwd()) == [
        Mapping(prefix="https://h/p", directory=tmp_path / "a=b")
    ]
    with pytest.raises(UsageError, match="does not exist"):
        parse_mappings(["https://h/p=missing"], Path.cwd())


def test_several_side_by_side_in_order_and_each_once(bench: Bench, site: Site) -> None:
    together = threading.Barrier(3, timeout=30)

    def answer(number: int) -> Callable[[int, Any], Answer]:
        def page(before: int, headers: Any) -> Answer:
            together.wait()  # breaks unless all three are asked for at once
            return (200, {}, b"%d" % number)

        return page

    for number in range(3):
        site.pages[f"/{number}"] = answer(number)
    requests = [FetchRequest(uri=f"{site.url}/{number}") for number in (2, 0, 1, 2)]
    assert [got.path.read_bytes() for got in bench.fetch_all(*requests)] == [b"2", b"0", b"1", b"2"]
    assert len(site.asked) == 3
    assert bench.fetch_all() == []


def test_all_errors_are_told_at_once(bench: Bench, site: Site) -> None:
    site.pages["/fine"] = (200, {}, SCRIPT)
    with pytest.raises(ArtifactError, match="2 of 3") as caught:
        bench.fetch_all(
            FetchRequest(uri=f"{site.url}/gone", span=SPAN),
            FetchRequest(uri=f"{site.url}/fine"),
            FetchRequest(uri="missing.sh"),
        )
    text = "\n".join(caught.value.details)
    assert f"{SPAN}: " in text
    assert "/gone" in text
    assert "missing.sh" in text
    assert caught.value.span == SPAN


def test_an_interrupt_leaves_nothing_of_what_a_thread_is_in_the_midst_of(bench: Bench) -> None:
    """The program may end before the thread does."""
    files, release = bench.store.cache / "files", threading.Event()

    class Held(Deadline):
        def check(self) -> None:
            if threading.current_thread() is not threading.main_thread():
                release.wait(30)
            elif files.is_dir() and list(files.iterdir()):
                raise KeyboardInterrupt

    (bench.base / "a.sh").write_bytes(SCRIPT)
    with pytest.raises(KeyboardInterrupt):
        bench.fetch("a.sh", deadline=Held(clock=SystemClock()))
    assert list(files.iterdir()) == []
    release.set()


def test_a_cancel_does_not_wait_for_a_hanging_server(bench: Bench, site: Site) -> None:
    release = threading.Event()

    def page(before: int, headers: Any) -> Answer:
        release.wait(10)
        return (200, {}, SCRIPT)

    site.pages["/slow"] = page
    token = CancelToken()
    threading.Timer(0.3, token.cancel, ["stop"]).start()
    start = time.monotonic()
    with pytest.raises(BuildCancelled):
        bench.fetch(f"{site.url}/slow", deadline=Deadline(clock=SystemClock(), cancel=token))
    assert time.monotonic() - start < 8
    release.set()


def test_a_cache_that_cannot_be_written(bench: Bench) -> None:
    bench.store.cache.parent.joinpath("cache").write_text("a file where the folder should be")
    (bench.base / "x.sh").write_bytes(SCRIPT)
    with pytest.raises(HostNotReady, match="cannot be written"):
        bench.fetch("x.sh")
