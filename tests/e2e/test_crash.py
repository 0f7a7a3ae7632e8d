"""Kill -9 in each phase: the next command says what it cleaned, and nothing of the dead run is left.

No guest has to boot for it: machines are killed as they start, and the two builds that are killed in a step start
from a layer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lab import (
    PROVIDERS,
    WARM,
    Base,
    Build,
    aibemu,
    answer,
    fresh_home,
    is_open,
    left_over,
    machine_processes,
    managed_image,
    read_events,
    until,
    write_template,
)

pytestmark = pytest.mark.vm

SHM = Path("/dev/shm")
GIB = 1024**3


@pytest.fixture
def home(tmp_path: Path, base: Base) -> Path:
    return fresh_home(tmp_path / "home", base)


@pytest.fixture
def sleeping(tmp_path: Path, warm_base: Base) -> Iterator[tuple[Build, Build]]:
    """Two builds in one home that will sleep in their customizer and in their deprovisioning."""
    home = fresh_home(tmp_path / "warm", warm_base)
    lines = ["echo sleeping", "sleep 600"]
    own_script = [f"echo '{line}' >> /tmp/DeprovisioningScript.sh" for line in lines]
    steps = {
        "customizing": [{"type": "Shell", "name": "Sleeper", "inline": lines}],
        "generalizing": [{"type": "Shell", "name": "Own", "inline": ["rm /tmp/DeprovisioningScript.sh", *own_script]}],
    }
    builds = [
        Build(home, [write_template(tmp_path, name, customize=customize), *WARM], tmp_path / name)
        for name, customize in steps.items()
    ]
    yield builds[0], builds[1]
    for build in builds:
        build.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder of the user's, on another file system if there is one, so that a VHD has to be copied there."""
    other = os.access(SHM, os.W_OK) and shutil.disk_usage(SHM).free > 2 * GIB
    place = Path(tempfile.mkdtemp(prefix="aibemu-test-", dir=SHM if other else tmp_path))
    yield place
    shutil.rmtree(place)


def check_cleaned(home: Path, builds: Sequence[Build], *folders: Path, said: str = "") -> None:
    """The next command says what it cleans and leaves nothing; the one after it has nothing to say."""
    for build in builds:
        assert build.process.returncode == -9, build.stderr
    first = aibemu(home, "status")
    assert first.returncode == 0, first.stderr
    for build in builds:
        assert f"warning: run {build.run} had died: cleaned up " in first.stderr, first.stderr
    assert said in first.stderr
    assert left_over(home, *folders) == []
    assert [port for build in builds for port in build.ports() if is_open(port)] == []
    for build in builds:
        status = answer(home, "status", build.run)
        assert status["lastRunStatus"]["runState"] == "Failed"
        assert status["error"]["code"] == "DIED"
    second = aibemu(home, "status")
    assert (second.returncode, second.stderr) == (0, "")


def machine_and_platform(build: Build, role: str) -> str:
    """How the sweep names the two processes of a machine."""
    return f"machine {build.run}-{role}, the platform of machine {build.run}-{role}"


def test_while_provisioning(home: Path, tmp_path: Path) -> None:
    build = Build(home, [write_template(tmp_path, "provisioning")], tmp_path / "build")
    build.wait_for("machine.started")
    build.kill()
    assert machine_processes(home) == {"QEMU", "platform"}, "they outlive their maker"
    check_cleaned(home, [build], said=machine_and_platform(build, "build"))


def test_while_validating(home: Path, tmp_path: Path) -> None:
    only = {
        "sourceValidationOnly": True,
        "inVMValidations": [{"type": "Shell", "name": "Never", "inline": ["false"]}],
    }
    build = Build(home, [write_template(tmp_path, "validating", validate=only)], tmp_path / "build")
    build.wait_for("phase.started", phase="validate")
    build.wait_for("machine.started", role="validate")
    build.kill()
    assert machine_processes(home) == {"QEMU", "platform"}, "they outlive their maker"
    check_cleaned(home, [build], said=machine_and_platform(build, "validate"))


