"""What a driver promises that can freeze machines, or their disks: the parts of the drivers' contract that others skip.

`aibemu.testing.contract.DriverContract` has it in it; its fixtures make the driver, the machine and the folders.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import forever
from aibemu.errors import AibemuError, FreezeFailed
from aibemu.hypervisor import (
    Frozen,
    FrozenRefused,
    HypervisorDriver,
    Machine,
    MachineEventKind,
    MachineSpec,
    MachineState,
)
from aibemu.processes import run_tool

# Starts another machine, the same otherwise, from a frozen one.
Restore = Callable[[Frozen], Machine]


class FreezingContract:
    """Machines that are frozen, and those that start from them."""

    def new_driver(self, scratch: Path) -> HypervisorDriver:
        """See `DriverContract`."""
        raise NotImplementedError

    @pytest.fixture
    def frozen(self, driver: HypervisorDriver, machine: Machine, scratch: Path) -> Frozen:
        """`machine`, which runs, as it is now."""
        if not driver.capabilities().freezes:
            pytest.skip(f"the driver {driver.name} does not freeze machines here")
        machine.start()
        return machine.freeze(scratch / "layers", forever())

    @pytest.fixture
    def restore(self, driver: HypervisorDriver, spec: MachineSpec, scratch: Path) -> Iterator[Restore]:
        """Starts another machine from a frozen one."""
        made: list[Machine] = []

        def start(frozen: Frozen) -> Machine:
            name = f"restored-{len(made)}"
            made.append(driver.create(replace(spec, id=name, directory=spec.directory.with_name(name), frozen=frozen)))
            made[-1].start()
            return made[-1]

        yield start
        for machine in made:
            machine.destroy()

    def test_a_frozen_machine_leaves_files_and_runs_on(self, machine: Machine, frozen: Frozen, scratch: Path) -> None:
        assert machine.state() is MachineState.RUNNING
        files = set(frozen.files)
        assert len(frozen.disks) == 1
        assert set((scratch / "layers").iterdir()) == files
        assert all(path.is_file() for path in files)
        machine.kill()
        assert machine.state() is MachineState.STOPPED
        with machine.disk() as disk:
            assert disk.is_file() and not any(disk.samefile(path) for path in files)
        machine.start()
        assert machine.state() is MachineState.RUNNING

    def test_two_machines_start_from_a_frozen_one_and_never_change_it(
        self, machine: Machine, frozen: Frozen, restore: Restore
    ) -> None:
        before = hashes(frozen)
        first, second = restore(frozen), restore(frozen)
        assert [one.state() for one in (machine, first, second)] == [MachineState.RUNNING] * 3
        assert first.endpoint(22) is not None and first.events() == second.events() == ()
        first.kill()
        assert second.state() is MachineState.RUNNING
        second.kill()
        assert hashes(frozen) == before

    def test_what_started_from_a_frozen_machine_needs_neither_it_nor_its_files_any_more(
        self, machine: Machine, frozen: Frozen, restore: Restore, scratch: Path
    ) -> None:
        second = restore(frozen)
        machine.destroy()
        shutil.rmtree(scratch / "layers")
        assert second.state() is MachineState.RUNNING
        second.kill()
        second.start()  # not from memory again: it boots
        assert second.state() is MachineState.RUNNING
        second.kill()
        with second.disk() as disk:
            chain = backing_chain(disk)
        assert all(Path(image["filename"]).is_file() for image in chain)

    def test_frozen_machines_of_frozen_machines(self, frozen: Frozen, restore: Restore, spec: MachineSpec) -> None:
        made = [frozen]
        for _ in range(2):
            made.append(restore(made[-1]).freeze(frozen.disks[0].parent, forever()))
        assert [len(one.disks) for one in made] == [1, 2, 3]
        assert made[2].disks[:2] == made[1].disks and made[1].disks[:1] == frozen.disks
        assert len({one.memory for one in made}) == 3
        last = restore(made[2])
        assert last.state() is MachineState.RUNNING
        # Each names the one before it by its name alone; the first, the image.
        names = [image.get("backing-filename") for image in backing_chain(made[2].disks[-1])]
        assert names == [made[2].disks[1].name, made[2].disks[0].name, str(spec.base), None]

    def test_a_machine_can_be_frozen_again(self, machine: Machine, frozen: Frozen, restore: Restore) -> None:
        before = hashes(frozen)
        again = machine.freeze(frozen.disks[0].parent, forever())
        assert again.disks[0] == frozen.disks[0] and len(again.disks) == 2
        assert hashes(frozen) == before
        assert restore(again).state() is restore(frozen).state() is MachineState.RUNNING

    def test_another_process_takes_up_a_machine_that_was_started_from_a_frozen_one(
        self, frozen: Frozen, restore: Restore, scratch: Path
    ) -> None:
        machine = restore(frozen)
        found = self.new_driver(scratch).find(machine.directory)
        assert found is not None and found.state() is MachineState.RUNNING
        found.kill()
        with found.disk() as disk, machine.disk() as same:
            assert backing_chain(disk) == backing_chain(same)
        found.destroy()
        assert not machine.directory.exists()
        assert all(path.is_file() for path in frozen.files)

    def test_a_machine_that_is_off_is_not_frozen(
        self, driver: HypervisorDriver, machine: Machine, scratch: Path
    ) -> None:
        if not driver.capabilities().freezes:
            pytest.skip(f"the driver {driver.name} does not freeze machines here")
        for state in (MachineState.CREATED, MachineState.STOPPED, MachineState.GONE):
            if state is MachineState.STOPPED:
                machine.start()
                machine.kill()
            elif state is MachineState.GONE:
                machine.destroy()
            assert machine.state() is state
            with pytest.raises(FreezeFailed):
                machine.freeze(scratch / "layers", forever())
            assert not list(scratch.glob("layers/*"))

    def test_a_machine_that_cannot_be_written_down_runs_on_and_leaves_nothing(
        self, driver: HypervisorDriver, machine: Machine, frozen: Frozen, scratch: Path, restore: Restore
    ) -> None:
        (scratch / "file").write_text("no folder")
        with pytest.raises(FreezeFailed):
            machine.freeze(scratch / "file" / "layers", forever())
        assert machine.state() is MachineState.RUNNING
        assert restore(machine.freeze(frozen.disks[0].parent, forever())).state() is MachineState.RUNNING

    @pytest.mark.parametrize("damage", ["memory", "no memory", "no disk"])
    def test_a_damaged_frozen_machine_does_not_start(
        self, driver: HypervisorDriver, frozen: Frozen, spec: MachineSpec, scratch: Path, damage: str
    ) -> None:
        assert frozen.memory is not None
        if damage == "memory":
            frozen.memory.chmod(0o600)
            frozen.memory.write_bytes(b"this is no memory")
        else:
            (frozen.memory if damage == "no memory" else frozen.disks[0]).unlink()
        there = replace(spec, id="restored", directory=spec.directory.with_name("restored"), frozen=frozen)
        # Only of memory that was read it is certain that there is no use in trying again.
        with pytest.raises(FrozenRefused if damage == "memory" else (AibemuError, OSError)):
            driver.create(there).start()
        found = driver.find(there.directory)
        assert found is not None and found.state() is not MachineState.RUNNING
        found.destroy()
        assert not there.directory.exists()


class SavingContract:
    """Machines whose disks are put aside while their guests restart, and those that start from these."""

    def new_driver(self, scratch: Path) -> HypervisorDriver:
        """See `DriverContract`."""
        raise NotImplementedError

    def restarting_base(self, base: Path) -> Path:
        """An image of the base's size whose guest resets itself, by itself or by `restart_guest`."""
        return base

    def restart_guest(self, machine: Machine) -> None:
        """Have the guest reset itself, now or soon. Whoever saves disks says how."""
        pytest.skip(f"nobody says how the guest of {machine.id} resets itself")

    @pytest.fixture
    def restarting(self, driver: HypervisorDriver, spec: MachineSpec) -> Iterator[Machine]:
        """A machine that runs, and resets itself when it is asked to."""
        if not driver.capabilities().saves_disks:
            pytest.skip(f"the driver {driver.name} does not save disks at restarts here")
        base = self.restarting_base(spec.base)
        place = spec.directory.with_name("restarting")
        machine = driver.create(replace(spec, id="restarting", directory=place, base=base))
        machine.start()
        yield machine
        machine.destroy()

    def saved(self, machine: Machine, folder: Path) -> Frozen:
        """Its disk, as it is at its guest's next reset."""
        with machine.saving_at_reset(forever()) as look:
            self.restart_guest(machine)
            forever().within(60).poll(look)
            assert not look(), "it is told once"
        return machine.saved_disk(folder, forever())

    def test_a_disk_that_is_put_aside_is_files_without_memory_and_the_machine_runs_on(
        self, restarting: Machine, scratch: Path
    ) -> None:
        saved = self.saved(restarting, scratch / "layers")
        assert restarting.state() is MachineState.RUNNING
        assert MachineEventKind.RESET in restarting.events() and MachineEventKind.SHUTDOWN not in restarting.events()
        assert saved.memory is None and len(saved.disks) == 1
        assert set((scratch / "layers").iterdir()) == set(saved.files)
        before = hashes(saved)
        restarting.kill()
        with restarting.disk() as disk:
            assert not disk.samefile(saved.disks[0]) and hashes(saved) == before
        restarting.start()
        assert restarting.state() is MachineState.RUNNING

    def test_machines_boot_from_a_disk_that_was_put_aside_and_never_change_it(
        self, driver: HypervisorDriver, restarting: Machine, spec: MachineSpec, scratch: Path
    ) -> None:
        saved = self.saved(restarting, scratch / "layers")
        before, base = hashes(saved), self.restarting_base(spec.base)
        made = []
        for name in ("first", "second"):
            place = spec.directory.with_name(name)
            made.append(driver.create(replace(spec, id=name, directory=place, base=base, frozen=saved)))
            made[-1].start()
        restarting.destroy()
        assert [one.state() for one in made] == [MachineState.RUNNING] * 2
        again = self.saved(made[0], scratch / "layers")
        assert again.disks[:1] == saved.disks and len(again.disks) == 2
        for one in made:
            one.kill()
            with one.disk() as disk:
                assert all(Path(image["filename"]).is_file() for image in backing_chain(disk))
            one.destroy()
        assert hashes(saved) == before

    def test_the_last_of_several_restarts_counts(self, restarting: Machine, scratch: Path) -> None:
        first = self.saved(restarting, scratch / "first")
        second = self.saved(restarting, scratch / "second")
        assert [one.name for one in second.disks[:1]] == [one.name for one in first.disks] and len(second.disks) == 2

    def test_without_a_reset_nothing_is_put_aside(
        self, machine: Machine, driver: HypervisorDriver, scratch: Path
    ) -> None:
        if not driver.capabilities().saves_disks:
            pytest.skip(f"the driver {driver.name} does not save disks at restarts here")
        machine.start()
        before = set(machine.directory.iterdir())
        with machine.saving_at_reset(forever()) as look:
            assert not look()
        assert machine.state() is MachineState.RUNNING and set(machine.directory.iterdir()) <= before
        with pytest.raises(FreezeFailed):
            machine.saved_disk(scratch / "layers", forever())
        assert not list(scratch.glob("layers/*"))

    def test_a_machine_that_goes_off_while_its_reset_is_waited_for_is_off(
        self, machine: Machine, driver: HypervisorDriver
    ) -> None:
        if not driver.capabilities().saves_disks:
            pytest.skip(f"the driver {driver.name} does not save disks at restarts here")
        machine.start()
        with machine.saving_at_reset(forever()) as look:
            machine.kill()
            assert not look()
        assert machine.state() is MachineState.STOPPED
        with pytest.raises(FreezeFailed), machine.saving_at_reset(forever()):
            raise AssertionError("it does not run")

    def test_a_disk_that_cannot_be_written_down_leaves_nothing(self, restarting: Machine, scratch: Path) -> None:
        self.saved(restarting, scratch / "layers")
        (scratch / "file").write_text("no folder")
        with pytest.raises(FreezeFailed):
            restarting.saved_disk(scratch / "file" / "layers", forever())
        assert restarting.state() is MachineState.RUNNING


def hashes(frozen: Frozen) -> list[bytes]:
    """The content of its files."""
    return [hashlib.sha256(path.read_bytes()).digest() for path in frozen.files]


def backing_chain(disk: Path) -> list[dict[str, Any]]:
    """What qemu-img says of `disk`, of the one below it, and so on."""
    said = run_tool(["qemu-img", "info", "--output=json", "--backing-chain", disk], deadline=forever()).stdout
    chain: list[dict[str, Any]] = json.loads(said)
    return chain
