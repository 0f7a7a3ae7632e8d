"""The parts of a build that need no package archive: the bootable disk, apt's sources, reuse, aliases."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path
from uuid import UUID

import pytest

from aibemu.clock import Deadline
from aibemu.disks.guestfs import GuestFiles
from aibemu.disks.partitions import BIOS_BOOT, EFI_SYSTEM, LINUX_ROOT
from aibemu.errors import BuildError, HostNotReady
from aibemu.files import mounted_below
from aibemu.images import Generation, Provisioning, bootable, build, recipes
from aibemu.images.inspect import inspect
from aibemu.images.store import ImageStore
from aibemu.processes import PACKAGES, Finished, ToolFailed
from tests.unit.images.conftest import DEBIAN

MIB = 1 << 20
SIZE = 192 * MIB
UUID_ = UUID("1b2c3d4e-5f60-4718-8293-a4b5c6d7e8f9")
BOOT, CORE = b"\xeb" + bytes(509) + b"\x55\xaa", b"core" * 20_000
EFI = {"boot/efi/EFI/BOOT/BOOTX64.EFI": b"MZ" + bytes(3 * MIB) + b"end", "boot/efi/EFI/debian/a longer name": b"x"}
needs_owners = pytest.mark.skipif(
    os.geteuid() != 0 and not (shutil.which("mmdebstrap") and shutil.which("newuidmap")),
    reason="an ordinary user needs mmdebstrap and uidmap to make files of other owners",
)
ENV = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}


def rootfs(path: Path, *, core: bytes = CORE, without: str = "-") -> None:
    """A tar such as mmdebstrap writes, with an owner, a device folder and GRUB; without: the start of paths to omit."""
    contents = {name: text.encode() for name, text in DEBIAN.items() if not text.startswith("->")}
    contents |= {"dev/leftover": b"x", "home/mary/f": b"hers", **EFI}
    contents |= {"boot/grub/i386-pc/boot.img": BOOT, "boot/grub/i386-pc/core.img": core}
    with tarfile.open(path, "w") as archive:
        for name, data in contents.items():
            if name.startswith(without):
                continue
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mode = len(data), 0o640
            member.uid = member.gid = 1234 if name.startswith("home") else 0
            archive.addfile(member, io.BytesIO(data))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    path = tmp_path / "work"
    path.mkdir()
    return path


def tool(*argv: str | Path) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, env=ENV).stdout


@needs_owners
def test_make_disk_fills_the_root_and_keeps_owners(work: Path, deadline: Deadline) -> None:
    rootfs(work / "rootfs.tar")
    disk = bootable.make_disk(work, size=SIZE, uuid=UUID_, deadline=deadline)
    assert disk.stat().st_size == SIZE
    files = GuestFiles.open_disk(disk, "raw", work, deadline)
    assert files is not None
    with files:
        assert files.list("/dev") in ([], None)
        assert files.list("/boot/efi") in ([], None)
        assert "Debian" in (files.read("/usr/lib/os-release") or "")
    root = f"{disk}?offset={128 * MIB}"
    stat = tool("debugfs", "-R", "stat /home/mary/f", root)
    assert "User:  1234" in stat
    assert "Mode:  0640" in stat
    header = tool("debugfs", "-R", "stats -h", root)
    assert str(UUID_) in header
    assert re.search(r"Block count: +16128\b", header)
    assert re.search(r"Block size: +4096\b", header)
    assert sorted(path.name for path in work.iterdir()) == ["disk.raw", "layout", "mke2fs.conf", "rootfs.tar"]


@needs_owners
def test_make_disk_boots_both_ways(work: Path, deadline: Deadline) -> None:
    rootfs(work / "rootfs.tar")
    disk = bootable.make_disk(work, size=SIZE, uuid=UUID_, deadline=deadline)
    facts = inspect(disk, scratch=work, deadline=deadline, format="raw")
    assert (facts.table, facts.generations) == ("gpt", (Generation.V2, Generation.V1))
    assert (facts.os_type, facts.provisioning) == ("Linux", Provisioning.NOCLOUD)
    with disk.open("rb") as stream:
        first = stream.read(512)
        stream.seek(MIB)
        core = stream.read(len(CORE))
    # BIOS: boot.img knows where the core image begins, whose first sector knows where it goes on.
    assert struct.unpack_from("<Q", first, 0x5C) == (2048,)
    assert (first[:0x5C], first[0x64:440], first[510:]) == (BOOT[:0x5C], BOOT[0x64:440], b"\x55\xaa")
    assert first[446 + 4] == 0xEE
    assert struct.unpack_from("<Q", core, 0x1F4) == (2049,)
    assert (core[:0x1F4], core[0x1FC:]) == (CORE[:0x1F4], CORE[0x1FC:])
    # UEFI: the fallback path in a FAT that mtools and fstab can find.
    fat = f"{disk}@@{4 * MIB}"
    assert "Serial Number is 1B2C-3D4E" in tool("mdir", "-i", fat, "::/").replace("Volume ", "")
    for name, data in EFI.items():
        copy = work / "copy"
        tool("mcopy", "-n", "-i", fat, f"::/{name.removeprefix('boot/efi/')}", copy)
        assert copy.read_bytes() == data
        copy.unlink()


@needs_owners
def test_the_partition_table_is_whole(work: Path, deadline: Deadline) -> None:
    rootfs(work / "rootfs.tar")
    disk = bootable.make_disk(work, size=SIZE, uuid=UUID_, deadline=deadline)
    table = json.loads(tool("sfdisk", "--json", disk))["partitiontable"]
    assert table["label"] == "gpt"
    assert [
        (part["node"].removeprefix(str(disk)), part["start"], part["size"], UUID(part["type"]))
        for part in sorted(table["partitions"], key=lambda part: part["start"])
    ] == [
        ("14", 2048, 6144, BIOS_BOOT),
        ("15", 8192, 253952, EFI_SYSTEM),
        ("1", 262144, 63 * 2048, LINUX_ROOT),
    ]
    assert "No errors detected" in tool("sfdisk", "--verify", disk)


@pytest.mark.parametrize("size", [130 * MIB, 131 * MIB + 512, 4 << 30, (4 << 30) + 12345, 1 << 40])
def test_the_root_is_last_and_leaves_room_for_the_copy_of_the_table(size: int) -> None:
    root = bootable.root_size(size)
    assert root % MIB == 0
    assert 34 * 512 <= size - (bootable.ROOT_START + root) < 2 * MIB
    assert bootable.BIOS.start + bootable.BIOS.size <= bootable.ESP.start
    assert bootable.ESP.start + bootable.ESP.size <= bootable.ROOT_START
    assert f"1 : start=262144, size={root // 512}, type={LINUX_ROOT}" in bootable.layout(size).splitlines()


def test_a_disk_without_room_for_a_root() -> None:
    with pytest.raises(ValueError, match="too small"):
        bootable.layout(129 * MIB)


@pytest.mark.parametrize("without", ["boot/grub/i386-pc/core", "boot/efi/"])
def test_an_image_without_grub_is_refused(without: str, work: Path, deadline: Deadline) -> None:
    rootfs(work / "rootfs.tar", without=without)
    with pytest.raises(BuildError, match="GRUB is not in the image"):
        bootable.make_disk(work, size=SIZE, uuid=UUID_, deadline=deadline)


@needs_owners
def test_a_core_image_that_does_not_fit_is_refused(work: Path, deadline: Deadline) -> None:
    rootfs(work / "rootfs.tar", core=bytes(3 * MIB + 1))
    with pytest.raises(BuildError, match="does not fit"):
        bootable.make_disk(work, size=SIZE, uuid=UUID_, deadline=deadline)


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("device", "/dev/sda1"), ("disk", "/dev/sda"), ("fs", "ext2"), ("fs_uuid", str(UUID_)), ("partmap", "gpt"),
        ("drive", "(hd0,gpt1)"), ("bios_hints", "hd0,gpt1"), ("abstraction", ""),
        ("hints_string", "--hint-bios=hd0,gpt1 --hint-efi=hd0,gpt1 --hint-baremetal=ahci0,gpt1"),
    ],
)  # fmt: skip
def test_grub_probes_stand_in_answers_for_the_disk_to_come(target: str, answer: str) -> None:
    script = build._GRUB_PROBE.replace("@UUID@", str(UUID_))
    for words in ((f"--target={target}", "/"), ("--device", "/dev/x", "-t", target)):
        assert tool("sh", "-c", script, "grub-probe", *words).strip() == answer


def test_the_volume_id_is_that_of_by_uuid() -> None:
    assert bootable.volume_id(UUID_) == "1B2C-3D4E"


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
    build._write_payload(recipe, UUID_, tmp_path / "p.tar")
    with tarfile.open(tmp_path / "p.tar") as archive:
        members = {member.name: member for member in archive}
        script = archive.extractfile("./root/aibemu-finish.sh")
        assert script is not None
        text = script.read().decode()
    assert "./etc/default/grub" in members
    assert {member.uid for member in members.values()} == {0}
    assert re.findall(r"@[A-Z]+@", text) == []
    assert f"echo 'UUID={UUID_} / ext4 " in text
    assert "echo 'UUID=1B2C-3D4E /boot/efi vfat defaults,x-systemd.device-timeout=15min 0 0' >> /etc/fstab" in text
    assert subprocess.run(["sh", "-n"], input=text, text=True).returncode == 0
    assert subprocess.run(["sh", "-n"], input=recipe.script, text=True).returncode == 0


def fake_build(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A build whose mmdebstrap is a tar made here; counts the times it ran."""
    runs: list[int] = []

    def bootstrap(recipe: recipes.Recipe, work: Path, deadline: Deadline) -> None:
        runs.append(1)
        rootfs(work / "rootfs.tar")

    monkeypatch.setattr(build, "_bootstrap", bootstrap)
    monkeypatch.setattr(build, "_GIB", 48 * MIB)
    return runs


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's mmdebstrap has mounts of its own anyway")
def test_what_mmdebstrap_mounts_stays_with_it(tmp_path: Path, deadline: Deadline) -> None:
    words = build._apart(deadline)
    if not words:
        pytest.skip("nothing can be mounted here")
    mount = f"mount -t tmpfs none '{tmp_path}' && grep -c '{tmp_path}' /proc/self/mounts"
    done = subprocess.run([*words, "sh", "-c", mount], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n" and mounted_below(tmp_path.parent) is None


def test_where_root_may_not_mount_mmdebstrap_runs_as_it_is(monkeypatch: pytest.MonkeyPatch, deadline: Deadline) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(build, "run_tool", lambda argv, **more: Finished(stdout="", stderr="", status=1))
    assert build._apart(deadline) == []


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


@needs_owners
def test_the_generation_is_the_recipes(monkeypatch: pytest.MonkeyPatch, store: ImageStore, deadline: Deadline) -> None:
    fake_build(monkeypatch)
    image = build.build(recipes.load("debian-12-gen2"), store, deadline, say)
    assert (image.info.generation, image.info.provisioning) == (Generation.V2, Provisioning.NOCLOUD)
    assert store.aliases() == {
        "debian-12-gen2": image.digest,
        "Debian:debian-12:12-gen2:0.20261123.1": image.digest,
    }


@pytest.mark.parametrize("missing", bootable.PROGRAMS)
def test_what_a_build_needs_is_asked_for_before_it_starts(
    missing: str, monkeypatch: pytest.MonkeyPatch, store: ImageStore, deadline: Deadline
) -> None:
    assert missing in PACKAGES
    runs = fake_build(monkeypatch)
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if name == missing else which(name, path=path))
    with pytest.raises(HostNotReady, match=missing) as caught:
        build.build(recipes.load("debian-12"), store, deadline, say)
    assert PACKAGES[missing] in str(caught.value.hint)
    assert runs == []


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
        if "mmdebstrap" in argv:
            raise ToolFailed(["mmdebstrap"], 1, said)
        return Finished(stdout="", stderr="")

    monkeypatch.setattr(build, "run_tool", fail)
    monkeypatch.setattr(build, "find_program", str)
    with pytest.raises(HostNotReady, match=message):
        build.build(recipes.load("debian-12"), store, deadline, say)
    assert store.images() == []
    assert list((store.root / "tmp").iterdir()) == []
