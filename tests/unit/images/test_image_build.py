"""The parts of a build that need no package archive: the bootable disk, apt's sources, reuse, aliases."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path
from uuid import uuid4

import pytest

from aibemu.clock import Deadline
from aibemu.errors import BuildError, HostNotReady
from aibemu.images import Generation, Provisioning, bootable, build, recipes
from aibemu.images.guestfs import GuestFiles
from aibemu.images.store import ImageStore
from aibemu.processes import Finished, ToolFailed
from tests.unit.images.conftest import DEBIAN

MIB = 1 << 20
BOOT, CORE = b"\xeb" + bytes(509) + b"\x55\xaa", b"core" * 20_000
needs_owners = pytest.mark.skipif(
    os.geteuid() != 0 and not (shutil.which("mmdebstrap") and shutil.which("newuidmap")),
    reason="an ordinary user needs mmdebstrap and uidmap to make files of other owners",
)


def rootfs(path: Path, *, grub: bool = True) -> None:
    """A tar such as mmdebstrap writes, with an owner, a device folder and GRUB's two images."""
    contents = {name: text.encode() for name, text in DEBIAN.items() if not text.startswith("->")}
    contents |= {"dev/leftover": b"x", "home/mary/f": b"hers"}
    if grub:
        contents |= {"boot/grub/i386-pc/boot.img": BOOT, "boot/grub/i386-pc/core.img": CORE}
    with tarfile.open(path, "w") as archive:
        for name, data in contents.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mode = len(data), 0o640
            member.uid = member.gid = 1234 if name.startswith("home") else 0
            archive.addfile(member, io.BytesIO(data))


@needs_owners
def test_make_disk_boots_from_its_mbr_and_keeps_owners(tmp_path: Path, deadline: Deadline) -> None:
    work = tmp_path / "work"
    work.mkdir()
    tmp_path.chmod(0o755)
    rootfs(work / "rootfs.tar")
    uuid = uuid4()
    disk = bootable.make_disk(work, size=64 * MIB, uuid=uuid, deadline=deadline)
    data = disk.read_bytes()
    assert len(data) == 64 * MIB
    assert data[:440] == BOOT[:440]
    assert data[510:512] == b"\x55\xaa"
    assert data[512 : 512 + len(CORE)] == CORE
    assert struct.unpack("<B3xB3xII", data[446:462]) == (0x80, 0x83, 2048, 63 * 2048)
    assert data[MIB + 1024 + 0x68 :][:16] == uuid.bytes
    files = GuestFiles.open_disk(disk, "raw", tmp_path, deadline)
    assert files is not None
    assert files.list("/dev") in ([], None)
    stat = subprocess.run(
        ["debugfs", "-R", "stat /home/mary/f", f"{disk}?offset={MIB}"], capture_output=True, text=True, check=True,
        env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
    ).stdout  # fmt: skip
    assert "User:  1234" in stat
    assert "Mode:  0640" in stat
    assert sorted(path.name for path in work.iterdir()) == ["disk.raw", "mke2fs.conf", "rootfs.tar"]


@needs_owners
def test_an_image_without_grub_is_refused(tmp_path: Path, deadline: Deadline) -> None:
    work = tmp_path / "work"
    work.mkdir()
    rootfs(work / "rootfs.tar", grub=False)
    with pytest.raises(BuildError, match="GRUB is not in the image"):
        bootable.make_disk(work, size=64 * MIB, uuid=uuid4(), deadline=deadline)


def say(text: str) -> None:
    pass


