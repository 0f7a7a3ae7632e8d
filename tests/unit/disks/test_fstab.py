"""What a system mounts, from its own files."""

from __future__ import annotations

import pytest

from aibemu.disks.fstab import Mount, is_inside, mounts


def read(fstab: str, units: dict[str, str] | None = None) -> list[Mount]:
    files = {"/etc/fstab": fstab} | {f"/etc/systemd/system/{name}": text for name, text in (units or {}).items()}
    return mounts(files.get, lambda folder: list(units or {}) if folder == "/etc/systemd/system" else None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/dev/sda3 /home ext4", Mount(device="/dev/sda3", place="/home")),
        ('UUID="1-2"\t/var/log/  xfs  noauto,nofail 0 2', Mount(device="UUID=1-2", place="/var/log")),
        ("LABEL=a\\040b /with\\040blank xfs", Mount(device="LABEL=a b", place="/with blank")),
        ("/dev/disk/by-uuid/1-2 /a xfs", Mount(device="UUID=1-2", place="/a")),
        ("/dev/disk/by-partlabel/a\\x20b /a xfs", Mount(device="PARTLABEL=a b", place="/a")),
        ("/dev/disk/by-id/dm-name-x /a xfs", Mount(device="/dev/disk/by-id/dm-name-x", place="/a")),
        ("/data/home /home none rw,bind", Mount(device="/data/home", place="/home", bind=True)),
        ("/dev/sda1 / btrfs rw,subvol=/@,compress=zstd", Mount(device="/dev/sda1", place="/", subvolume="/@")),
        ("/dev/sda1 / btrfs subvolid=257", Mount(device="/dev/sda1", place="/", subvolume=257)),
        ("/dev/sda1 / btrfs subvol=/", Mount(device="/dev/sda1", place="/", subvolume=5)),
        ("/dev/sda1 //a///b xfs", Mount(device="/dev/sda1", place="/a/b")),
    ],
)
def test_a_line_is_a_mount(line: str, expected: Mount) -> None:
    assert read(f"# a comment\n\n{line}\n") == [expected]


@pytest.mark.parametrize(
    "line",
    [
        "# /dev/sda3 /home ext4", "/dev/sda2 none swap sw", "tmpfs /tmp tmpfs", "nas:/x /srv nfs4", "//nas/x /srv cifs",
        "/dev/sr0 /media iso9660", "/dev/sda3", "s3 /mnt fuse.blobfuse2", "/dev/sda3 relative ext4",
    ],
)  # fmt: skip
def test_what_is_not_of_the_disk_is_none(line: str) -> None:
    assert read(line) == []


def test_outer_ones_come_first_and_of_two_at_one_place_the_first() -> None:
    found = read(
        "/dev/sda5 /var/log xfs\n/dev/sda4 /var xfs\n/dev/sda6 /var ext4\n/dev/sda1 / xfs\n/dev/sda3 /home xfs\n"
    )
    assert [(one.place, one.device[-1]) for one in found] == [
        ("/", "1"),
        ("/var", "4"),
        ("/home", "3"),
        ("/var/log", "5"),
    ]


def test_units_of_systemd() -> None:
    units = {
        "home.mount": "[Mount]\n What = /dev/disk/by-label/homes \nWhere=/home\nOptions=nodev\n",
        "tmp.mount": "[Mount]\nWhat=tmpfs\nWhere=/tmp\nType=tmpfs\n", "masked.mount": "", "x.service": "[Service]\n",
    }  # fmt: skip
    assert read("/dev/sda9 /home ext4\n", units) == [Mount(device="/dev/sda9", place="/home")], "fstab counts first"
    assert read("", units) == [Mount(device="LABEL=homes", place="/home")]


def test_a_folder_and_what_is_in_it() -> None:
    assert [is_inside(path, "/var") for path in ("/var", "/var/log", "/variable", "/", "/home")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert is_inside("/x", "/")
