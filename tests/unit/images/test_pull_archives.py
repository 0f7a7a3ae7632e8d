"""Pulling what distributions build for Azure: a large disk in a small archive, by a server on the loopback."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.disks import convert
from aibemu.distributors.vhd_format import build_footer
from aibemu.errors import BuildCancelled, UsageError
from aibemu.images import Generation
from aibemu.images.catalogue import Entry
from aibemu.images.importing import Imported
from aibemu.images.pull import DownloadFailed, pull
from aibemu.images.store import ImageStore
from tests.unit.images.conftest import Call
from tests.unit.images.site import Site

MIB, GIB = 1 << 20, 1 << 30
NAME = "/azure.vhd.tar.gz"


def vhd(raw: Path, target: Path, size: int) -> Path:
    """A fixed VHD of `size` bytes, all of it holes but what `raw` has."""
    raw.rename(target)
    with target.open("r+b") as stream:
        stream.seek(size)
        stream.write(build_footer(size=size, unique_id=UUID(int=1), created=datetime(2026, 1, 1, tzinfo=UTC)))
    return target


def pack(target: Path, *names: str) -> bytes:
    words = ["tar", "--create", "--gzip", "--sparse", "--file", str(target), "--directory", str(target.parent)]
    subprocess.run([*words, *names], check=True)
    return target.read_bytes()


@pytest.fixture
def published(site: Site, make_disk: Callable[..., Path], tmp_path: Path) -> Entry:
    """An archive as Ubuntu publishes it: one fixed VHD of 30 GiB in it."""
    vhd(make_disk(efi=True, bios=True), tmp_path / "livecd.azure.vhd", 30 * GIB)
    site.files[NAME] = pack(tmp_path / "azure.tar.gz", "livecd.azure.vhd")
    return listed(site)


def listed(site: Site) -> Entry:
    site.files["/SHA256SUMS"] = f"{hashlib.sha256(site.files[NAME]).hexdigest()} *azure.vhd.tar.gz\n".encode()
    return Entry(
        offer="Me:mine:1", generation=Generation.V1, os_type="Linux", os_name="Mine", url=f"{site.url}{NAME}",
        checksum_url=f"{site.url}/SHA256SUMS",
    )  # fmt: skip


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def fetch(store: ImageStore, tmp_path: Path, said: list[str]) -> Callable[..., Imported]:
    def run(entry: Entry, cancel: CancelToken | None = None, **more: object) -> Imported:
        deadline = Deadline(clock=SystemClock(), cancel=CancelToken() if cancel is None else cancel)
        return pull(entry, store, cache=tmp_path / "cache", deadline=deadline, say=said.append, **more)  # type: ignore[arg-type]

    return run


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


CHILD = """
import json, sys
from pathlib import Path
from aibemu.clock import SystemClock, forever
from aibemu.images import Generation
from aibemu.images.catalogue import Entry
from aibemu.images.pull import pull
from aibemu.images.store import ImageStore
site, store, cache = sys.argv[1:]
entry = Entry(offer="Me:mine:1", generation=Generation.V1, os_type="Linux", os_name="Mine",
              url=site + "/azure.vhd.tar.gz", checksum_url=site + "/SHA256SUMS")