def apt(monkeypatch: pytest.MonkeyPatch, stdout: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(build, "run_tool", lambda argv, **rest: Finished(stdout=stdout, stderr=""))


def test_the_hosts_sources_for_the_suite_are_used(monkeypatch: pytest.MonkeyPatch, deadline: Deadline) -> None:
    apt(
        monkeypatch,
        "http://m.example/debian bookworm main\n"
        "http://m.example/debian bookworm main\n"
        "http://m.example/debian bookworm contrib\n"
        "http://m.example/security bookworm-security main \n"
        "http://m.example/debian trixie main \n"
        "http://user:secret@m.example/debian bookworm-updates main \n",
    )
    assert build._sources("bookworm", deadline) == [
        "deb http://m.example/debian bookworm main contrib",
        "deb http://m.example/security bookworm-security main",
    ]
    assert build._sources("noble", deadline) == []


def test_proxies_are_passed_on_and_nothing_else(monkeypatch: pytest.MonkeyPatch, deadline: Deadline) -> None:
    apt(monkeypatch, 'Acquire::http::Proxy "http://p:3128";\nAcquire::https::Proxy "";\nAPT::Architecture "amd64";\n')
    assert build._proxies(deadline) == ['Acquire::http::Proxy "http://p:3128";']


def test_the_payload_holds_files_with_their_modes(tmp_path: Path) -> None:
    recipe = recipes.load("debian-12")
    build._write_payload(recipe, uuid4(), tmp_path / "p.tar")
    with tarfile.open(tmp_path / "p.tar") as archive:
        members = {member.name: member for member in archive}
        script = archive.extractfile("./root/aibemu-finish.sh")
        assert script is not None
        text = script.read().decode()
    assert "./etc/default/grub" in members
    assert {member.uid for member in members.values()} == {0}
    assert "@UUID@" not in text
    assert subprocess.run(["sh", "-n"], input=text, text=True).returncode == 0
    assert subprocess.run(["sh", "-n"], input=recipe.script, text=True).returncode == 0


def fake_build(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A build whose mmdebstrap is a tar made here; counts the times it ran."""
    runs: list[int] = []

    def bootstrap(recipe: recipes.Recipe, work: Path, deadline: Deadline) -> None:
        runs.append(1)
        rootfs(work / "rootfs.tar")

    monkeypatch.setattr(build, "_bootstrap", bootstrap)
    monkeypatch.setattr(build, "_GIB", 16 * MIB)
    return runs


@needs_owners
def test_an_unchanged_recipe_is_built_once(
    monkeypatch: pytest.MonkeyPatch, store: ImageStore, deadline: Deadline
) -> None:
    from dataclasses import replace

    runs, said = fake_build(monkeypatch), list[str]()
    recipe = recipes.load("debian-12")
    image = build.build(recipe, store, deadline, said.append)
    assert (image.info.generation, image.info.provisioning) == (Generation.V1, Provisioning.NOCLOUD)
    assert image.info.origin == "build debian-12"
    first = {"debian-12": image.digest, "Debian:debian-12:12:0.20261123.1": image.digest}
    assert store.aliases() == first
    store.remove_alias("debian-12")
    assert build.build(recipe, store, deadline, said.append) == image
    assert store.aliases() == first
    assert len(runs) == 1
    assert "built already" in said[-1]
    again = build.build(recipe, store, deadline, said.append, force=True)
    changed = build.build(replace(recipe, script="true"), store, deadline, said.append)
    assert len(runs) == 3
    assert store.aliases() == first | {
        "debian-12": changed.digest,
        "Debian:debian-12:12:0.20261123.2": again.digest,
        "Debian:debian-12:12:0.20261123.3": changed.digest,
    }
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("E: newuidmap: write to uid_map failed", "user namespaces"),
        ("W: GPG error: NO_PUBKEY 0E98404D386FA1D9", "keys of Debian"),
    ],
)
def test_a_failed_build_leaves_no_image(
    said: str, message: str, monkeypatch: pytest.MonkeyPatch, store: ImageStore, deadline: Deadline
) -> None:
    def fail(argv: list[str], **rest: object) -> Finished:
        if argv[0] == "mmdebstrap":
            raise ToolFailed(["mmdebstrap"], 1, said)
        return Finished(stdout="", stderr="")

    monkeypatch.setattr(build, "run_tool", fail)
    monkeypatch.setattr(build, "find_program", str)
    with pytest.raises(HostNotReady, match=message):
        build.build(recipes.load("debian-12"), store, deadline, say)
    assert store.images() == []
    assert list((store.root / "tmp").iterdir()) == []
