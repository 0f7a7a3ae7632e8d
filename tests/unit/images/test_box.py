"""Boxes for Vagrant: what is in the tar, and what the disk in it has more than the image."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu.clock import Deadline
from aibemu.disks import convert
from aibemu.disks.guestfs import GuestFiles
from aibemu.disks.partitions import partitions
from aibemu.errors import NotFoundError, UsageError
from aibemu.images.box import KEY, LOGIN, LOGIN_FILE, Box, make_box
from aibemu.processes import run_tool
from aibemu.yaml_places import load
from tests.unit.images.conftest import MIB, ext4, tree

Make = Callable[..., Path]


def box_of(disk: Path, folder: Path, deadline: Deadline) -> Box:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return make_box(disk, folder / "image.box", scratch, deadline=deadline, say=lambda text: None)


def unpacked(box: Box, folder: Path) -> Path:
    with tarfile.open(box.path) as tar:
        tar.extractall(folder, filter="data")
    return folder


def debugfs(raw: Path, request: str, deadline: Deadline, *options: str) -> str:
    at = partitions(raw).candidates[0].start
    return run_tool(["debugfs", *options, "-R", request, f"{raw}?offset={at}"], deadline=deadline).stdout


def test_a_box_of_a_disk(make_disk: Make, tmp_path: Path, deadline: Deadline) -> None:
    disk = make_disk()
    before = hashlib.sha256(disk.read_bytes()).hexdigest()
    box = box_of(disk, tmp_path, deadline)
    assert hashlib.sha256(disk.read_bytes()).hexdigest() == before
    assert (box.size, box.no_login) == (box.path.stat().st_size, "")
    with tarfile.open(box.path) as tar:
        assert [(entry.name, entry.mode, entry.uid) for entry in tar.getmembers()] == [
            ("metadata.json", 0o644, 0), ("Vagrantfile", 0o644, 0), ("box.img", 0o644, 0),
        ]  # fmt: skip
    there = unpacked(box, tmp_path / "there")
    assert json.loads((there / "metadata.json").read_text()) == {
        "provider": "libvirt", "format": "qcow2", "virtual_size": 1,
    }  # fmt: skip
    facts = convert.info(there / "box.img", deadline=deadline)
    assert (facts.format, facts.virtual_size, facts.references) == ("qcow2", 9 * MIB, ())


def test_the_disk_in_the_box_has_the_user_of_vagrant(make_disk: Make, tmp_path: Path, deadline: Deadline) -> None:
    """A box that is made of what came from a box, too: the file is replaced."""
    disk = make_disk({LOGIN_FILE.lstrip("/"): "of another version\n" * 9}, efi=True, bios=True)
    there = unpacked(box_of(disk, tmp_path, deadline), tmp_path / "there")
    raw = tmp_path / "there.raw"
    convert.to_raw(there / "box.img", raw, deadline=deadline)
    files = GuestFiles.open_disk(raw, "raw", tmp_path, deadline)
    assert files is not None
    with files:
        assert files.read(LOGIN_FILE) == LOGIN
        assert files.read("/etc/cloud/cloud.cfg.d/91_datasources.cfg")
    root = partitions(raw).candidates[-1]
    stat = run_tool(["debugfs", "-R", f"stat {LOGIN_FILE}", f"{raw}?offset={root.start}"], deadline=deadline).stdout
    assert "Mode:  0644" in stat and "User:     0   Group:     0" in stat
    with raw.open("rb") as stream:
        stream.seek(root.start)
        (tmp_path / "root.ext4").write_bytes(stream.read(root.size))
    run_tool(["e2fsck", "-f", "-n", tmp_path / "root.ext4"], deadline=deadline)


def test_the_users_file_is_what_cloud_init_reads() -> None:
    value = load(LOGIN, "login", what="the file")
    assert value["datasource_list"] == ["None"]
    (user,) = value["users"]
    assert (user["name"], user["ssh_authorized_keys"], user["sudo"]) == ("vagrant", [KEY], "ALL=(ALL) NOPASSWD:ALL")


def test_a_disk_that_can_have_no_user(make_disk: Make, tmp_path: Path, deadline: Deadline) -> None:
    """It is a box all the same: the template may have added the user."""
    bare = dict.fromkeys(("etc/cloud/cloud.cfg", "etc/cloud/cloud.cfg.d/91_datasources.cfg"))
    assert box_of(make_disk(bare), tmp_path, deadline).no_login == "it has no cloud-init"
    other = tmp_path / "other.raw"
    ext4(other, tree(tmp_path / "other", {"data/x": "y"}), offset=0, size=4 * MIB)
    assert box_of(other, tmp_path, deadline).no_login == "its root file system is not ext2, ext3 or ext4"
    torn = make_disk()
    debugfs(torn, "feature needs_recovery", deadline, "-w")
    box = box_of(torn, tmp_path, deadline)
    assert box.no_login == "its file system was not closed by a shutdown"
    assert (unpacked(box, tmp_path / "there") / "box.img").is_file()


def test_a_box_is_whole_or_not_there(
    make_disk: Make, tmp_path: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "image.box").write_text("the one before")
    with pytest.raises(NotFoundError):
        box_of(tmp_path / "missing.qcow2", tmp_path, deadline)

    class Full(Exception):
        pass

    def fail(*words: object) -> None:
        raise Full

    monkeypatch.setattr("aibemu.images.box._pack", fail)
    with pytest.raises(Full):
        box_of(make_disk(), tmp_path, deadline)
    assert (tmp_path / "image.box").read_text() == "the one before"
    assert not list(tmp_path.glob(".*"))


def test_where_no_box_can_be_written(make_disk: Make, tmp_path: Path, deadline: Deadline) -> None:
    disk = make_disk()
    for target, said in ((tmp_path, "is a folder"), (tmp_path / "no" / "x.box", "there is no folder")):
        with pytest.raises(UsageError, match=said):
            make_box(disk, target, tmp_path, deadline=deadline, say=lambda text: None)


def test_the_key_is_the_one_that_vagrant_comes_with() -> None:
    found = subprocess.run(["dpkg-query", "-L", "vagrant"], capture_output=True, text=True, check=False).stdout
    keys = [Path(line) for line in found.splitlines() if line.endswith("keys/vagrant.pub")]
    if not keys:
        pytest.skip("Vagrant is not installed: ./test.sh installs it")
    assert keys[0].read_text().split()[:2] == KEY.split()[:2]