def most(): return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = []
def progress(done, total): before or before.append(most())
store = ImageStore(Path(store), SystemClock())
done = pull(entry, store, cache=Path(cache), deadline=forever(), say=str, progress=progress)
print(json.dumps({"digest": done.image.digest, "kilobytes": most() - before[0]}))
"""


def test_a_disk_of_30_gib_in_constant_memory_after_a_cut(
    site: Site, published: Entry, store: ImageStore, tmp_path: Path
) -> None:
    total = len(site.files[NAME])
    site.cuts = [total // 2]
    words = [sys.executable, "-c", CHILD, site.url, str(store.root), str(tmp_path / "cache")]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    answer = json.loads(done.stdout)
    # The whole archive has less than 1 MiB, the disk 30 GiB.
    assert answer["kilobytes"] < 64 * 1024
    asked = [wanted for path, wanted in site.requests if path == NAME]
    assert len(asked) == 2 and asked[0] is None and str(asked[1]).startswith("bytes=")
    image = store.get(answer["digest"])
    assert image.virtual_size == 30 * GIB and image.on_disk < 32 * MIB
    assert image.info.os_name.startswith("Debian")
    assert image.info.origin == f"pull {site.url}{NAME}"
    assert list(store.aliases()) == ["Me:mine:1:0.20261101.1"]
    assert left(tmp_path / "cache") == left(store.root / "tmp") == []
    # The same bytes as those that went into the archive.
    words = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2"]
    raw = convert.info(tmp_path / "livecd.azure.vhd", deadline=Deadline(clock=SystemClock()))
    with raw.path.open("r+b") as stream:
        stream.truncate(raw.virtual_size)
    subprocess.run([*words, raw.path, image.path], check=True, capture_output=True)


def test_a_wrong_checksum_is_refused_before_anything_is_unpacked(
    site: Site, published: Entry, fetch: Callable[..., Imported], store: ImageStore, said: list[str], tmp_path: Path
) -> None:
    site.files[NAME] += b"!"
    with pytest.raises(DownloadFailed, match="not the one that was published"):
        fetch(published)
    assert not any("unpacking" in line for line in said)
    assert store.images() == [] and left(tmp_path / "cache") == []


def test_a_second_file_is_refused(
    site: Site, published: Entry, fetch: Callable[..., Imported], store: ImageStore, tmp_path: Path
) -> None:
    (tmp_path / "readme").write_text("x")
    site.files[NAME] = pack(tmp_path / "two.tar.gz", "livecd.azure.vhd", "readme")
    entry = listed(site)
    with pytest.raises(UsageError, match=r"there is 'readme' in it") as caught:
        fetch(entry)
    assert caught.value.message.startswith(f"{site.url}{NAME} is not taken")
    assert store.images() == [] and left(tmp_path / "cache") == left(store.root / "tmp") == []


def test_a_vhd_that_was_cut_off_before_it_was_packed_is_refused(
    site: Site, published: Entry, fetch: Callable[..., Imported], store: ImageStore, tmp_path: Path
) -> None:
    with (tmp_path / "livecd.azure.vhd").open("r+b") as stream:
        stream.truncate(20 * GIB)
    site.files[NAME] = pack(tmp_path / "cut.tar.gz", "livecd.azure.vhd")
    entry = listed(site)
    with pytest.raises(UsageError, match="is damaged: a VHD ends with a footer") as caught:
        fetch(entry)
    # The file that was unpacked is gone: it is told by the archive's address.
    assert caught.value.message.startswith(f"livecd.azure.vhd in {site.url}{NAME}")
    assert store.images() == []


def test_what_ends_while_it_is_unpacked_does_not_fetch_it_again(
    site: Site, published: Entry, fetch: Callable[..., Imported], store: ImageStore, said: list[str], tmp_path: Path
) -> None:
    token = CancelToken()

    def progress(done: int, total: int | None) -> None:
        if any("unpacking" in line for line in said):
            token.cancel("enough")

    with pytest.raises(BuildCancelled):
        fetch(published, token, progress=progress)
    assert store.images() == [] and left(store.root / "tmp") == []
    assert len(left(tmp_path / "cache")) == 1
    site.requests.clear()
    assert fetch(published).known is False
    assert [path for path, _ in site.requests] == ["/SHA256SUMS"]
    assert "it was downloaded before" in said
    # The day is still the server's.
    assert list(store.aliases()) == ["Me:mine:1:0.20261101.1"]
    assert left(tmp_path / "cache") == []


def test_a_file_that_was_kept_and_changed_is_fetched_again(
    site: Site, published: Entry, fetch: Callable[..., Imported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("aibemu.images.pull.import_file", fail)
        fetch(published)
    (kept,) = (path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock")
    kept.write_bytes(b"other")
    assert fetch(published).known is False


def test_an_archive_is_known_again_and_not_unpacked_twice(
    site: Site, published: Entry, call: Call, tmp_path: Path
) -> None:
    """`images import` takes the same archives."""
    archive = tmp_path / "azure.tar.gz"
    first = call("import", archive, "--alias", "mine")
    assert (first["virtualSize"], first["aliases"], first["origin"]) == (30 * GIB, ["mine"], f"import {archive}")
    text = call("import", archive, "--alias", "again", human=True)
    assert first["digest"][:12] in text and "again, mine" in text
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(UsageError, match=r"azure\.tar\.gz is damaged: its end is missing"):
        call("import", archive)


def test_two_offers_of_one_file(site: Site, published: Entry, fetch: Callable[..., Imported], said: list[str]) -> None:
    fetch(published)
    site.requests.clear()
    other = replace(published, offer="Me:mine:2", generation=Generation.V2)
    assert fetch(other).known is True
    assert [path for path, _ in site.requests] == ["/SHA256SUMS"]
