"""A larger disk: what of it the root file system has, and what is said where it has not grown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.disks.system_files import SystemFiles, open_system
from aibemu.hypervisor import Level
from aibemu.systems.linux.growth import unused
from tests.linux_disks import MIB, LinuxDisks, Part

ROOT = {"etc/passwd": "root:x:0:0::/root:/bin/bash\n", "etc/fstab": "/dev/sda1 / auto\n"}
Make = Callable[[LinuxDisks], Path]


def said(disk: Path, tmp_path: Path) -> list[str]:
    files = open_system(disk, tmp_path / "s", forever())
    assert isinstance(files, SystemFiles)
    with files:
        found = list(unused(files))
    assert all(one.level is Level.NOTE and one.said and one.message and one.fix for one in found)
    return [one.said for one in found]


def logical(disks: LinuxDisks) -> Path:
    root = disks.xfs(ROOT | {"etc/fstab": "/dev/rootvg/rootlv / xfs\n"})
    return disks.disk(Part(content=disks.group({"rootlv": root}), kind="lvm"))


KINDS: dict[str, Make] = {
    "ext4": lambda disks: disks.disk(Part(content=disks.ext4(ROOT))),
    "xfs": lambda disks: disks.disk(Part(content=disks.xfs(ROOT))),
    "btrfs": lambda disks: disks.disk(Part(content=disks.btrfs(ROOT))), "xfs on LVM": logical,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_of_which_the_root_has_all(kind: str, tmp_path: Path) -> None:
    assert said(KINDS[kind](LinuxDisks(tmp_path)), tmp_path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_grew_and_nobody_used_it(kind: str, tmp_path: Path) -> None:
    disk = KINDS[kind](LinuxDisks(tmp_path))
    os.truncate(disk, disk.stat().st_size + 1024 * MIB)
    (found,) = said(disk, tmp_path)
    assert found.startswith("1.001 GiB at the end of the disk are in no partition") and f"({kind})" in found
    assert ("logical volume" in found) is (kind == "xfs on LVM")


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_partition_that_grew_alone(kind: str, tmp_path: Path) -> None:
    disks = LinuxDisks(tmp_path)
    content: Path = getattr(disks, kind)(ROOT)
    (found,) = said(disks.disk(Part(content=content, size=1024)), tmp_path)
    size = {"ext4": "16 MiB", "xfs": "300 MiB", "btrfs": "160 MiB"}[kind]
    assert found.startswith(f"the root file system takes {size} of the 1 GiB that it has")
