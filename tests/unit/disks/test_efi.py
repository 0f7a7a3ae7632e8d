"""What is in an EFI system partition, by file systems that mkfs.vfat and mtools made."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.disks.efi import FALLBACK, loaders
from aibemu.disks.partitions import reader

MIB = 1024 * 1024
START = 3 * MIB


def make(path: Path, kind: str, mib: int, files: list[str]) -> tuple[str, ...] | None:
    """What is read of a FAT of that kind, which begins 3 MiB from the start of a file."""
    env = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "MTOOLS_SKIP_CHECK": "1"}
    volume, content = path / "esp.img", path / "x"
    content.write_bytes(b"MZ" * 3000)
    with volume.open("wb") as stream:
        stream.truncate(mib * MIB)
    subprocess.run(["mkfs.vfat", "-F", kind, "-n", "EFI", volume], check=True, env=env, stdout=subprocess.DEVNULL)
    folders = dict.fromkeys(str(parent) for file in files for parent in reversed(Path(file).parents) if parent.name)
    if folders:
        subprocess.run(["mmd", "-i", volume, *(f"::/{name}" for name in folders)], check=True, env=env)
    for file in files:
        subprocess.run(["mcopy", "-i", volume, content, f"::/{file}"], check=True, env=env)
    disk = path / "disk.img"
    disk.write_bytes(bytes(START) + volume.read_bytes())
    with disk.open("rb") as stream:
        return loaders(reader(stream), START)


@pytest.mark.parametrize(("kind", "mib"), [("12", 4), ("16", 20), ("32", 40)])
def test_the_loaders_of_each_kind_of_fat(kind: str, mib: int, tmp_path: Path) -> None:
    more = [f"EFI/BOOT/a file with a long name {number}.txt" for number in range(20)]
    files = ["EFI/BOOT/BOOTX64.EFI", "EFI/debian/grubx64.efi", "EFI/debian/grub.cfg", "readme.efi", *more]
    found = make(tmp_path, kind, mib, files)
    assert found == (FALLBACK, "EFI/DEBIAN/GRUBX64.EFI")


@pytest.mark.parametrize("files", [[], ["EFI/readme.txt"], ["System Volume Information/x.efi"]])
def test_an_empty_one(files: list[str], tmp_path: Path) -> None:
    assert make(tmp_path, "32", 40, files) == ()


def test_none_that_is_no_fat() -> None:
    assert loaders(lambda at, length: bytes(length), 0) is None


@given(st.binary(min_size=512, max_size=8192))
def test_whatever_is_there_it_comes_to_an_end(data: bytes) -> None:
    head = bytearray(data)
    head[510:512] = b"\x55\xaa"
    loaders(lambda at, length: bytes(head[at : at + length]), 0)
