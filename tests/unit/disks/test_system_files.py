"""Whole systems on disks: what is mounted where, and what of them cannot be looked into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.disks.reading import WholeSystem, open_files
from aibemu.disks.system_files import SystemFiles, open_system
from aibemu.errors import HostNotReady
from tests.linux_disks import LinuxDisks, Part, run

HOME, VAR = "6a1b7c9e-5f1c-4f0e-8a55-0f7a6b2f4c11", "0d9f3c52-9b1e-4f6e-a7c1-6b1d3b0e9a22"
LOG, AUDIT = "b7f2d0a4-3c5e-4d7f-9e21-5a8c1d4e7f33", "c4e8a6b2-7d9f-4a1b-8c3d-2e5f7a9b1c44"
RELEASE = 'PRETTY_NAME="Hardened Linux 9"\n'
# As CIS and STIG want it, named in each way that there is.
FSTAB = f"""\
# made by the installer
/dev/sda1 / ext4 defaults 0 1
UUID={HOME} /home xfs nodev,nosuid 0 2
LABEL=var /var ext4 defaults 0 2
PARTUUID={LOG.upper()} /var/log btrfs defaults 0 2
/dev/disk/by-partlabel/audit\\040logs /var/log/audit ext4 defaults 0 2
LABEL=EFI /boot/efi vfat umask=0077 0 1
/var/tmp /scratch none bind 0 0
tmpfs /tmp tmpfs size=1G 0 0
/dev/disk/cloud/azure_resource-part1 /mnt auto defaults,nofail 0 2
nas:/export /srv nfs _netdev 0 0
"""
ROOT = {
    "etc/passwd": "root:x:0:0::/root:/bin/bash\n", "usr/lib/os-release": RELEASE,
    "etc/os-release": "-> ../usr/lib/os-release", "etc/fstab": FSTAB, "home/": "", "tmp/x": "x", "boot/efi/": "",
    "var/hidden": "below the mount", "keys": "-> /home/mary", "logs": "-> var/log", "scratch/": "", "mnt/": "",
}  # fmt: skip


@pytest.fixture
def disks(tmp_path: Path) -> LinuxDisks:
    return LinuxDisks(tmp_path)


@pytest.fixture
def no_guestfish(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise HostNotReady("the program guestfish is not installed")

    monkeypatch.setattr("aibemu.disks.libguestfs.LibguestfsFiles.open_disk", missing)


def hardened(disks: LinuxDisks) -> Path:
    return disks.disk(
        Part(content=disks.ext4(ROOT)),
        Part(content=disks.xfs({"mary/.ssh/id": "secret\n", "mary/up": "-> ../../etc/fstab"}, uuid=HOME)),
        Part(content=disks.ext4({"lib/waagent/x": "", "log/": "", "tmp/left": "over\n"}, uuid=VAR, label="var")),
        Part(content=disks.btrfs({"messages": "hello\n", "audit/": ""}), uuid=LOG),
        Part(content=disks.ext4({"audit.log": "login\n"}), label="audit logs"),
        Part(kind="bios", size=1),
        Part(content=disks.fat({"loader/random-seed": "seed", "EFI/": ""}), kind="efi"),
        Part(content=disks.swap(), kind="swap"),
    )


def opened(disk: Path, scratch: Path, format: str | None = None) -> WholeSystem:
    found = open_files(disk, format, scratch, forever())
    assert found is not None
    return found


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_partitions_are_where_the_system_mounts_them(
    format: str, disks: LinuxDisks, tmp_path: Path, no_guestfish: None
) -> None:
    disk, scratch = hardened(disks), tmp_path / "scratch"
    if format == "qcow2":
        run("qemu-img", "convert", "-O", "qcow2", disk, tmp_path / "disk.qcow2")
        disk = tmp_path / "disk.qcow2"
    with opened(disk, scratch, format) as files:
        assert files.unread == ()
        assert files.read("/etc/os-release") == RELEASE
        assert files.list("/") == sorted(
            {*(name.split("/")[0] for name in ROOT), "boot", "lost+found", "srv"} - {"srv"}
        )
        assert files.read("/home/mary/.ssh/id") == files.read("/keys/.ssh/id") == "secret\n"
        assert files.read("/home/mary/up") == FSTAB
        assert files.list("/var") == ["lib", "log", "lost+found", "tmp"]
        assert files.list("/logs") == ["audit", "messages"]
        assert files.read("/var/log/audit/audit.log") == "login\n"
        assert files.read("/boot/efi/loader/random-seed") == "seed"
        assert files.list("/scratch") == ["left"]
        assert files.read("/tmp/x") == "x"
        assert files.missed == []
        assert files.read("/nowhere/x") is None and files.list("/keys/.ssh/id") is None and files.read("/home") is None
        assert files.exists("/home/mary/.ssh") and not files.exists("/home/none")
    assert not scratch.exists() or list(scratch.iterdir()) == []


def test_a_root_on_lvm_in_two_pieces_with_usr_and_home_apart(
    disks: LinuxDisks, tmp_path: Path, no_guestfish: None
) -> None:
    """As Azure's images of RHEL are laid out; what `/etc/os-release` and `/lib` lead to is on another volume."""
    fstab = """\
/dev/mapper/rootvg-rootlv / xfs defaults 0 0
UUID=6a1b7c9e-5f1c-4f0e-8a55-0f7a6b2f4c11 /boot xfs defaults 0 0
/dev/rootvg/varlv /var ext4 defaults 0 0
/dev/mapper/rootvg-app--data /usr btrfs defaults 0 0
/dev/mapper/rootvg-homelv /home xfs defaults 0 0
"""
    long = "x" * 70
    root = {
        "etc/passwd": "root:x:0:0::/root:/bin/bash\n", "etc/fstab": fstab, "etc/os-release": "-> ../usr/lib/os-release",
        "lib": "-> usr/lib", "usr/": "", "var/": "", "home/": "", f"etc/{long}": "long\n", "etc/far": f"-> /etc/{long}",
        "etc/round": "-> round",
    }  # fmt: skip
    volumes = {
        "rootlv": disks.xfs(root), "homelv": disks.xfs({"mary/.profile": ""}),
        "varlv": disks.ext4({f"log/{number}": f"{number}\n" * 20_000 for number in range(250)}, size=64),
        "app-data": disks.btrfs({"lib/os-release": RELEASE, "lib/systemd/system/x.service": "[Unit]\n"}),
    }  # fmt: skip
    disk = disks.disk(
        Part(content=disks.fat({"EFI/": ""}), kind="efi"), Part(content=disks.xfs({"vmlinuz": ""}, uuid=HOME)),
        Part(content=disks.group(volumes), kind="lvm"),
    )  # fmt: skip
    scratch = tmp_path / "scratch"
    with opened(disk, scratch, "raw") as files:
        assert files.unread == ()
        assert files.read("/etc/os-release") == RELEASE
        assert files.list("/lib/systemd/system") == ["x.service"]
        assert files.list("/home") == ["mary"]
        assert files.list("/boot") == ["vmlinuz"]
        assert files.read("/etc/far") == "long\n"
        assert files.read("/etc/round") is None
        # More than is in the first of the two pieces that its volume has.
        assert [files.read(f"/var/log/{number}") for number in range(250)] == [f"{n}\n" * 20_000 for n in range(250)]
        assert files.missed == []
        assert scratch.exists() and len(list(scratch.iterdir())) == 1
    assert list(scratch.iterdir()) == []


