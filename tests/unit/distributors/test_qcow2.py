"""--also qcow2: one file, no backing file, compressed on demand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.distributors.qcow2 import write_qcow2
from aibemu.errors import BuildCancelled


@pytest.mark.parametrize("compressed", [False, True])
def test_it_holds_the_disk_without_a_backing_file(tmp_path: Path, disk: tuple[Path, bytes], compressed: bool) -> None:
    target, raw = tmp_path / "out" / "gold.qcow2", tmp_path / "gold.raw"
    write_qcow2(disk[0], target, compressed=compressed, deadline=forever())
    text = subprocess.run(["qemu-img", "info", "--output=json", target], check=True, capture_output=True).stdout
    report = json.loads(text)
    assert report["format"] == "qcow2" and "backing-filename" not in report
    if compressed:
        assert report["format-specific"]["data"]["compression-type"] == "zstd"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", target, raw], check=True)
    assert raw.read_bytes() == disk[1]


def test_compression_makes_it_smaller(tmp_path: Path, disk: tuple[Path, bytes]) -> None:
    sizes = []
    for compressed in (False, True):
        write_qcow2(disk[0], tmp_path / "gold.qcow2", compressed=compressed, deadline=forever())
        sizes.append((tmp_path / "gold.qcow2").stat().st_size)
    assert sizes[1] < sizes[0]


def test_nothing_is_left_of_a_cancelled_one(tmp_path: Path, disk: tuple[Path, bytes]) -> None:
    cancel = CancelToken()
    cancel.cancel("stop")
    with pytest.raises(BuildCancelled):
        write_qcow2(
            disk[0], tmp_path / "gold.qcow2", compressed=False, deadline=Deadline(clock=SystemClock(), cancel=cancel)
        )
    assert list(tmp_path.iterdir()) == []
