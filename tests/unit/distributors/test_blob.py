"""Page-blob uploads against a small server that counts: what is sent, what is retried, and what never leaks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.distributors.blob import CHUNK, upload_page_blob
from aibemu.distributors.destinations import BlobDestination, parse_destination
from aibemu.distributors.vhd import VhdDistributor
from aibemu.errors import AibemuError, BuildCancelled, BuildTimedOut, DistributeFailed

if TYPE_CHECKING:
    from tests.unit.distributors.conftest import World

pytest.importorskip("azure.storage.blob", reason="the extra aibemu[blob] is not installed")

MIB = 1024 * 1024
SIGNATURE = "c2VjcmV0%2Bc2lnbmF0dXJl%3D"
PLAIN = "c2VjcmV0+c2lnbmF0dXJl="
QUERY = f"sv=2024-01-01&sp=racwd&sig={SIGNATURE}"


class FastClock(SystemClock):
    """Pauses between tries take no time."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(min(seconds, 0.01))


@dataclass
class Storage:
    """The blob as the server has it. fail: (status, code) to answer page requests with, so many times."""

    url: str = ""
    blob: bytearray | None = None
    pages: list[tuple[int, int]] = field(default_factory=list)
    fail: tuple[int, str] | None = None
    times: int = 0
    refuse_create: tuple[int, str] | None = None
    may_delete: bool = True
    started: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event | None = None

    def place(self) -> BlobDestination:
        place = parse_destination(f"{self.url}?{QUERY}", directory=Path("/"), name="out1", span=None)
        assert isinstance(place, BlobDestination)
        return place


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    storage: Storage

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        query = parse_qs(urlsplit(self.path).query)
        if query.get("sig") != [PLAIN]:
            return self.answer(403, "AuthenticationFailed")
        if query.get("comp") == ["page"]:
            return self.page(content)
        if self.storage.refuse_create:
            return self.answer(*self.storage.refuse_create)
        assert self.headers["x-ms-blob-type"] == "PageBlob"
        self.storage.blob = bytearray(int(self.headers["x-ms-blob-content-length"]))
        return self.answer(201)

    def page(self, content: bytes) -> None:
        storage = self.storage
        storage.started.set()
        if storage.hold:
            storage.hold.wait(20)
        if storage.fail and storage.times:
            storage.times -= 1
            return self.answer(*storage.fail)
        start, end = map(int, (self.headers.get("x-ms-range") or self.headers["Range"])[6:].split("-"))
        assert start % 512 == 0 and end - start + 1 == len(content) <= 4 * MIB
        if storage.blob is None:
            return self.answer(404, "BlobNotFound")
        storage.pages.append((start, len(content)))
        storage.blob[start : end + 1] = content
        return self.answer(201)

    def do_DELETE(self) -> None:
        if not self.storage.may_delete:
            return self.answer(403, "AuthorizationPermissionMismatch")
        self.storage.blob = None
        return self.answer(202)

    def answer(self, status: int, code: str = "") -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{self.path}</Message></Error>" if code else ""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/xml")
        if code:
            self.send_header("x-ms-error-code", code)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def storage() -> Iterator[Storage]:
    found = Storage()
    handler = type("Bound", (Handler,), {"storage": found})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}/acct/vhds/gold.vhd"
    yield found
    if found.hold:
        found.hold.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """64 MiB with three islands of data, the last at the very end."""
    path = tmp_path / "disk.vhd"
    with path.open("wb") as stream:
        stream.write(b"\x01" * 4096)
        stream.seek(20 * MIB + 512)
        stream.write(b"\x02" * (2 * MIB))
        stream.seek(64 * MIB)
        stream.write(b"conectix" + b"\x03" * 504)
    return path


def quick(**options: CancelToken | float) -> Deadline:
    return Deadline(clock=FastClock(), **options)  # type: ignore[arg-type]


def texts(error: BaseException) -> str:
    """All that an error and what it came from say."""
    found = []
    current: BaseException | None = error
    while current is not None:
        found += [str(current), repr(current)]
        if isinstance(current, AibemuError):
            found += [*current.details, str(current.hint)]
        current = current.__cause__ or current.__context__
    return "\n".join(found)


def assert_silent(text: str) -> None:
    assert SIGNATURE not in text and PLAIN not in text and "c2VjcmV0" not in text


def test_the_blob_equals_the_file_and_zeros_are_not_sent(storage: Storage, image: Path) -> None:
    done = upload_page_blob(image, storage.place(), deadline=quick(), say=lambda text: None)
    assert storage.blob is not None and bytes(storage.blob) == image.read_bytes()
    sent = sum(length for _, length in storage.pages)
    assert sent == done.sent == 4096 + 2 * MIB + 512
    assert len(storage.pages) == done.requests == 5
    assert max(length for _, length in storage.pages) <= CHUNK
    assert storage.pages[-1] == (64 * MIB, 512)  # the footer comes last


