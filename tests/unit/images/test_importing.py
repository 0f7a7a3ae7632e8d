"""Importing: a damaged file is refused, in whatever form the damage does not show by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu.clock import SystemClock, forever
from aibemu.disks import convert
from aibemu.errors import UsageError
from aibemu.images.importing import import_image
from aibemu.images.store import ImageStore


def test_a_truncated_qcow2_is_refused_although_it_opens(tmp_path: Path) -> None:
    raw, disk = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    raw.write_bytes(b"\xa5" * (4 << 20))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk], check=True)
    store = ImageStore(tmp_path / "store", SystemClock())
    with disk.open("r+b") as stream:
        stream.truncate(disk.stat().st_size // 2)
    before = disk.read_bytes()
    with pytest.raises(UsageError, match="is damaged"):
        import_image(disk, store, deadline=forever(), say=lambda text: None, os_type="Linux")
    assert store.images() == []
    assert disk.read_bytes() == before


@pytest.mark.parametrize("name", ["Disk.VHD", "disk.vhdfixed"])
def test_a_vhd_without_its_end_is_refused_unless_it_is_said_to_be_raw(name: str, tmp_path: Path) -> None:
    """The footer is last: what is left of a cut-off download looks like a raw disk."""
    raw, disk = tmp_path / "disk.raw", tmp_path / name
    raw.write_bytes(b"\xa5" * (4 << 20))
    options = ["-o", "subformat=fixed,force_size=on"]
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vpc", *options, raw, disk], check=True)
    with disk.open("r+b") as stream:
        stream.truncate(disk.stat().st_size - (1 << 20))
    store = ImageStore(tmp_path / "store", SystemClock())
    with pytest.raises(UsageError, match="is damaged: a VHD ends with a footer") as caught:
        import_image(disk, store, deadline=forever(), say=lambda text: None, os_type="Linux")
    assert "--format raw" in str(caught.value.hint) and store.images() == []
    with pytest.raises(UsageError, match="not the image of a disk"):
        import_image(disk, store, deadline=forever(), say=lambda text: None, os_type="Linux", format="raw")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("efi", [False, True])
def test_a_disk_without_its_end_is_refused_whatever_it_is_called(
    efi: bool, make_disk: Callable[..., Path], tmp_path: Path
) -> None:
    """What is left of a fixed VHD has no name that tells, either: its partitions do."""
    disk, store = make_disk(efi=efi), ImageStore(tmp_path / "store", SystemClock())
    with disk.open("r+b") as stream:
        stream.truncate(disk.stat().st_size - 512)
    with pytest.raises(
        UsageError, match=r"is cut off: a partition of it ends at byte 9437184, and .* has 9436672"
    ) as it:
        import_image(disk, store, deadline=forever(), say=lambda text: None)
    assert "--format raw" in str(it.value.hint) and store.images() == []
    assert import_image(disk, store, deadline=forever(), say=lambda text: None, format="raw").known is False


@pytest.mark.parametrize("format_", [None, "qcow2"])
def test_files_that_an_image_names_are_not_opened(format_: str | None, tmp_path: Path) -> None:
    """The name may be that of a device, of a pipe, as here, or of a server."""
    base, disk = tmp_path / "base", tmp_path / "disk.qcow2"
    base.write_bytes(bytes(1 << 20))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", disk], check=True)
    base.unlink()
    os.mkfifo(base)
    store = ImageStore(tmp_path / "store", SystemClock())
    with pytest.raises(UsageError, match="refers to other files") as caught:
        import_image(disk, store, deadline=forever(), say=lambda text: None, os_type="Linux", format=format_)
    assert list(caught.value.details) == [f"backing file {base}"] and store.images() == []
    convert.check(disk, deadline=forever())


@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vhdx"])
def test_names_with_colons_are_names_of_files(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").write_bytes(b"\xa5" * (1 << 20))
    subprocess.run(["qemu-img", "convert", "-O", kind, "raw", f"./nbd:disk.{kind}"], check=True)
    convert.check(Path(f"nbd:disk.{kind}"), deadline=forever(), format=kind)