# Distributing needs no guest: a scripted disk is an overlay on the same image, and all after it is the real thing.


def test_while_writing_a_vhd(home: Path, tmp_path: Path) -> None:
    build = distributing(home, tmp_path, vhd(tmp_path / "own" / "disk.vhd"))
    outputs = build.directory / "outputs"
    until(lambda: any(outputs.rglob("*.partial")), "no VHD was begun")
    build.kill()
    assert any(outputs.rglob("*.partial")), "the VHD was finished before the kill"
    check_cleaned(home, [build], tmp_path / "own", said=f"the half-written file {outputs}")


def test_while_copying_a_vhd_to_its_uri(home: Path, tmp_path: Path, elsewhere: Path) -> None:
    build = distributing(home, tmp_path, vhd(elsewhere / "disk.vhd"))
    until(lambda: any(elsewhere.iterdir()), "no VHD came")
    build.kill()
    assert [path.name for path in elsewhere.iterdir()] != []
    halves = [path for path in elsewhere.iterdir() if path.name.endswith(".partial")]
    if elsewhere.is_relative_to(SHM):
        assert halves, "the VHD was copied before the kill"
    check_cleaned(home, [build], elsewhere, said=f"the half-written file {halves[0]}" if halves else "")
    # Not the user's own files.
    assert [path.name for path in elsewhere.iterdir()] == ([] if halves else ["disk.vhd"])


def test_while_storing_an_image(home: Path, tmp_path: Path) -> None:
    before = answer(home, "images", "list")
    gallery = {
        "type": "SharedImage", "runOutputName": "gallery", "targetRegions": [{"name": "westeurope"}],
        "galleryImageId": f"{PROVIDERS}/Microsoft.Compute/galleries/crash/images/linux",
    }  # fmt: skip
    build = distributing(home, tmp_path, gallery)
    until(lambda: any((home / "images" / "tmp").glob("*/image.qcow2")), "no image was begun")
    build.kill()
    check_cleaned(home, [build], said="half-stored image")
    assert answer(home, "images", "list") == before
    assert list((home / "images" / "tmp").iterdir()) == []


def distributing(home: Path, folder: Path, target: dict[str, Any]) -> Build:
    """A build on scripted machines that has begun to write `target`."""
    path = write_template(folder, "distributing", distribute=[target, managed_image("never")])
    build = Build(home, [path, "--driver", "scripted"], folder / "build")
    build.wait_for("output.started", run_output_name=target["runOutputName"])
    return build


def vhd(uri: Path) -> dict[str, Any]:
    return {"type": "VHD", "runOutputName": "disk", "uri": str(uri)}


def test_while_customizing_and_generalizing(sleeping: tuple[Build, Build]) -> None:
    """Two dead runs at once, each with a guest that is in the middle of a step."""
    customizing, generalizing = sleeping
    customizing.wait_for("step.output", line="sleeping", phase="customize")
    customizing.kill()
    generalizing.wait_for("step.output", line="sleeping", phase="generalize", step="deprovision")
    # A living run next to a dead one is not touched.
    first = aibemu(customizing.home, "status", generalizing.run)
    assert f"run {customizing.run} had died: cleaned up {machine_and_platform(customizing, 'build')}" in first.stderr
    assert generalizing.run not in first.stderr
    assert left_over(customizing.directory) == []
    assert machine_processes(generalizing.directory) == {"QEMU", "platform"}
    assert any(event["kind"] == "cleaned" for event in read_events(customizing.directory))
    assert answer(customizing.home, "status", customizing.run)["lastRunStatus"]["runState"] == "Failed"
    assert [port for port in customizing.ports() if is_open(port)] == []
    assert generalizing.process.poll() is None
    generalizing.kill()
    check_cleaned(generalizing.home, [generalizing], said=machine_and_platform(generalizing, "build"))
