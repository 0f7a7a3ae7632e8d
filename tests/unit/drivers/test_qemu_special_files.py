"""A pipe in the place of a machine's own file: nobody waits for the other end of it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.errors import ProvisionFailed
from aibemu.hypervisor import MachineEventKind
from aibemu.testing.contract import make_spec
from aibemu_drivers.overlay import create_overlay
from aibemu_drivers.qemu.arguments import FirmwareFiles
from aibemu_drivers.qemu.freezing import load_memory
from aibemu_drivers.qemu.monitor import EVENTS_FILE, Monitor
from aibemu_drivers.qemu.own_files import own_firmware
from aibemu_drivers.qemu.processes import last_words, spawn

pytestmark = pytest.mark.timeout(20)
RESET = {"event": "RESET", "timestamp": {"seconds": 1, "microseconds": 2}, "data": {"guest": True}}


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_the_log_of_a_program(tmp_path: Path, pipe: Path) -> None:
    assert last_words(tmp_path, "pipe") == "" and last_words(tmp_path, "none") == ""
    spawn([sys.executable, "-c", "print('said')"], tmp_path, "pipe").wait()
    assert last_words(tmp_path, "pipe") == "said\n" and pipe.stat().st_mode & 0o777 == 0o600
    (tmp_path / "folder" / "x").mkdir(parents=True)
    assert last_words(tmp_path, "folder") == ""
    spawn([sys.executable, "-c", "print('said')"], tmp_path, "folder").wait()
    assert last_words(tmp_path, "folder") == "said\n"


def test_a_long_log_is_read_at_its_end(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as stream:
        stream.truncate(1 << 40)
        stream.seek(0, os.SEEK_END)
        stream.write(b"\nlast words\n")
    assert last_words(tmp_path, "log").endswith("\nlast words\n")


def test_events(tmp_path: Path) -> None:
    monitor = Monitor("m", tmp_path / "none", tmp_path)
    os.mkfifo(tmp_path / EVENTS_FILE)
    monitor._heard(RESET)
    assert monitor.events() == (MachineEventKind.RESET,)
    monitor.restart()
    monitor._heard(RESET)
    monitor._heard(RESET)
    lines = (tmp_path / EVENTS_FILE).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [RESET, RESET]
    assert (tmp_path / EVENTS_FILE).stat().st_mode & 0o777 == 0o600


def test_frozen_memory(tmp_path: Path, pipe: Path) -> None:
    with pytest.raises(ProvisionFailed, match="is a pipe, not a file"):
        load_memory(Monitor("m", tmp_path / "none", tmp_path), pipe, forever())


def test_the_image(tmp_path: Path, pipe: Path) -> None:
    with pytest.raises(ProvisionFailed, match="is a pipe, not a file"):
        create_overlay(make_spec("m", tmp_path / "m", pipe), tmp_path / "overlay.qcow2")
    spec = replace(make_spec("m", tmp_path / "m", tmp_path / "none"), base_format="qcow2")
    with pytest.raises(ProvisionFailed, match="No such file"):
        create_overlay(spec, tmp_path / "overlay.qcow2")


def test_variables_of_the_firmware(tmp_path: Path, pipe: Path) -> None:
    with pytest.raises(OSError, match="is a pipe, not a file"):
        own_firmware(tmp_path, FirmwareFiles(code=pipe, variables=pipe))
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
