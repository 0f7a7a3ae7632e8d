"""Pulling what distributions build for Azure: a large disk in a small archive, by a server on the loopback."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner

from aibemu.cli.app import App
from aibemu.cli.images import command
from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.disks import convert
from aibemu.distributors.vhd_format import build_footer
from aibemu.errors import BuildCancelled, UsageError
from aibemu.images import Generation
from aibemu.images.catalogue import Entry, Published
from aibemu.images.importing import Imported
from aibemu.images.pull import DownloadFailed, pull
from aibemu.images.store import ImageStore
from aibemu.paths import Home
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
from aibemu.images.catalogue import Entry, Published
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


def test_both_halves_of_the_work_show_how_far_they_are(published: Entry, call: Call, home: Home) -> None:
    home.config.mkdir(parents=True, exist_ok=True)
    lines = [
        "images:", f"- {{offer: 'Me:mine:1', generation: V1, os_type: Linux, os_name: Mine, url: '{published.url}',",
        f"   checksum_url: '{published.checksum_url}'}}",
    ]  # fmt: skip
    (home.config / "catalogue.yaml").write_text("\n".join(lines))
    app = App(home=home, command="images")
    result = CliRunner().invoke(command, ["pull", "Me:mine:1"], obj=app)
    shown = [line.split()[0] if line[0] != " " else "progress" for line in result.stderr.splitlines()]
    begun = [shown.index(word) for word in ("downloading", "unpacking", "looking")]
    assert "progress" in shown[begun[0] : begun[1]] and "progress" in shown[begun[1] : begun[2]]


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


def test_two_offers_of_one_file_keep_their_generation_and_version(
    site: Site, published: Entry, fetch: Callable[..., Imported], store: ImageStore
) -> None:
    first = fetch(published)
    site.requests.clear()
    second = fetch(replace(published, offer="Me:mine:2", generation=Generation.V2, version="8.{date}.0"))
    assert second.known is True and second.image.digest == first.image.digest
    assert [path for path, _ in site.requests] == ["/SHA256SUMS"]
    # The day of both is that of the file, not that of the command.
    assert list(store.aliases()) == ["Me:mine:1:0.20261101.1", "Me:mine:2:8.20261101.0"]
    assert (first.image.info.generation, second.image.info.generation) == (Generation.V1, Generation.V2)
    for alias, generation in (("me:MINE:1:0.20261101.1", "V1"), ("Me:mine:2:8.20261101.0", "V2")):
        assert store.get(alias).info.generation == generation


def test_a_disk_that_cannot_boot_as_the_offer_does_keeps_its_own_generation(
    site: Site, fetch: Callable[..., Imported], make_disk: Callable[..., Path], store: ImageStore, tmp_path: Path
) -> None:
    make_disk().rename(tmp_path / "disk.raw")
    site.files[NAME] = pack(tmp_path / "azure.tar.gz", "disk.raw")
    done = fetch(replace(listed(site), generation=Generation.V2))
    assert done.image.info.generation is Generation.V1
    assert "Me:mine:1 is generation V2 in Azure, and this disk boots only as V1: the image is V1 here" in done.notes


def test_a_file_with_another_name_and_what_a_generic_image_lacks(
    site: Site, published: Entry, fetch: Callable[..., Imported], said: list[str]
) -> None:
    """The names that a distribution gave its file over time; and no word of an agent where the build is for Azure."""
    entry = replace(published, url=f"{site.url}/new.vhdfixed.xz", file=Published(also=("azure.vhd.tar.gz",)))
    done = fetch(entry)
    assert done.image.info.origin == f"pull {site.url}{NAME}"
    assert not any("agent" in note for note in done.notes)
    with pytest.raises(DownloadFailed, match=r"no checksum for new\.vhdfixed\.xz or old\.vhd$"):
        fetch(replace(entry, file=Published(also=("old.vhd",))))
    (note,) = fetch(replace(published, file=Published(build="generic"))).notes
    assert note.startswith("no build for Azure is known of Mine") and "status 127" in note
    assert f"aibemu images prepare {done.image.short} --agent" in note


def test_the_list_says_what_is_built_for_azure_and_what_is_stored(
    site: Site, published: Entry, call: Call, home: Home
) -> None:
    home.config.mkdir(parents=True, exist_ok=True)
    lines = [
        "images:", "- {offer: 'Me:mine:1', generation: V1, os_type: Linux, os_name: Mine, build: azure, size: 300,",
        f"   url: '{published.url}', checksum_url: '{published.checksum_url}'}}",
    ]  # fmt: skip
    (home.config / "catalogue.yaml").write_text("\n".join(lines))

    def mine() -> dict[str, Any]:
        return next(entry for entry in call("pull", "--list")["catalogue"] if entry["offer"] == "Me:mine:1")

    assert (mine()["build"], mine()["downloadSize"], mine()["stored"]) == ("azure", 300 * MIB, [])
    assert re.search(r"Me:mine:1 +V1 +about 300 MiB +Azure +- +Mine", call("pull", "--list", human=True))
    pulled = call("pull", "Me:mine:1")
    (stored,) = mine()["stored"]
    assert (stored["version"], stored["digest"], stored["generation"]) == ("0.20261101.1", pulled["digest"], "V1")
    text = call("pull", "--list", human=True)
    assert re.search(r"Me:mine:1 +V1 +\d+ MiB +Azure +0\.20261101\.1 +Mine", text)
    assert re.search(r"almalinux:almalinux-x86_64:9-gen2 +V2 +- +generic +- +AlmaLinux 9", text)
    assert re.search(r"RedHat:RHEL:9-lvm +V1 +- +none +- +Red Hat", text)
    with pytest.raises(UsageError, match="give ALIAS, or --list"):
        call("pull")
