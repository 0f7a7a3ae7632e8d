"""Sets of images as one file: the same bytes each time, whole or not there, and nothing taken that anybody made up."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu import files
from aibemu.clock import Deadline
from aibemu.errors import AibemuError, HostNotReady, UsageError
from aibemu.images import BaseImage, set_format, sets
from aibemu.images.importing import LARGEST
from aibemu.images.set_format import BLOCK, INDEX, SetImage, index_of, padding, read_index, size_of
from aibemu.images.store import ImageStore
from aibemu.images.windows import WindowsFacts
from aibemu.paths import Home
from tests.unit.images.conftest import INFO, Call, StillClock

DEBIAN = "Debian:debian-12:12:1.0.0"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """A folder with a blank in its name."""
    folder = tmp_path / "a stick"
    folder.mkdir()
    return folder


@pytest.fixture
def other(tmp_path: Path, clock: StillClock) -> ImageStore:
    """The store of another computer."""
    return ImageStore(tmp_path / "other", clock)


def quiet(done: int, size: int) -> None:
    """Progress that nobody looks at."""


def disk(folder: Path, content: bytes, *more: str | Path) -> Path:
    """A small qcow2 file with this content."""
    raw = folder / "disk.raw"
    raw.write_bytes(content.ljust(1 << 16, b"\0"))
    target = folder / f"{hashlib.sha256(content).hexdigest()[:8]}.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *more, raw, target], check=True)
    return target


def fill(store: ImageStore, folder: Path, deadline: Deadline, *names: str) -> list[BaseImage]:
    """An image for each name, which is its alias, and its content."""
    images = []
    for name in names:
        image = store.add(disk(folder, name.encode()), INFO, deadline=deadline, source_format="qcow2")
        store.set_alias(name, image.digest)
        images.append(image)
    return images


def take(path: Path, store: ImageStore, deadline: Deadline, **more: Any) -> list[sets.Arrived]:
    return sets.import_set(path, store, deadline=deadline, progress=quiet, limit=LARGEST, **more)


def nothing_of_it(store: ImageStore) -> bool:
    """No image, no alias, no file of work."""
    return (
        not store.images() and not store.aliases() and not list(store.root.glob("blobs/*"))
        and not list(store.root.glob("tmp/*"))
    )  # fmt: skip


def test_a_set_goes_from_one_store_to_another(
    store: ImageStore, other: ImageStore, stick: Path, tmp_path: Path, deadline: Deadline
) -> None:
    one, two = fill(store, tmp_path, deadline, "one", DEBIAN)
    store.set_alias("second", two.digest)
    file = stick / "set"
    steps: list[tuple[int, int]] = []
    done = sets.export_set(
        file, [two, one, two], store, deadline=deadline, progress=lambda done, size: steps.append((done, size))
    )
    assert steps[-1] == (done.size, done.size) == (file.stat().st_size,) * 2
    arrived = take(file, other, deadline)
    assert {item.image.digest for item in arrived} == {one.digest, two.digest}
    assert not any(item.known for item in arrived)
    assert other.aliases() == store.aliases()
    for image in other.images():
        assert image.info == INFO and image.path.stat().st_mode & 0o777 == 0o444
        assert hashlib.sha256(image.path.read_bytes()).hexdigest() == image.digest
    assert not list(other.root.glob("tmp/*")) and other.sweep() == []
    again = take(file, other, deadline)
    assert all(item.known for item in again) and len(other.images()) == 2


def test_the_same_images_give_the_same_bytes_and_tar_can_read_them(
    store: ImageStore, other: ImageStore, stick: Path, tmp_path: Path, deadline: Deadline
) -> None:
    images = fill(store, tmp_path, deadline, "one", "two")
    sets.export_set(stick / "a", images, store, deadline=deadline, progress=quiet)
    take(stick / "a", other, deadline)
    sets.export_set(stick / "b", other.images()[::-1], other, deadline=deadline, progress=quiet)
    assert (stick / "a").read_bytes() == (stick / "b").read_bytes()
    with tarfile.open(stick / "a") as archive:
        names = [member.name for member in archive]
        assert names == [INDEX, *sorted(f"{image.digest}.qcow2" for image in images)]
        assert {(member.mtime, member.uid, member.uname) for member in archive} == {(0, 0, "")}


def test_words_and_answers(call: Call, home: Home, make_disk: Callable[..., Path], stick: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no image to export"):
        call("export", stick / "set")
    digest = call("import", make_disk(), "--alias", "gold")["digest"]
    done = call("export", stick / "set", "gold")
    assert (done["path"], done["size"]) == (str(stick / "set"), (stick / "set").stat().st_size)
    assert [image["digest"] for image in done["images"]] == [digest]
    with pytest.raises(UsageError, match="is there already") as caught:
        call("export", stick / "set")
    assert "--force" in str(caught.value.hint)
    assert "aibemu images import set" in call("export", stick / "set", "--force", human=True)
    again = call("import", stick / "set")
    assert [(image["digest"], image["known"]) for image in again["images"]] == [(digest, True)]
    assert "already here" in call("import", stick / "set", human=True)
    call("remove", "gold", "--force", "--yes")
    new = call("import", stick / "set", "--alias", "silver")
    assert new["aliases"] == {"silver": digest} and not new["images"][0]["known"]
    with pytest.raises(UsageError, match="says itself what they are"):
        call("import", stick / "set", "--os-type", "Linux")
    with pytest.raises(UsageError, match="is for a set of images"):
        call("import", make_disk(), "--force")


def test_aliases_that_are_other_images_here(
    store: ImageStore, other: ImageStore, stick: Path, tmp_path: Path, deadline: Deadline
) -> None:
    images = fill(store, tmp_path, deadline, "Gold", "two")
    (mine,) = fill(other, tmp_path, deadline, "mine")
    other.set_alias("gold", mine.digest)
    file = stick / "set"
    sets.export_set(file, images, store, deadline=deadline, progress=quiet)
    with pytest.raises(UsageError, match="the alias Gold is another image here") as caught:
        take(file, other, deadline)
    assert caught.value.details == (f"Gold is {mine.short}",) and "--force" in str(caught.value.hint)
    assert [image.digest for image in other.images()] == [mine.digest]
    take(file, other, deadline, renamed=["Gold=yours"])
    assert other.aliases() == {
        "gold": mine.digest, "mine": mine.digest, "two": images[1].digest, "yours": images[0].digest
    }  # fmt: skip
    take(file, other, deadline, force=True)
    assert other.aliases()["Gold"] == images[0].digest and "gold" not in other.aliases()
    for renamed, why in (
        (["x"], "the set has 2 images"), (["none=x"], "no alias none"), (["two=Gold"], "the same alias"),
        (["two=../x"], "cannot be an alias"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=why):
            take(file, other, deadline, renamed=renamed)


def test_where_it_cannot_be_written(
    store: ImageStore, stick: Path, tmp_path: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = fill(store, tmp_path, deadline, "one")

    def export(path: Path) -> AibemuError:
        with pytest.raises(AibemuError) as caught:
            sets.export_set(path, images, store, deadline=deadline, progress=quiet, replace=True)
        return caught.value

    assert "mount it first" in str(export(tmp_path / "not mounted" / "set").hint)
    os.mkfifo(stick / "pipe")
    (stick / "link").symlink_to(stick / "nowhere")
    assert all("is not a regular file" in str(export(stick / name)) for name in ("pipe", "link"))
    monkeypatch.setattr(sets, "FAT_LIMIT", 1000)
    monkeypatch.setattr(files, "file_system", lambda folder: "vfat")
    error = export(stick / "set")
    assert "more than a file on that file system may have (vfat: less than 4 GiB)" in str(error)
    assert "exFAT" in str(error.hint)
    monkeypatch.setattr(files, "file_system", lambda folder: "ext4")
    monkeypatch.setattr(os, "statvfs", lambda folder: os.statvfs_result((1, 1, 0, 0, 0, 0, 0, 0, 0, 255)))
    assert "0 bytes free" in str(export(stick / "set"))
    assert sorted(path.name for path in stick.iterdir()) == ["link", "pipe"]


def test_the_kind_of_a_file_system_is_the_kernels_word(tmp_path: Path) -> None:
    assert files.file_system(Path("/proc")) == "proc"
    assert files.file_system(tmp_path) not in ("vfat", "proc")


ENDS: Mapping[str, tuple[BaseException, type[BaseException], str]] = {
    "ctrl-c": (KeyboardInterrupt("stop"), KeyboardInterrupt, "stop"),
    "full": (OSError(errno.ENOSPC, "No space left on device"), HostNotReady, "no room left for"),
    "pulled out": (OSError(errno.EIO, "Input/output error"), HostNotReady, "Input/output error"),
    "too large": (OSError(errno.EFBIG, "File too large"), HostNotReady, "larger than a file on that file system"),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_export_that_ends_early_leaves_the_file_that_was_there(
    end: str, store: ImageStore, stick: Path, tmp_path: Path, deadline: Deadline
) -> None:
    raised, kind, text = ENDS[end]
    images = fill(store, tmp_path, deadline, "one")
    file = stick / "set"
    file.write_text("older")

    def stop(done: int, size: int) -> None:
        if done > BLOCK * 8:
            raise raised

    with pytest.raises(kind, match=text):
        sets.export_set(file, images, store, deadline=deadline, progress=stop, replace=True)
    assert [path.name for path in stick.iterdir()] == ["set"] and file.read_text() == "older"


@pytest.mark.parametrize("end", ["ctrl-c", "pulled out"])
def test_an_import_that_ends_early_leaves_nothing(
    end: str, store: ImageStore, other: ImageStore, stick: Path, tmp_path: Path, deadline: Deadline
) -> None:
    raised, kind, text = ENDS[end]
    sets.export_set(
        stick / "set", fill(store, tmp_path, deadline, "one", "two"), store, deadline=deadline, progress=quiet
    )

    def stop(done: int, size: int) -> None:
        if done > size // 2:
            raise raised

    with pytest.raises(kind, match=text):
        sets.import_set(stick / "set", other, deadline=deadline, progress=stop, limit=LARGEST)
    assert nothing_of_it(other)
    assert len(take(stick / "set", other, deadline)) == 2


def test_a_killed_export_is_cleaned_up_by_the_next(
    store: ImageStore, stick: Path, tmp_path: Path, deadline: Deadline
) -> None:
    images = fill(store, tmp_path, deadline, "one")
    left = stick / ".set.4194304-1-1.abcdef.partial"
    others = stick / files.partial_name("set"), stick / ".setup.4194304-1-1.abcdef.partial"
    for path in (left, *others):
        path.write_text("half")
    sets.export_set(stick / "set", images, store, deadline=deadline, progress=quiet)
    assert not left.exists() and all(path.exists() for path in others)


def test_a_stored_image_that_changed_is_not_exported(
    store: ImageStore, stick: Path, tmp_path: Path, deadline: Deadline
) -> None:
    (image,) = fill(store, tmp_path, deadline, "one")
    image.path.chmod(0o644)
    with image.path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\xff")
    with pytest.raises(HostNotReady, match="its bytes changed since it was stored"):
        sets.export_set(stick / "set", [image], store, deadline=deadline, progress=quiet)
    assert not list(stick.iterdir())


# Sets that somebody made by hand.


def entry(content: bytes, *, virtual_size: int = 1 << 16, aliases: tuple[str, ...] = ("one",)) -> SetImage:
    return SetImage(
        digest=hashlib.sha256(content).hexdigest(), file_size=len(content), virtual_size=virtual_size, info=INFO,
        aliases=aliases,
    )  # fmt: skip


def packed(*contents: bytes, entries: list[SetImage] | None = None) -> bytes:
    """A set as aibemu writes it; of entries that lie, if any are given."""
    listed = entries or [entry(content, aliases=(f"n{number}",)) for number, content in enumerate(contents)]
    by_digest = sorted(zip(listed, contents, strict=True), key=lambda pair: pair[0].digest)
    index = index_of(listed)
    body = b"".join(image.header + content + padding(len(content)) for image, content in by_digest)
    return (index + body).ljust(size_of(len(index), listed), b"\0")


def with_index(change: Callable[[dict[str, Any]], object], content: bytes) -> bytes:
    """A set whose index says something else, with the right checksum and length."""
    image = {"digest": entry(content).digest, "fileSize": len(content), "virtualSize": 1 << 16, "aliases": ["one"]}
    value: dict[str, Any] = {"aibemu": "images", "v": 1, "images": [image | {"info": asdict(INFO)}]}
    change(value)
    value.setdefault("sha256", set_format._checksum(value["images"]))
    text = json.dumps(value).encode()
    whole = set_format._header(INDEX, len(text)) + text + padding(len(text)) + entry(content).header + content
    return whole.ljust(-(-(len(whole) + 2 * BLOCK) // 10240) * 10240, b"\0")


def member(kind: bytes, name: str, link: str = "", size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info.tobuf(tarfile.GNU_FORMAT)


def in_place_of_the_image(header: bytes, content: bytes) -> bytes:
    whole = packed(content)
    return whole.replace(entry(content).header, header)


def first(change: Mapping[str, Any]) -> Callable[[dict[str, Any]], object]:
    return lambda value: value["images"][0].update(change)


HOSTILE: Mapping[str, tuple[Callable[[bytes], bytes], str]] = {
    "a path upwards": (lambda q: in_place_of_the_image(member(b"0", "../../x", size=len(q)), q), "'../../x'"),
    "an absolute path": (lambda q: in_place_of_the_image(member(b"0", "/etc/x", size=len(q)), q), "'/etc/x'"),
    "a symbolic link": (lambda q: in_place_of_the_image(member(b"2", "x", "/etc/passwd"), q), "a symbolic link"),
    "a link": (lambda q: in_place_of_the_image(member(b"1", "x", "/etc/passwd"), q), "a link"),
    "a device": (lambda q: in_place_of_the_image(member(b"3", "x"), q), "a device"),
    "a pipe": (lambda q: in_place_of_the_image(member(b"6", "x"), q), "a pipe"),
    "a header for long names": (lambda q: in_place_of_the_image(member(b"L", "x", size=1 << 40), q), "should be"),
    "a pax header": (lambda q: in_place_of_the_image(member(b"x", "x", size=1 << 40), q), "should be"),
    "no header": (lambda q: in_place_of_the_image(b"\xff" * BLOCK, q), "no file"),
    "an index that is a bomb": (lambda q: set_format._header(INDEX, 1 << 40) + q, "its index is not as"),
    "an index that is a link": (lambda q: member(b"2", INDEX, "/dev/zero").ljust(10240, b"\0"), "its index is not"),
    "an index of nothing": (lambda q: with_index(lambda v: v.update(images=[]), q), "it lists 0 images"),
    "an index that nests": (lambda q: with_index(lambda v: v.update(v="["), q), "v must be a whole number"),
    "a newer index": (lambda q: with_index(lambda v: v.update(v=2), q), "this aibemu reads 1"),
    "a wrong checksum": (lambda q: with_index(lambda v: v.update(sha256="0"), q), "its own checksum"),
    "a size that lies": (lambda q: with_index(first({"fileSize": len(q) + 512}), q), "where image"),
    "a size that is huge": (lambda q: with_index(first({"fileSize": 1 << 50}), q), "at most 256 GiB"),
    "a disk that is huge": (lambda q: with_index(first({"virtualSize": 1 << 50}), q), "at most 256 GiB"),
    "a size below zero": (lambda q: with_index(first({"fileSize": -1}), q), "fileSize must be"),
    "a digest that is a path": (lambda q: with_index(first({"digest": "../x"}), q), "is no digest"),
    "an alias that is a path": (lambda q: with_index(first({"aliases": ["../x"]}), q), "cannot be an alias"),
    "an alias that is none": (lambda q: with_index(first({"aliases": [7]}), q), "must be a text"),
    "no description": (lambda q: with_index(first({"info": {}}), q), "it has no 'os_type'"),
    "the same image twice": (lambda q: with_index(lambda v: v.update(images=v["images"] * 2), q), "in it twice"),
    "other bytes": (lambda q: packed(b"QFI\xfb" + q[4:-1] + b"\xff", entries=[entry(q)]), "has other bytes"),
    "a disk of another size": (lambda q: packed(q, entries=[entry(q, virtual_size=512)]), "not 512"),
    "no qcow2": (lambda q: packed(b"\0" * 4096), "is no qcow2 image"),
    "half a qcow2": (lambda q: packed(q[:4096]), "no sound qcow2 image"),
    "cut off": (lambda q: packed(q)[:-10240], "it is cut off"),
    "something behind it": (lambda q: packed(q) + b"\0" * 512, "its index tells of"),
    "only a beginning": (lambda q: packed(q)[:700], "its index cannot be read"),
    "another archive": (lambda q: member(b"0", "disk.vhd", size=9).ljust(10240, b"\0"), "its first file is 'disk.vhd'"),
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", HOSTILE)
def test_what_somebody_made_by_hand_is_refused_whole(
    how: str, other: ImageStore, stick: Path, tmp_path: Path, deadline: Deadline
) -> None:
    make, text = HOSTILE[how]
    file = stick / "set"
    file.write_bytes(make(disk(tmp_path, b"one").read_bytes()))
    assert sets.is_set(file)
    with pytest.raises(UsageError, match=text):
        take(file, other, deadline)
    assert nothing_of_it(other) and not (stick / "x").exists()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["backing", "data"])
def test_an_image_that_refers_to_files_of_the_host_is_refused(
    kind: str, other: ImageStore, stick: Path, tmp_path: Path, deadline: Deadline
) -> None:
    """The file is a pipe that nobody writes to: who opened it would wait."""
    secret, bad = tmp_path / "secret", tmp_path / "bad.qcow2"
    secret.write_bytes(bytes(1 << 16))
    words = ["-b", secret, "-F", "raw"] if kind == "backing" else ["-o", f"data_file={secret},data_file_raw=on"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *words, bad, "65536"], check=True)
    secret.unlink()
    os.mkfifo(secret)
    (stick / "set").write_bytes(packed(bad.read_bytes()))
    with pytest.raises(UsageError, match="refers to other files of this host"):
        take(stick / "set", other, deadline)
    assert nothing_of_it(other)


def test_one_bad_image_keeps_the_good_ones_out(
    other: ImageStore, stick: Path, tmp_path: Path, deadline: Deadline
) -> None:
    good = disk(tmp_path, b"one").read_bytes()
    (stick / "set").write_bytes(packed(good, b"QFI\xfb" + bytes(4096)))
    with pytest.raises(UsageError, match="no sound qcow2"):
        take(stick / "set", other, deadline)
    assert nothing_of_it(other)


SMALL = packed(b"QFI\xfb" + bytes(range(256)), b"QFI\xfb" + bytes(100))


def walk(data: bytes) -> dict[str, bytes]:
    """Digest -> bytes of what the reader takes of a file."""
    stream, path = io.BytesIO(data), Path("set")
    found = {}
    for image in read_index(stream, path, size=len(data), limit=LARGEST):
        set_format.check_header(stream, path, image)
        found[image.digest] = b"".join(set_format.blocks_of(stream, path, image, block=64))
    return found


@given(at=st.integers(0, len(SMALL) - 1), cut=st.integers(0, 600), new=st.binary(max_size=600))
def test_a_damaged_set_is_refused_or_read_as_it_was(at: int, cut: int, new: bytes) -> None:
    """What is changed inside an image shows by its digest; all else by its place."""
    whole = walk(SMALL)
    try:
        found = walk(SMALL[:at] + new + SMALL[at + cut :])
    except UsageError as error:
        assert error.message and len(error.message) < 1000
        return
    assert {digest: len(data) for digest, data in found.items()} == {d: len(data) for d, data in whole.items()}


@given(st.binary(max_size=2000))
def test_any_bytes_after_a_header_are_refused(data: bytes) -> None:
    with pytest.raises(UsageError):
        walk(set_format._header(INDEX, len(data)) + data)


def test_what_is_known_of_a_windows_travels_too() -> None:
    facts = WindowsFacts(
        product="Windows Server 2022", edition="ServerDatacenter", build=20348, installation="Server", evaluation=False,
        image_state="", agents=("RdAgent",), unprepared=("pci",),
    )  # fmt: skip
    image = replace(entry(b"QFI\xfb"), info=replace(INFO, os_type="Windows", windows=facts))
    whole = packed(b"QFI\xfb", entries=[image])
    assert read_index(io.BytesIO(whole), Path("set"), size=len(whole), limit=LARGEST) == [image]


def test_a_set_of_a_version_that_knows_more_of_an_image_is_read() -> None:
    content = b"QFI\xfb"
    whole = with_index(first({"info": asdict(INFO) | {"color": "blue"}, "weight": 7}), content)
    (image,) = read_index(io.BytesIO(whole), Path("set"), size=len(whole), limit=LARGEST)
    assert image == entry(content)


def test_sizes_beyond_what_old_tar_headers_hold() -> None:
    huge = SetImage(
        digest="a" * 64, file_size=20 << 30, virtual_size=1 << 40, info=INFO, aliases=()
    )  # fmt: skip
    parsed = tarfile.TarInfo.frombuf(huge.header, "utf-8", "strict")
    assert (parsed.name, parsed.size, parsed.type) == (f"{'a' * 64}.qcow2", 20 << 30, tarfile.REGTYPE)
