"""What a driver promises about what is left of a run: a part of the drivers' contract.

`aibemu.testing.contract.DriverContract` has it in it; its fixtures make the driver, the machine and the folders.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from aibemu.hypervisor import HypervisorDriver, Machine, MachineSpec, MachineState


class ListingContract:
    """Machines are found by their owner, and ended."""

    def new_driver(self, scratch: Path) -> HypervisorDriver:
        """See `DriverContract`."""
        raise NotImplementedError

    def test_all_that_an_owner_has_is_listed_and_nobody_elses(
        self, driver: HypervisorDriver, machine: Machine, spec: MachineSpec, scratch: Path
    ) -> None:
        folder = spec.directory.parents[2] / "somebody" / "machines" / "a"
        other = driver.create(replace(spec, id="foreign-a", owner="somebody", directory=folder))
        try:
            machine.start()
            elsewhere = self.new_driver(scratch)
            assert [(left.id, left.directory) for left in elsewhere.list(spec.owner)] == [
                (machine.id, machine.directory)
            ]
            assert [left.id for left in elsewhere.list("somebody")] == [other.id]
            assert list(elsewhere.list("nobody")) == []
        finally:
            other.destroy()

    def test_what_is_listed_can_be_ended(self, machine: Machine, spec: MachineSpec, scratch: Path) -> None:
        machine.start()
        driver = self.new_driver(scratch)
        for left in driver.list(spec.owner):
            left.destroy()
            left.destroy()
        assert list(driver.list(spec.owner)) == []
        assert machine.state() is MachineState.GONE
        assert not machine.directory.exists()

    def test_nothing_is_left_of_a_machine_whose_directory_was_deleted_once_what_is_listed_is_ended(
        self, machine: Machine, spec: MachineSpec, scratch: Path
    ) -> None:
        machine.start()
        shutil.rmtree(machine.directory)
        driver = self.new_driver(scratch)
        for left in driver.list(spec.owner):
            assert (left.id, left.directory) == (machine.id, machine.directory)
            left.destroy()
        assert list(driver.list(spec.owner)) == []
