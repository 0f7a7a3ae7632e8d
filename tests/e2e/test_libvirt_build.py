"""A whole Linux build through libvirt, then builds from its layer that are killed: what the next command leaves.

One cold boot. libvirt has no daemon here (`qemu:///embed`), so that nothing of the host's own is touched: one process
at a time has it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.lab import (
    Base,
    Build,
    aibemu,
    answer,
    fresh_home,
    left_over,
    machine_processes,
    managed_image,
    read_events,
    write_template,
)
from tests.e2e.platform import GET, INSTANCE
from tests.e2e.test_crash import check_cleaned, machine_and_platform
from tests.libvirt_embed import embed_settings, need_libvirt

pytestmark = pytest.mark.vm

LOOK = [
    "echo detected=$(systemd-detect-virt)",
    "echo tag=$(cat /sys/class/dmi/id/chassis_asset_tag)",
    "echo smbios=$(sudo cat /sys/class/dmi/id/product_uuid)",
    f"echo vm=$({GET} '{INSTANCE}/compute/vmId?api-version=2021-02-01&format=text')",
    "echo disk=$(lsblk --noheadings --nodeps --output NAME | sort | tr '\\n' ' ')",
    "echo 'Built through libvirt.' | sudo tee /etc/motd",
]
SLEEP = ["echo sleeping", "sleep 600"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Libvirt:
    """root: the folder of a libvirt without a daemon. words: for `aibemu run`."""

    root: Path
    words: tuple[str, ...]

    def domains(self) -> list[str]:
        """What it notes of machines that run."""
        return [path.name for path in self.root.glob("run/qemu/aibemu-*")]


@pytest.fixture(scope="module")
def libvirt() -> Iterator[Libvirt]:
    need_libvirt()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="aibemu-lv-") as root:
        patch.setenv("LIBVIRT_LOG_OUTPUTS", f"3:file:{root}/log.txt")
        uri = embed_settings(Path(root))
        yield Libvirt(root=Path(root), words=("--driver", "libvirt", "--driver-option", f"uri={uri}"))


@pytest.fixture(scope="module")
def built(libvirt: Libvirt, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """A build that is over; its home has layers."""
    folder = tmp_path_factory.mktemp("libvirt")
    home = fresh_home(folder / "home", base)
    vhd = {"type": "VHD", "runOutputName": "disk", "uri": str(folder / "made" / "disk.vhd")}
    step = {"type": "Shell", "name": "Look", "inline": LOOK}
    path = write_template(folder, "libvirt", customize=[step], distribute=[vhd, managed_image("libvirt")])
    build = Build(home, [path, "--cache", *libvirt.words], folder / "build")
    try:
        assert build.wait() == 0, build.stdout + build.stderr
        yield build
    finally:
        build.close()


def test_an_azure_only_image_provisions_and_becomes_a_vhd(built: Build, libvirt: Libvirt) -> None:
    seen = dict(line.split("=", 1) for line in built.lines("c1") if "=" in line)
    assert seen["detected"] == "microsoft" and seen["tag"] == "7783-7084-3265-9085-8269-3286-77"
    assert seen["disk"].split() == ["sda", "sr0"]
    # Generation 1 shows the first three fields of the VM's id byte by byte backwards.
    assert seen["smbios"].split("-")[3:] == seen["vm"].split("-")[3:] and len(seen["vm"]) == 36
    made = built.folder.parent / "made" / "disk.vhd"
    with made.open("rb") as stream:
        stream.seek(-512, os.SEEK_END)
        assert stream.read(8) == b"conectix"
    assert answer(built.home, "status", built.run)["lastRunStatus"]["runState"] == "Succeeded"
    assert any(event["kind"] == "machine.ready" for event in built.events())
    assert left_over(built.home) == [] and libvirt.domains() == []


def test_the_next_build_starts_from_the_layer_and_a_kill_in_a_step_leaves_nothing(
    built: Build, libvirt: Libvirt, tmp_path: Path
) -> None:
    """Even when the directory of the machine was deleted: libvirt knows whose it is."""
    steps = [{"type": "Shell", "name": "Look", "inline": LOOK}, {"type": "Shell", "name": "Sleep", "inline": SLEEP}]
    path = write_template(tmp_path, "libvirt", customize=steps)
    build = Build(built.home, [path, "--cache", "--no-freeze", *libvirt.words], tmp_path / "build")
    try:
        build.wait_for("machine.restored")
        build.wait_for("step.output", line="sleeping")
    finally:
        build.kill()
    assert machine_processes(built.home) == {"QEMU", "platform"}, "they outlive their maker"
    shutil.rmtree(build.directory / "machines")
    check_cleaned(built.home, [build], said=f"machine {build.run}-build, whose directory was gone")
    assert libvirt.domains() == []
    assert any(event["kind"] == "cleaned" for event in read_events(build.directory))


def test_a_kill_while_provisioning_leaves_nothing(libvirt: Libvirt, base: Base, tmp_path: Path) -> None:
    home = fresh_home(tmp_path / "home", base)
    build = Build(home, [write_template(tmp_path, "provisioning"), *libvirt.words], tmp_path / "build")
    try:
        build.wait_for("machine.started")
    finally:
        build.kill()
    assert machine_processes(home) == {"QEMU", "platform"}
    check_cleaned(home, [build], said=machine_and_platform(build, "build"))
    assert libvirt.domains() == []


def test_another_host_is_refused_before_anything_is_made(base: Base, tmp_path: Path) -> None:
    home = fresh_home(tmp_path / "home", base)
    path = write_template(tmp_path, "remote")
    done = aibemu(home, "run", path, "--driver", "libvirt", "--driver-option", "uri=qemu+ssh://lab1/system")
    assert done.returncode == 2 and "another host" in done.stderr and "ssh HOST aibemu run" in done.stderr
    assert not list((home / "runs").glob("*/machines"))
