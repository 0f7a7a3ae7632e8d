"""What a driver promises about the disk of a machine that is off: a part of the drivers' contract.

`aibemu.testing.contract.DriverContract` has it in it; its fixtures make the machine, its image and the folders.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.errors import AibemuError
from aibemu.hypervisor import Machine, MachineSpec
from aibemu.processes import run_tool

MIB = 1 << 20


class DiskContract:
    """It is the image, grown; it is read, and changed before the first start."""

    def test_the_disk_is_the_image_grown_to_the_size_asked_for(
        self, machine: Machine, spec: MachineSpec, base: Path, scratch: Path
    ) -> None:
        with machine.disk() as disk:
            content = read_disk(disk, scratch)
        assert len(content) == spec.disk_bytes
        assert content[:MIB] == base.read_bytes()
        assert not any(content[MIB:])

    def test_the_disk_may_be_changed_before_the_first_start(self, machine: Machine, base: Path, scratch: Path) -> None:
        before = base.read_bytes()
        with machine.disk() as disk:
            run_tool(["qemu-io", "-f", "qcow2", "-c", f"write -q -P 7 {2 * MIB} 512", disk], deadline=forever())
        machine.start()
        machine.kill()
        with machine.disk() as disk:
            assert read_disk(disk, scratch)[2 * MIB : 2 * MIB + 512] == b"\7" * 512
        assert base.read_bytes() == before

    def test_the_disk_of_a_running_machine_is_refused(self, machine: Machine) -> None:
        machine.start()
        with pytest.raises(AibemuError), machine.disk():
            pytest.fail("it is being written")

    def test_the_disk_can_be_read_more_than_once(self, machine: Machine, scratch: Path) -> None:
        with machine.disk() as one, machine.disk() as other:
            first = read_disk(one, scratch)
            assert read_disk(other, scratch) == first
        assert readable(machine)


def read_disk(disk: Path, scratch: Path) -> bytes:
    """All that a guest would read of it."""
    raw = scratch / "disk.raw"
    run_tool(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, raw], deadline=forever())
    return raw.read_bytes()


def readable(machine: Machine) -> bool:
    """Whether its disk is a whole qcow2 file, with all that is below it."""
    with machine.disk() as disk:
        run_tool(["qemu-img", "check", "-q", "-f", "qcow2", disk], deadline=forever())
        return disk.is_file()