def test_a_disk_of_zeros_sends_its_footer_alone(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "zero.vhd"
    path.write_bytes(bytes(3 * MIB) + b"conectix" + bytes(504))
    done = upload_page_blob(path, storage.place(), deadline=quick(), say=lambda text: None)
    assert storage.pages == [(3 * MIB, 512)] and done.sent == 512
    assert bytes(storage.blob or b"") == path.read_bytes()


def test_a_server_that_is_busy_is_asked_again(storage: Storage, image: Path) -> None:
    storage.fail, storage.times = (503, "ServerBusy"), 3
    upload_page_blob(image, storage.place(), deadline=quick(), say=lambda text: None)
    assert storage.times == 0
    assert storage.blob is not None and bytes(storage.blob) == image.read_bytes()


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ((403, "AuthenticationFailed"), "403 AuthenticationFailed"),
        ((404, "ContainerNotFound"), "404 ContainerNotFound"),
        ((412, "LeaseIdMissing"), "412 LeaseIdMissing"),
    ],
)
def test_a_refusal_is_explained_without_the_token(
    storage: Storage, image: Path, refusal: tuple[int, str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    storage.refuse_create = refusal
    with caplog.at_level(logging.DEBUG), pytest.raises(DistributeFailed, match=words) as caught:
        upload_page_blob(image, storage.place(), deadline=quick(), say=lambda text: None)
    assert storage.url in caught.value.message and caught.value.hint
    assert_silent(texts(caught.value) + caplog.text)
    assert f"{storage.url[len('http://127.0.0.1') :].partition('/')[2]}?***" in caplog.text  # urllib3 did log it


def test_a_failure_half_way_deletes_the_blob(storage: Storage, image: Path) -> None:
    storage.fail, storage.times = (403, "AuthorizationPermissionMismatch"), 100
    with pytest.raises(DistributeFailed, match="403") as caught:
        upload_page_blob(image, storage.place(), deadline=quick(), say=lambda text: None)
    assert storage.blob is None
    assert_silent(texts(caught.value))


def test_an_incomplete_blob_that_stays_is_said_and_has_no_footer(storage: Storage, image: Path) -> None:
    storage.fail, storage.times, storage.may_delete = (400, "InvalidPageRange"), 1, False
    with pytest.raises(DistributeFailed) as caught:
        upload_page_blob(image, storage.place(), deadline=quick(), say=lambda text: None)
    assert "incomplete blob" in caught.value.details[-1]
    assert storage.blob is not None and not any(storage.blob[-512:])


def test_a_host_that_is_not_there_is_explained_without_the_token(image: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = parse_destination(
        f"http://127.0.0.1:1/acct/vhds/gold.vhd?{QUERY}", directory=Path("/"), name="x", span=None
    )
    assert isinstance(place, BlobDestination)
    with caplog.at_level(logging.DEBUG), pytest.raises(DistributeFailed, match="could not be written") as caught:
        upload_page_blob(image, place, deadline=quick(), say=lambda text: None)
    assert_silent(texts(caught.value) + caplog.text)


def test_cancelling_ends_an_upload_at_once(storage: Storage, image: Path) -> None:
    storage.hold = threading.Event()
    cancel = CancelToken()

    def pull() -> None:
        storage.started.wait(10)
        cancel.cancel("stop")

    threading.Thread(target=pull, daemon=True).start()
    clock = SystemClock()
    before = clock.monotonic()
    with pytest.raises(BuildCancelled):
        upload_page_blob(image, storage.place(), deadline=Deadline(clock=clock, cancel=cancel), say=lambda text: None)
    assert clock.monotonic() - before < 5
    assert storage.blob is None


def test_the_end_of_the_build_ends_the_pauses_between_tries(storage: Storage, image: Path) -> None:
    storage.fail, storage.times = (503, "ServerBusy"), 1000
    clock = SystemClock()
    before = clock.monotonic()
    with pytest.raises(BuildTimedOut):
        upload_page_blob(
            image, storage.place(), deadline=Deadline(clock=clock, build_ends=before + 0.5), say=lambda text: None
        )
    assert clock.monotonic() - before < 5


def test_the_token_is_in_no_artifact_and_no_message(
    world: World, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    target = world.target("VHD", uri=f"{storage.url}?{QUERY}")
    with caplog.at_level(logging.DEBUG):
        VhdDistributor().check(target, world.tools)
        artifact = VhdDistributor().distribute(world.finished, target, world.tools, forever())
    assert artifact.artifact_uri == storage.url
    assert storage.blob is not None and bytes(storage.blob) == artifact.paths[0].read_bytes()
    assert world.said and storage.url in world.said[0]
    assert_silent("\n".join([*world.said, str(artifact), caplog.text]))


def test_a_failed_upload_keeps_the_local_file_and_names_the_target(world: World, storage: Storage) -> None:
    storage.refuse_create = (403, "AuthenticationFailed")
    target = world.target("VHD", uri=f"{storage.url}?{QUERY}")
    with pytest.raises(DistributeFailed) as caught:
        VhdDistributor().distribute(world.finished, target, world.tools, forever())
    assert caught.value.span == target.span
    assert (world.finished.out / "out1.vhd").exists()
    assert_silent(texts(caught.value))


def test_errors_of_the_library_that_hold_the_address_are_cleaned(
    image: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.core.exceptions import ServiceRequestError
    from azure.storage.blob import BlobClient

    def broken(*_: object, **__: object) -> None:
        raise ServiceRequestError(f"Max retries exceeded with url: /acct/vhds/gold.vhd?{QUERY} (signature {PLAIN})")

    monkeypatch.setattr(BlobClient, "create_page_blob", broken)
    with pytest.raises(DistributeFailed) as caught:
        upload_page_blob(image, storage.place(), deadline=quick(), say=lambda text: None)
    assert caught.value.details == ("Max retries exceeded with url: /acct/vhds/gold.vhd?*** (signature ***)",)
    assert_silent(texts(caught.value))
