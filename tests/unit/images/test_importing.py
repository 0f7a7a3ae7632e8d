"""Importing: a damaged file is refused, in whatever form the damage does not show by itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aibemu.clock import SystemClock, forever
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


def test_a_vhd_without_its_end_is_refused_unless_it_is_said_to_be_raw(tmp_path: Path) -> None:
    """The footer is last: what is left of a cut-off download looks like a raw disk."""
    raw, disk = tmp_path / "disk.raw", tmp_path / "Disk.VHD"
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
