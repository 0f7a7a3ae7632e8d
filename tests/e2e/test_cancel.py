"""Stopping a build from outside, and a boot that never comes: everything ends soon, says why and leaves nothing.

Only the first test boots a machine, and not for long: the build whose customizer is interrupted starts from a layer.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from aibemu.processes import find_program
from tests.e2e.lab import WARM, Base, Build, aibemu, answer, fresh_home, is_open, left_over, write_template

pytestmark = pytest.mark.vm

CONVERGE = 10.0  # seconds from the request to the end of the process


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cancel")


@pytest.fixture(scope="module")
def home(folder: Path, base: Base) -> Path:
    return fresh_home(folder / "home", base)


def check_canceled(build: Build, seconds: float) -> None:
    """It ended as a cancelled run does, in time, and nothing of it is left."""
    assert seconds < CONVERGE, build.stderr
    assert build.process.returncode == 130, build.stderr
    status = answer(build.home, "status", build.run)
    assert status["lastRunStatus"]["runState"] == "Canceled"
    assert left_over(build.directory) == []
    assert [port for port in build.ports() if is_open(port)] == []
    log = (build.directory / "customization.log").read_text()
    assert "Cancelling build after receiving terminated" in log
    assert "Cleanly cancelled builds after being interrupted." in log


def test_aibemu_cancel_during_boot(home: Path, folder: Path) -> None:
    build = Build(home, [write_template(folder, "booting")], folder / "booting")
    try:
        build.wait_for("machine.started")
        started = time.monotonic()
        done = aibemu(home, "cancel", build.run)
        build.wait(60)
        seconds = time.monotonic() - started
    finally:
        build.close()
    assert done.returncode == 0, done.stderr
    assert f"run {build.run}: Canceled" in done.stdout
    check_canceled(build, seconds)
    again = aibemu(home, "cancel", build.run)
    assert again.returncode == 2
    assert "is not building: it is Canceled" in again.stderr


def test_an_image_that_cannot_boot_fails_early_and_shows_why(home: Path, folder: Path) -> None:
    blank = folder / "blank.img"  # a file system, so that it is taken for a disk; no boot sector
    subprocess.run([find_program("mke2fs"), "-q", "-t", "ext4", blank, "64M"], check=True)
    imported = aibemu(home, "images", "import", blank, "--os-type", "Linux", "--alias", "nobody:nothing:blank:1.0.0")
    assert imported.returncode == 0, imported.stderr
    source = {
        "type": "PlatformImage", "publisher": "nobody", "offer": "nothing", "sku": "blank", "version": "1.0.0",
    }  # fmt: skip
    build = Build(home, [write_template(folder, "blank", source=source)], folder / "blank")
    try:
        started = build.wait_for("machine.started")
        began = time.monotonic()
        assert build.wait() == 1, build.stderr
        # The boot timeout is 600 s times the host's slowness.
        assert time.monotonic() - began < 60
    finally:
        build.close()
    (lost,) = build.events("machine.lost")
    assert lost["machine"] == started["machine"]
    assert "the disk is not bootable (build machine)" in build.stderr
    assert any("No bootable device" in line for line in lost["console"])
    assert "No bootable device" in build.stderr
    console, screen = build.directory / "console" / "build.log", build.directory / "console" / "build.png"
    assert [Path(path) for path in lost["saved"]] == [console, screen]
    assert str(console) in build.stderr
    assert str(screen) in build.stderr
    assert "No bootable device" in console.read_text(errors="replace")
    assert screen.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert answer(home, "status", build.run)["lastRunStatus"]["runState"] == "Failed"
    assert left_over(build.directory) == []
    assert [port for port in build.ports() if is_open(port)] == []


def test_ctrl_c_during_a_customizer(folder: Path, warm_base: Base) -> None:
    home = fresh_home(folder / "warm", warm_base)
    steps = [{"type": "Shell", "name": "Sleeper", "inline": ["echo sleeping", "sleep 600", "echo awake"]}]
    build = Build(home, [write_template(folder, "sleeper", customize=steps), *WARM], folder / "sleeper")
    try:
        build.wait_for("step.output", line="sleeping")
        started = time.monotonic()
        build.process.send_signal(signal.SIGINT)
        build.wait(60)
        seconds = time.monotonic() - started
    finally:
        build.close()
    check_canceled(build, seconds)
    assert build.lines("c1") == ["sleeping"]
    (ended,) = [event for event in build.events("step.finished") if event["step"] == "c1"]
    assert ended["status"] == "cancelled"
    assert left_over(home) == []
