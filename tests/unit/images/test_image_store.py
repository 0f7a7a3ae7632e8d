"""The store: what goes in comes out bit for bit, nothing half-written is ever an image, two processes get along."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import subprocess
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu.clock import Deadline, SystemClock, forever
from aibemu.disks import convert
from aibemu.errors import AibemuError, HostNotReady, NotFoundError, UsageError
from aibemu.images.store import ImageStore
from tests.unit.images.conftest import INFO


def raw(path: Path, seed: int = 1, size: int = 1 << 20) -> Path:
    path.write_bytes(bytes([seed]) * 4096 + bytes(size - 8192) + b"end!" * 1024)
    return path


def content(path: Path, tmp_path: Path) -> bytes:
    out = tmp_path / "out.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", path, out], check=True)
    return out.read_bytes()


def test_add_stores_the_same_bytes_read_only_and_leaves_the_source(
    store: ImageStore, tmp_path: Path, deadline: Deadline
) -> None:
    source = raw(tmp_path / "a.raw")
    before = (source.read_bytes(), source.stat().st_mtime_ns)
    image = store.add(source, INFO, deadline=deadline)
    assert content(image.path, tmp_path) == before[0]
    assert (source.read_bytes(), source.stat().st_mtime_ns) == before
    assert image.path.stat().st_mode & 0o777 == 0o444
    assert image.digest == hashlib.sha256(image.path.read_bytes()).hexdigest()
    assert (image.virtual_size, image.file_size) == (1 << 20, image.path.stat().st_size)
    assert image.info == INFO
    assert image.created == "2026-11-23T10:00:00Z"
    assert store.images() == [image]
    assert not list((store.root / "tmp").iterdir())


def test_adding_the_same_file_again_copies_nothing(
    store: ImageStore, tmp_path: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.add(raw(tmp_path / "a.raw"), INFO, deadline=deadline)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(convert, "to_qcow2", refuse)
    assert store.add(raw(tmp_path / "copy.raw"), INFO, deadline=deadline) == first


def test_an_overlay_is_flattened(store: ImageStore, tmp_path: Path, deadline: Deadline) -> None:
    base = store.add(raw(tmp_path / "a.raw"), INFO, deadline=deadline)
    overlay = tmp_path / "overlay.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base.path, "-F", "qcow2", overlay, "2M"], check=True
    )
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 0x77 1M 64k", overlay], check=True, capture_output=True)
    image = store.add(overlay, INFO, deadline=deadline)
    data = content(image.path, tmp_path)
    assert data[: 1 << 20] == (tmp_path / "a.raw").read_bytes()
    assert data[1 << 20 :][: 1 << 16] == b"\x77" * (1 << 16)
    assert convert.info(image.path, deadline=deadline).references == ()
    assert image.virtual_size == 2 << 20


def test_compressed_holds_the_same_in_less(store: ImageStore, tmp_path: Path, deadline: Deadline) -> None:
    source = tmp_path / "a.raw"
    source.write_bytes(b"compress me well " * 200_000)
    image = store.add(source, INFO, deadline=deadline, source_format="raw", compressed=True)
    assert image.file_size < 1_000_000
    assert content(image.path, tmp_path)[: source.stat().st_size] == source.read_bytes()


def test_references(store: ImageStore, tmp_path: Path, deadline: Deadline) -> None:
    image = store.add(raw(tmp_path / "a.raw"), INFO, deadline=deadline)
    store.set_alias("gold", image.digest)
    store.set_alias("Debian:debian-12:12:0.1", image.digest)
    for reference in (image.digest, image.digest[:6], image.short, f"sha256:{image.digest}", "gold", "GOLD",
                      "debian:DEBIAN-12:12:0.1"):  # fmt: skip
        assert store.get(reference) == image
    assert store.find(image.digest[:5]) is None
    assert store.find("../../etc/passwd") is None
    with pytest.raises(NotFoundError) as caught:
        store.get("golt")
    assert caught.value.hint == "did you mean gold?"


def test_an_ambiguous_beginning_is_refused(store: ImageStore) -> None:
    (store.root / "records").mkdir(parents=True)
    for tail in "ab":
        (store.root / "records" / f"{'c' * 10}{tail * 54}.json").write_text("{}")
    with pytest.raises(UsageError, match="beginning of 2 images"):
        store.get("c" * 10)


def test_aliases_move_and_go(store: ImageStore, tmp_path: Path, deadline: Deadline) -> None:
    one = store.add(raw(tmp_path / "a.raw", 1), INFO, deadline=deadline)
    two = store.add(raw(tmp_path / "b.raw", 2), INFO, deadline=deadline)
    store.set_alias("gold", one.digest)
    store.set_alias("Gold", two.digest)
    assert store.aliases() == {"Gold": two.digest}
    store.remove_alias("gold")
    assert store.aliases() == {}
    with pytest.raises(NotFoundError):
        store.remove_alias("gold")
    with pytest.raises(NotFoundError):
        store.set_alias("gold", "0" * 64)


@pytest.mark.parametrize("name", [
    "", "-x", "a/b", "abcdef012345", "a:b:c:d:e", "a::b", "x\ny", "../x", "..", "a.", "a ", "a\0", "a\\b", "a" * 300,
    "a:..:c", "a\u202eb",
])  # fmt: skip
def test_names_that_cannot_be_aliases(store: ImageStore, tmp_path: Path, deadline: Deadline, name: str) -> None:
    image = store.add(raw(tmp_path / "a.raw"), INFO, deadline=deadline)
    with pytest.raises(UsageError):
        store.set_alias(name, image.digest)


def test_remove_takes_blob_record_and_aliases(store: ImageStore, tmp_path: Path, deadline: Deadline) -> None:
    image = store.add(raw(tmp_path / "a.raw"), INFO, deadline=deadline)
    store.set_alias("gold", image.digest)
    store.remove("gold")
    assert (store.images(), store.aliases(), image.path.exists()) == ([], {}, False)


def test_labels_find_the_newest(store: ImageStore, tmp_path: Path, deadline: Deadline) -> None:
    image = store.add(raw(tmp_path / "a.raw"), INFO, deadline=deadline, labels={"recipe": "r1"})
    assert store.find_label("recipe", "r1") == image
    assert store.find_label("recipe", "r2") is None
    assert store.labels(image.digest) == {"recipe": "r1"}


def test_a_failed_conversion_leaves_nothing(
    store: ImageStore, tmp_path: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: object, target: Path, **kwargs: object) -> None:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "to_qcow2", fail)
    with pytest.raises(KeyboardInterrupt):
        store.add(raw(tmp_path / "a.raw"), INFO, deadline=deadline)
    assert store.images() == []
    assert [path for path in store.root.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_a_full_disk_is_said_before_writing(
    store: ImageStore, tmp_path: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 99, 1 << 20))
    with pytest.raises(HostNotReady, match="not enough disk space"):
        store.add(raw(tmp_path / "a.raw"), INFO, deadline=deadline)
    assert store.images() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_what_is_mounted_in_a_work_folder_is_not_deleted(store: ImageStore) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    inside = store.root / "tmp" / f"{child.pid}.0a0b0c0d.partial" / "mmdebstrap 1" / "proc"
    inside.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "none", inside], capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        (inside / "precious").touch()
        with pytest.raises(OSError, match=f"umount --lazy {inside}"):
            store.sweep()
        assert (inside / "precious").exists()
    finally:
        subprocess.run(["umount", inside], check=True)
    assert store.sweep() == [inside.parents[1]]


def test_sweep_takes_what_the_dead_left_and_only_that(store: ImageStore, tmp_path: Path, deadline: Deadline) -> None:
    image = store.add(raw(tmp_path / "a.raw"), INFO, deadline=deadline)
    child = subprocess.Popen(["true"])
    child.wait()
    dead = store.root / "tmp" / f"{child.pid}.0a0b0c0d.partial"
    dead.mkdir()
    (dead / "image.qcow2").write_bytes(b"half")
    (store.root / "tmp" / "keep-me").mkdir()
    with store.scratch() as living:
        assert store.sweep() == [dead]
        assert living.is_dir()
    (store.root / "tmp" / "keep-me").rmdir()
    orphan = store.root / "blobs" / f"{'1' * 64}.qcow2"
    orphan.write_bytes(b"no record")
    assert store.sweep() == [orphan]
    assert store.images() == [image]


def _add(root: Path, source: Path, results: multiprocessing.Queue[str]) -> None:
    store = ImageStore(root, SystemClock())
    try:
        image = store.add(source, INFO, deadline=forever())
        store.set_alias(f"by-{os.getpid()}", image.digest)
        results.put(image.digest)
    except AibemuError as error:
        results.put(str(error))


def test_processes_at_once(tmp_path: Path) -> None:
    sources = [raw(tmp_path / "a.raw", 1), raw(tmp_path / "a2.raw", 1), raw(tmp_path / "b.raw", 2)]
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_add, args=(tmp_path / "store", source, results)) for source in sources]
    for worker in workers:
        worker.start()
    digests = {results.get(timeout=30) for _ in workers}
    for worker in workers:
        worker.join()
    store = ImageStore(tmp_path / "store", SystemClock())
    assert {image.digest for image in store.images()} == digests
    assert len(digests) == 2
    assert len(store.aliases()) == 3


def test_describe_changes_what_is_known_not_the_bytes(
    store: ImageStore, make_disk: Callable[..., Path], deadline: Deadline
) -> None:
    from dataclasses import replace

    image = store.add(make_disk(), INFO, deadline=deadline)
    changed = store.describe(image.digest, replace(INFO, os_type="Windows"))
    assert changed.info.os_type == "Windows"
    assert changed.digest == image.digest