def test_subvolumes(disks: LinuxDisks, tmp_path: Path, no_guestfish: None) -> None:
    """Of the recorded one `@` is the root, not the default: /etc/fstab says so, and what /home is."""
    with opened(disks.disk(Part(content=disks.recorded("btrfs"))), tmp_path / "scratch", "raw") as files:
        assert files.unread == ()
        assert "ssh-ed25519" in (files.read("/home/mary/.ssh/authorized_keys") or "")
        assert files.list("/var/lib/waagent") == []
        assert files.read("/nested/file") == "inside\n"
        assert files.read("/lzo") is None
        assert [str(one) for one in files.missed] == ["/lzo (it is compressed by lzo, which is not read)"]


def units(disks: LinuxDisks) -> Path:
    fstab = "UUID=6a1b7c9e-5f1c-4f0e-8a55-0f7a6b2f4c11 / xfs\n"
    unit = "[Unit]\nDescription=x\n[Mount]\nWhat=/dev/disk/by-label/data\nWhere=/srv/data\nType=ext4\n"
    root = {"etc/passwd": "root:x:0:0::/root:/bin/bash\n", "etc/fstab": fstab, "home/": "", "srv/data/": ""}
    root["etc/systemd/system/srv-data.mount"] = unit
    return disks.disk(
        Part(content=disks.xfs(root, uuid=HOME)), Part(content=disks.ext4({"key": "k"}, label="data")),
        Part(content=disks.ext4({"mary/x": "x"}), kind="home"),
    )  # fmt: skip


