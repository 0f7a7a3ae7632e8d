"""Downloads against a real server on the loopback: resume, change in between, wrong checksum, nothing twice."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.clock import Deadline
from aibemu.errors import UsageError
from aibemu.images import Generation
from aibemu.images.catalogue import Entry
from aibemu.images.importing import Imported
from aibemu.images.pull import LIST, DownloadFailed, find_checksum, published_file, pull
from aibemu.images.store import ImageStore
from tests.unit.images.conftest import StillClock
from tests.unit.images.site import Site


@pytest.fixture
def published(site: Site, make_disk: Callable[..., Path]) -> Entry:
    body = make_disk(efi=True, bios=True).read_bytes()
    site.files = {
        "/mine.qcow2": body,
        "/SHA256SUMS": f"{'0' * 64} *other.qcow2\n{hashlib.sha256(body).hexdigest()} *mine.qcow2\n".encode(),
    }
    return Entry(
        offer="Me:mine:1", generation=Generation.V1, os_type="Linux", os_name="Mine", url=f"{site.url}/mine.qcow2",
        checksum_url=f"{site.url}/SHA256SUMS", version="7.{date}.1",
    )  # fmt: skip


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def fetch(store: ImageStore, tmp_path: Path, said: list[str]) -> Callable[..., Imported]:
    deadline = Deadline(clock=StillClock())

    def run(entry: Entry, version: str = "", progress: Callable[[int, int | None], None] | None = None) -> Imported:
        return pull(
            entry, store, cache=tmp_path / "cache", deadline=deadline, say=said.append, version=version,
            progress=progress or (lambda done, total: None),
        )  # fmt: skip

    return run


def test_pull_downloads_checks_imports_and_names(
    site: Site, published: Entry, fetch: Callable[..., Imported], store: ImageStore, tmp_path: Path
) -> None:
    seen: list[tuple[int, int | None]] = []
    done = fetch(published, progress=lambda have, total: seen.append((have, total)))
    total = len(site.files["/mine.qcow2"])
    assert seen[-1] == (total, total)
    # The offer's own generation, since the disk boots both ways; the day is the server's Last-Modified.
    assert done.image.info.generation is Generation.V1
    assert done.image.info.origin == f"pull {published.url}"
    assert store.aliases() == {"Me:mine:1:7.20261101.1": done.image.digest}
    assert [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []


def test_nothing_is_downloaded_twice(site: Site, published: Entry, fetch: Callable[..., Imported]) -> None:
    first = fetch(published)
    site.requests.clear()
    again = fetch(published)
    assert (again.image, again.known) == (first.image, True)
    assert [path for path, _ in site.requests] == ["/SHA256SUMS"]


def test_a_cut_connection_goes_on_where_it_was(site: Site, published: Entry, fetch: Callable[..., Imported]) -> None:
    site.cuts = [3_000_000, 2_000_000]
    fetch(published)
    starts = [wanted for path, wanted in site.requests if path == "/mine.qcow2"]
    assert len(starts) == 3
    assert starts[0] is None
    for start, sent in zip(starts[1:], (3_000_000, 5_000_000), strict=True):
        assert sent - 200_000 < int(str(start).removeprefix("bytes=").rstrip("-")) <= sent


def test_what_came_is_kept_for_the_next_command(
    site: Site, published: Entry, fetch: Callable[..., Imported], tmp_path: Path
) -> None:
    site.cuts = [1_000_000] * 5
    with pytest.raises(DownloadFailed, match="could not download"):
        fetch(published)
    site.requests.clear()
    fetch(published)
    (start,) = (wanted for path, wanted in site.requests if path == "/mine.qcow2")
    assert 4_500_000 < int(str(start).removeprefix("bytes=").rstrip("-")) <= 5_000_000


def test_a_file_that_changed_in_between_is_fetched_anew(
    site: Site, published: Entry, fetch: Callable[..., Imported]
) -> None:
    site.cuts = [1_000_000] * 5
    with pytest.raises(DownloadFailed):
        fetch(published)
    site.etag = '"2"'
    assert fetch(published).image.info.os_type == "Linux"


def test_a_partial_that_is_whole_already_is_used(
    site: Site, published: Entry, fetch: Callable[..., Imported], tmp_path: Path
) -> None:
    site.cuts = [1_000_000] * 5
    with pytest.raises(DownloadFailed):
        fetch(published)
    (partial,) = (tmp_path / "cache").glob("*.partial")
    partial.write_bytes(site.files["/mine.qcow2"])
    fetch(published)


def test_a_server_that_is_busy_is_asked_again(
    site: Site, published: Entry, fetch: Callable[..., Imported], said: list[str]
) -> None:
    site.refusals = [(503, {"Retry-After": "7"}), (429, {})]
    fetch(published)
    assert [line for line in said if "trying again" in line] == [
        "HTTP 503 Service Unavailable; trying again (2 of 5)",
        "HTTP 429 Too Many Requests; trying again (3 of 5)",
    ]
    site.refusals = [(404, {})]
    with pytest.raises(DownloadFailed, match="answered with status 404"):
        fetch(replace(published, sha256="0" * 64))
    assert site.refusals == []


def test_a_busy_server_is_not_asked_for_ever(
    site: Site, published: Entry, fetch: Callable[..., Imported], store: ImageStore
) -> None:
    site.refusals = [(503, {})] * 9
    with pytest.raises(DownloadFailed, match=r"could not download .*: HTTP 503 Service Unavailable$") as caught:
        fetch(published)
    assert len(site.refusals) == 4
    assert "kept" not in str(caught.value.hint)  # nothing came
    assert store.images() == []


def test_a_file_that_ends_early_is_told(
    site: Site, published: Entry, fetch: Callable[..., Imported], said: list[str]
) -> None:
    site.cuts = [1_000_000] * 5
    total = len(site.files["/mine.qcow2"])
    with pytest.raises(DownloadFailed, match=f"ended early: 5000000 of {total} bytes came$") as caught:
        fetch(published)
    assert caught.value.hint == "what came so far is kept: the same command goes on from there"
    assert f"the connection ended early: 1000000 of {total} bytes came; trying again (2 of 5)" in said


def test_the_list_of_checksums_is_asked_for_again_too(
    site: Site, published: Entry, fetch: Callable[..., Imported], said: list[str]
) -> None:
    entry = replace(published, checksum_url=f"{site.url}/SUMS?for=.qcow2")
    site.files["/SUMS?for=.qcow2"] = site.files["/SHA256SUMS"]
    site.refusals = [(503, {})]
    fetch(entry)
    assert "HTTP 503 Service Unavailable; trying again (2 of 3)" in said
    site.refusals = [(503, {})] * 3
    with pytest.raises(DownloadFailed, match=r"could not download .*SUMS"):
        fetch(entry)
    site.files["/SUMS?for=.qcow2"] = bytes(LIST.limit + 1)
    with pytest.raises(DownloadFailed, match="larger than 16 MiB"):
        fetch(entry)


def test_secrets_of_addresses_are_never_told(
    site: Site, published: Entry, fetch: Callable[..., Imported], said: list[str]
) -> None:
    body = site.files["/mine.qcow2"]
    entry = replace(
        published, url=f"{site.url}/mine.qcow2?sig=s3cr3t", checksum_url=f"{site.url}/SHA256SUMS?sig=s3cr3t"
    )
    errors: list[tuple[str, tuple[str, ...]]] = []
    cases: list[tuple[list[tuple[int, dict[str, str]]], dict[str, bytes]]] = [
        ([], {}),
        ([], {"/SHA256SUMS?sig=s3cr3t": b"nothing"}),
        ([(404, {})], {"/SHA256SUMS?sig=s3cr3t": site.files["/SHA256SUMS"]}),
        ([(503, {})] * 5, {}),
        ([], {"/mine.qcow2?sig=s3cr3t": b"other"}),
    ]
    for refusals, files in cases:
        site.refusals, site.files = list(refusals), site.files | files
        with pytest.raises(DownloadFailed) as caught:
            fetch(entry)
        errors.append((caught.value.message, caught.value.details))
    with pytest.raises(DownloadFailed) as caught:
        fetch(replace(entry, checksum_url="http://127.0.0.1:9/SUMS?sig=s3cr3t"))
    errors.append((caught.value.message, caught.value.details))
    site.files["/mine.qcow2?sig=s3cr3t"] = body
    assert fetch(entry).image.info.origin == f"pull {site.url}/mine.qcow2?sig=***"
    assert "s3cr3t" not in repr((errors, said))


def test_an_address_of_this_machine_is_refused(published: Entry, fetch: Callable[..., Imported]) -> None:
    with pytest.raises(DownloadFailed, match=r"could not download file:///etc/passwd: ") as caught:
        fetch(replace(published, sha256="0" * 64, url="file:///etc/passwd"))
    assert "catalogue.yaml" in str(caught.value.hint)


def test_a_full_disk_is_no_half_image(
    site: Site, published: Entry, fetch: Callable[..., Imported], store: ImageStore, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    site.cuts = [1_000_000] * 5
    with pytest.raises(DownloadFailed):
        fetch(published)
    # A device is refused otherwise; this one answers as a full disk does.
    monkeypatch.setattr("aibemu.download.open_writable", lambda path, flags, mode: os.open(path, flags, mode))
    (partial,) = (tmp_path / "cache").glob("*.partial")
    partial.unlink()
    partial.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):  # the command line has words for it
        fetch(published)
    assert list((tmp_path / "cache").glob("*.partial")) == []
    assert store.images() == []


def test_an_image_that_cannot_be_imported_is_not_left_behind(
    site: Site, published: Entry, fetch: Callable[..., Imported], tmp_path: Path
) -> None:
    site.files["/mine.qcow2"] = b"no disk at all"
    with pytest.raises(UsageError):
        fetch(replace(published, sha256=hashlib.sha256(b"no disk at all").hexdigest()))
    assert [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []


def test_two_at_once_download_it_once(site: Site, published: Entry, store: ImageStore, tmp_path: Path) -> None:
    entry = replace(published, sha256=hashlib.sha256(site.files["/mine.qcow2"]).hexdigest())
    asked, waits = threading.Event(), threading.Event()

    def before(path: str) -> None:
        asked.set()
        assert waits.wait(30)

    site.before = before

    def get(say: Callable[[str], None]) -> Imported:
        return pull(entry, store, cache=tmp_path / "cache", deadline=Deadline(clock=StillClock()), say=say)

    def say(line: str) -> None:
        if line == "waiting for another download of the same file":
            waits.set()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(get, lambda line: None)
        assert asked.wait(30)
        second = pool.submit(get, say)
        assert (first.result().known, second.result().known) == (False, True)
        assert first.result().image.digest == second.result().image.digest
    assert len(site.requests) == 1


def test_a_wrong_checksum_stores_nothing_and_keeps_nothing(
    site: Site, published: Entry, fetch: Callable[..., Imported], store: ImageStore, tmp_path: Path
) -> None:
    site.files["/mine.qcow2"] += b"!"
    with pytest.raises(DownloadFailed, match="not the one that was published") as caught:
        fetch(published)
    assert "expected" in caught.value.details[0]
    assert store.images() == []
    assert list((tmp_path / "cache").glob("*.partial")) == []


def test_a_version_can_be_named(published: Entry, fetch: Callable[..., Imported], store: ImageStore) -> None:
    fetch(published, version="1.2.3")
    assert list(store.aliases()) == ["Me:mine:1:1.2.3"]


def test_refusals(site: Site, published: Entry, fetch: Callable[..., Imported], deadline: Deadline) -> None:
    with pytest.raises(DownloadFailed, match="status 404"):
        fetch(replace(published, checksum_url=f"{site.url}/none"))
    with pytest.raises(DownloadFailed, match=r"no checksum for mine\.qcow2"):
        site.files["/empty"] = b"\n"
        fetch(replace(published, checksum_url=f"{site.url}/empty"))
    with pytest.raises(UsageError, match="cannot be downloaded: ask them"):
        fetch(replace(published, url=None, note="ask them"))
    with pytest.raises(UsageError, match="no checksum"):
        published_file(replace(published, checksum_url=None), deadline, say=print)
    with pytest.raises(DownloadFailed, match=r"cannot reach 127\.0\.0\.1"):
        fetch(replace(published, checksum_url="http://127.0.0.1:9/SUMS"))
    del site.files["/mine.qcow2"]
    with pytest.raises(DownloadFailed, match="status 404"):
        fetch(published)


A, B = "a" * 64, "B" * 128


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{A}  x.img\n", f"sha256:{A}"),
        (f"{A} *x.img\n", f"sha256:{A}"),
        (f"{A}  ./x.img\n", f"sha256:{A}"),
        (f"{B}  x.img\n", f"sha512:{B.lower()}"),
        (f"# x.img: 12 bytes\nSHA256 (x.img) = {A}\n", f"sha256:{A}"),
        (f"SHA512 (x.img) = {B}\r\n", f"sha512:{B.lower()}"),
        (f"{A}  xx.img\n{A}  x.img.sig\n", None),
        (f"{'a' * 40}  x.img\n", None),
        (f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{A}  x.img\n", f"sha256:{A}"),
        ("", None),
    ],
)
def test_lists_of_checksums(text: str, expected: str | None) -> None:
    assert find_checksum(text, "x.img") == expected
