"""Sealing a disk: all of its changes or none, told either way, and the disk below is never written."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from aibemu.disks.convert import make_overlay
from aibemu.disks.libguestfs import Unreadable
from aibemu.engine.phases.sealing import seal
from aibemu.errors import BuildCancelled, Expired, GeneralizeFailed, HostNotReady
from aibemu.events import Kind
from aibemu.hypervisor import Level
from aibemu.systems.findings import GeneralizeFinding, Sealed
from aibemu.systems.windows.sealing import look_at
from aibemu.systems.windows.system import WindowsSystem
from tests.unit.engine.phases.test_last_step import Box, booted
from tests.unit.engine.test_failing_phases import context
from tests.windows_disks import Registry, hives, make_disk, need_tools

CONTENT = b"the guest's own".ljust(512, b"\0")
OK = GeneralizeFinding(level=Level.OK, check="sealed")
CHANGES = ["StartOverride of storvsc removed"]


@pytest.fixture
def this(tmp_path: Path) -> Any:
    (tmp_path / "raw").write_bytes(CONTENT * 2048)
    disk = tmp_path / "disk.qcow2"
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(tmp_path / "raw"), str(disk)], check=True
    )  # fmt: skip
    made = context(tmp_path / "run")
    made.state.disk = made.disk = disk
    made.before = hashlib.sha256(disk.read_bytes()).hexdigest()
    return made


def sealed(this: Any, work: Callable[[Path], Sequence[str]], **system: Any) -> Any:
    """What is in the folder of the build machine after it."""

    def do(self: object, disk: Path, user: str, *, deadline: object) -> Sealed:
        return Sealed(changes=tuple(work(disk)), findings=(OK,), notes=("one file is left",))

    words = {"seals_disks": True, **system}
    build = booted(this, Box(), seal=do, **words)
    try:
        this.done = seal(this.state, build)
    finally:
        assert hashlib.sha256(this.disk.read_bytes()).hexdigest() == this.before
    return [path.name for path in (this.services.run.work / "build").glob("*")]


def write(disk: Path) -> Sequence[str]:
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 512", str(disk)], check=True)
    return CHANGES


def first_sector(disk: Path) -> bytes:
    raw = disk.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(disk), str(raw)], check=True)
    return raw.read_bytes()[:512]


def test_the_changes_are_on_the_disk_that_all_take_from_then_on(this: Any) -> None:
    assert sealed(this, write) == ["sealed.qcow2"]
    assert first_sector(this.state.disk) == b"\7" * 512 and first_sector(this.disk) == CONTENT
    (kind, fields), (_, noted) = this.said
    assert kind is Kind.DISK_SEALED and fields["changes"] == CHANGES
    assert noted["message"] == "the disk of the image: one file is left" and this.done.findings == (OK,)


def test_nothing_to_change_is_told_too(this: Any) -> None:
    assert sealed(this, lambda disk: ()) == []
    assert this.state.disk == this.disk and this.said[0][1]["changes"] == []


@pytest.mark.parametrize(
    "error", [HostNotReady("no reader", hint="apt-get install it"), Unreadable("dirty"), Expired("slow"), OSError("x")]
)
def test_what_fails_half_way_changes_nothing_and_is_told(this: Any, error: Exception) -> None:
    def fail(disk: Path) -> Sequence[str]:
        write(disk)
        raise error

    assert sealed(this, fail) == [] and this.done is None
    assert this.state.disk == this.disk
    kind, fields = this.said[-1]
    assert kind is Kind.NOTICE and fields["level"] == "warning" and str(getattr(error, "message", error)) in (
        fields["message"]
    )  # fmt: skip
    assert (getattr(error, "hint", None) or "") in fields["message"]


@pytest.mark.parametrize("error", [GeneralizeFailed("no image"), BuildCancelled("enough")])
def test_a_disk_that_is_no_image_ends_the_build_and_so_does_a_cancel(this: Any, error: Exception) -> None:
    def fail(disk: Path) -> Sequence[str]:
        raise error

    with pytest.raises(type(error)):
        sealed(this, fail)
    assert list((this.services.run.work / "build").iterdir()) == []


def test_a_system_that_seals_nothing_costs_nothing(this: Any) -> None:
    def never(disk: Path) -> Sequence[str]:
        raise AssertionError

    assert sealed(this, never, seals_disks=False) == [] and this.said == []


def test_windows_is_sealed_in_the_overlay_and_proven_there(tmp_path: Path) -> None:
    """The real thing: a disk of the build machine, which lies on an image itself."""
    need_tools()
    image = make_disk(
        tmp_path / "image.qcow2", hives=hives(Registry(overrides={"storvsc": 3})), files={}, format="qcow2"
    )
    this = context(tmp_path / "run")
    this.state.disk = tmp_path / "disk.qcow2"
    make_overlay(image, this.state.disk, deadline=this.state.deadline)
    before = image.read_bytes(), this.state.disk.read_bytes()
    build = booted(this, Box())
    build.system = WindowsSystem()
    done = seal(this.state, build)
    assert done is not None and done.unproven == ""
    assert "storvsc" in this.said[0][1]["changes"][0]
    wrong = [one.check for one in done.findings if one.level is not Level.OK]
    assert wrong == ["Sysprep says that it succeeded"], "there is no tag on this disk"
    found, _ = look_at(this.state.disk, "packer", this.state.deadline)
    assert tuple(found) == done.findings
    assert (image.read_bytes(), (tmp_path / "disk.qcow2").read_bytes()) == before


def test_a_disk_without_windows_fails_the_build(tmp_path: Path) -> None:
    this = context(tmp_path / "run")
    this.state.disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(this.state.disk), "64M"], check=True)
    build = booted(this, Box())
    build.system = WindowsSystem()
    with pytest.raises(GeneralizeFailed, match="the captured disk is no image: there is no Windows"):
        seal(this.state, build)