def test_what_systemd_mounts_without_a_line_in_fstab(disks: LinuxDisks, tmp_path: Path, no_guestfish: None) -> None:
    with opened(units(disks), tmp_path / "scratch") as files:
        assert files.read("/srv/data/key") == "k"
        assert files.read("/home/mary/x") == "x"
        assert files.unread == ()


def test_what_cannot_be_read_is_not_taken_for_empty(disks: LinuxDisks, tmp_path: Path, no_guestfish: None) -> None:
    """/home is encrypted, /var is damaged, /srv is of a kind that nobody reads, and one volume is named nowhere."""
    fstab = "/dev/sda1 / xfs\n/dev/sda2 /home auto\n/dev/sda3 /var xfs\n/dev/sda4 /srv f2fs\n/dev/sda9 /data ext4\n"
    root = {
        "etc/passwd": "root:x:0:0::/root:/bin/bash\n",
        "etc/fstab": fstab,
        "home/old": "",
        "var/old": "",
        "srv/": "",
    }
    locked, strange = tmp_path / "locked", tmp_path / "strange"
    locked.write_bytes(b"LUKS\xba\xbe".ljust(1 << 20, b"\1"))
    strange.write_bytes(b"\1" * (1 << 20))
    damaged = disks.xfs({"lib/waagent/x": ""})
    with damaged.open("r+b") as stream:
        stream.seek(64 * 1024)
        stream.write(os.urandom(1 << 20))  # its inodes
    disk = disks.disk(
        Part(content=disks.xfs(root)), Part(content=locked), Part(content=damaged), Part(content=strange),
        Part(content=disks.ext4({"x": ""})), Part(size=4),
    )  # fmt: skip
    with opened(disk, tmp_path / "scratch") as files:
        unread = [str(one) for one in files.unread]
        assert [one.split(" (")[0] for one in unread] == ["/home", "/srv", "partition 5"]
        assert "encrypted (LUKS)" in unread[0] and "libguestfs-tools" not in unread[0]
        assert "libguestfs-tools" in unread[1]
        assert "/etc/fstab does not name it" in unread[2]
        assert files.list("/home") is None and files.list("/srv") is None and files.read("/var/lib/waagent/x") is None
        assert [one.what for one in files.missed] == ["/home", "/srv", "/var/lib/waagent/x"]
        assert "damaged" in files.missed[2].why
        assert files.list("/data") is None and len(files.missed) == 3, "on another disk: no part of this image"


def test_a_machine_that_did_not_shut_down_proves_nothing(disks: LinuxDisks, tmp_path: Path, no_guestfish: None) -> None:
    """ext says so in its features: what is only in the journal is not read here."""
    content = disks.ext4(ROOT | {"etc/fstab": "/dev/sda1 / ext4\n"})
    run("debugfs", "-w", "-R", "feature needs_recovery", content)
    with opened(disks.disk(Part(content=content)), tmp_path / "scratch") as files:
        assert [one.what for one in files.unread] == ["/"] and "did not shut down" in files.unread[0].why
        assert files.read("/etc/os-release") == RELEASE, "what is there is read all the same"


def test_without_a_system_it_is_said_what_is_there(disks: LinuxDisks, tmp_path: Path, no_guestfish: None) -> None:
    locked = tmp_path / "locked"
    locked.write_bytes(b"LUKS\xba\xbe".ljust(1 << 20, b"\1"))
    told: list[str] = []
    disk = disks.disk(Part(content=disks.xfs({"vmlinuz": ""})), Part(content=locked))
    assert open_files(disk, "raw", tmp_path / "s", forever(), tell=told.append) is None
    assert told == [
        "no root file system was found in what is read here (partition 2 (it is encrypted (LUKS))), and guestfish, "
        "which reads more, is not installed (libguestfs-tools)"
    ]


def test_a_disk_without_a_partition_table(disks: LinuxDisks, tmp_path: Path) -> None:
    found = open_system(disks.xfs({"etc/os-release": RELEASE}), tmp_path / "s", forever())
    assert isinstance(found, SystemFiles)
    with found as files:
        assert files.read("/etc/os-release") == RELEASE


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open() -> Iterator[None]:
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
