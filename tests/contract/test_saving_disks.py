"""What QEMU alone promises about disks that are put aside while a guest restarts, with guests of 512 bytes.

The guest counts its boots on its disk, writes each number to the serial console, and resets itself a moment later.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.clock import Deadline, SystemClock, forever
from aibemu.communicators import ExitStatus
from aibemu.engine.machines.boot import Booted
from aibemu.engine.machines.saving import RestartSaver
from aibemu.engine.machines.watchdog import Watchdog
from aibemu.errors import BuildCancelled, FreezeFailed, ProvisionFailed
from aibemu.hardware import Hardware
from aibemu.hypervisor import Frozen, MachineEventKind, MachineState
from aibemu.systems.linux.system import LinuxSystem
from aibemu.systems.windows.devices import hardware as windows_hardware
from aibemu.testing.contract import make_folders, make_spec
from aibemu_drivers.qemu import QemuDriver
from aibemu_drivers.qemu.machine import QemuMachine
from tests.contract.test_drivers import COUNT_BOOTS, HALT, POWER_OFF, boot_sector, eventually

pytestmark = pytest.mark.vm

# sti; mov cx, 20; wait: hlt; loop wait: about a second.
A_SECOND = bytes.fromhex("fb b91400 f4 e2fd")


class Restarters:
    """Makes machines that restart again and again, and destroys them after the test."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.layers = scratch / "layers"
        self.driver = QemuDriver({}, make_folders(scratch))
        self.made: list[QemuMachine] = []

    def start(
        self, code: bytes = COUNT_BOOTS, *, frozen: Frozen | None = None, hardware: Hardware | None = None
    ) -> QemuMachine:
        name = f"m{len(self.made)}"
        base = self.scratch / f"{code.hex()[:8]}.img"
        if not base.exists():
            base.write_bytes(boot_sector("", code))
        spec = replace(make_spec(name, self.scratch / name, base), frozen=frozen, hardware=hardware or Hardware())
        machine = self.driver.create(spec)
        assert isinstance(machine, QemuMachine)
        self.made.append(machine)
        machine.start()
        return machine

    def save(self, machine: QemuMachine) -> tuple[Frozen, int]:
        """Its disk at its next restart, and how often it had booted by then."""
        with machine.saving_at_reset(forever()) as look:
            eventually(look)
            before = boots(machine)[-1]
        return machine.saved_disk(self.layers, forever()), before


@pytest.fixture
def restarters(tmp_path: Path, probed: Path) -> Iterator[Restarters]:
    shutil.copytree(probed, tmp_path / "cache")
    made = Restarters(tmp_path)
    yield made
    for machine in made.made:
        machine.destroy()


def boots(machine: QemuMachine) -> list[int]:
    """The numbers on its console."""
    words = machine.console().text.replace("\r", "").split("\n")[:-1]
    found = [word[-2:] for word in words if set(word[-2:]) <= set("ABCDEFGHIJKLMNOP") and len(word) >= 2]
    return [16 * (ord(word[0]) - ord("A")) + ord(word[1]) - ord("A") for word in found]


def boots_on(machine: QemuMachine) -> None:
    """Wait until it has booted twice more."""
    before = len(boots(machine))
    eventually(lambda: len(boots(machine)) >= before + 2)


def stands(machine: QemuMachine) -> bool:
    return machine._monitor.caught.is_set()


@pytest.mark.parametrize("devices", [Hardware(), windows_hardware(None)], ids=["virtio", "as for Windows"])
def test_the_disk_is_as_it_was_between_shutdown_and_boot(restarters: Restarters, devices: Hardware) -> None:
    first = restarters.start(hardware=devices)
    saved, count = restarters.save(first)
    boots_on(first)
    assert boots(first) == list(range(1, len(boots(first)) + 1)), "it lost nothing, and boots once for each restart"
    second = restarters.start(frozen=saved, hardware=devices)
    boots_on(second)
    assert boots(second)[0] == count + 1
    third = restarters.start(frozen=saved, hardware=devices)  # what the second one did is its own
    boots_on(third)
    assert boots(third)[0] == count + 1


def test_a_machine_that_nobody_looked_at_boots_on_in_the_end(restarters: Restarters) -> None:
    machine = restarters.start()
    with machine.saving_at_reset(forever()):
        eventually(lambda: stands(machine))
        count = len(boots(machine))
        assert machine.state() is MachineState.RUNNING
    boots_on(machine)
    assert boots(machine) == list(range(1, len(boots(machine)) + 1)) and len(boots(machine)) > count
    with pytest.raises(FreezeFailed):
        machine.saved_disk(restarters.layers, forever())
    assert len(list(machine.directory.glob("*.qcow2"))) == 1


def test_a_cancelled_build_leaves_it_booting_on(restarters: Restarters) -> None:
    machine = restarters.start()
    deadline = Deadline(clock=SystemClock())
    with pytest.raises(BuildCancelled), machine.saving_at_reset(deadline) as look:
        eventually(lambda: stands(machine))
        deadline.cancel.cancel("Ctrl-C")
        look()
        deadline.check()
    boots_on(machine)


def test_a_guest_that_goes_off_instead_is_off(restarters: Restarters) -> None:
    machine = restarters.start(A_SECOND + POWER_OFF)
    with machine.saving_at_reset(forever()) as look:
        eventually(lambda: MachineEventKind.SHUTDOWN in machine.events())
        assert not look()
        eventually(lambda: machine.state() is MachineState.STOPPED)
    assert set(machine.events()) == {MachineEventKind.SHUTDOWN}


def test_a_guest_that_went_off_unseen_is_off_when_nobody_waits_any_more(restarters: Restarters) -> None:
    machine = restarters.start(A_SECOND + POWER_OFF)
    with machine.saving_at_reset(forever()):
        eventually(lambda: MachineEventKind.SHUTDOWN in machine.events())
    eventually(lambda: machine.state() is MachineState.STOPPED)


def test_after_it_a_guest_goes_off_as_ever(restarters: Restarters) -> None:
    machine = restarters.start(A_SECOND + POWER_OFF)
    with machine.saving_at_reset(forever()):
        pass
    eventually(lambda: machine.state() is MachineState.STOPPED)


def test_a_disk_that_cannot_be_put_aside_costs_the_restart_nothing(
    restarters: Restarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ProvisionFailed("no", details=["QEMU says so"])

    machine = restarters.start()
    with monkeypatch.context() as patch, machine.saving_at_reset(forever()) as look:
        patch.setattr("aibemu_drivers.qemu.disks.put_overlay", refuse)
        with pytest.raises(FreezeFailed):
            eventually(look)
    boots_on(machine)
    assert len(list(machine.directory.glob("*.qcow2"))) == 1
    saved, count = restarters.save(machine)  # and the next time it works
    second = restarters.start(frozen=saved)
    boots_on(second)
    assert boots(second)[0] == count + 1


def test_a_machine_that_stands_there_when_aibemu_is_killed_is_found_and_destroyed(restarters: Restarters) -> None:
    machine = restarters.start()
    holding = machine.saving_at_reset(forever())
    holding.__enter__()
    eventually(lambda: stands(machine))
    machine._monitor.close()  # QEMU talks to one client at a time; nothing else of it is told that it is over
    found = QemuDriver(restarters.driver.options, restarters.driver.folders).find(machine.directory)
    assert found is not None and found.state() is MachineState.RUNNING
    found.destroy()
    assert machine.process is None and not machine.directory.exists()


def test_layers_of_both_kinds_lie_on_each_other(restarters: Restarters) -> None:
    machine = restarters.start()
    saved, _ = restarters.save(machine)
    frozen = machine.freeze(restarters.layers, forever())
    assert frozen.disks[:1] == saved.disks and frozen.memory is not None
    again, count = restarters.save(machine)
    assert again.disks[:2] == frozen.disks
    last = restarters.start(frozen=again)
    boots_on(last)
    assert boots(last)[0] == count + 1


class Waiting:
    """A communicator as that of WinRM: once it connects anew it goes on until the guest has booted, and asks the
    watchdog meanwhile."""

    def __init__(self, machine: QemuMachine, watch: Watchdog) -> None:
        self.machine, self.watch = machine, watch

    def run(self, command: str, *, deadline: Deadline) -> ExitStatus:
        return ExitStatus(code=0)

    def reconnect(self, deadline: Deadline) -> None:
        before = len(boots(self.machine))

        def booted() -> bool:
            self.watch()
            return len(boots(self.machine)) > before

        deadline.within(60).poll(booted)


def test_a_guest_that_resets_while_somebody_connects_to_it_is_not_left_standing(
    restarters: Restarters, tmp_path: Path
) -> None:
    machine = restarters.start()
    boots_on(machine)
    services: Any = SimpleNamespace(clock=SystemClock(), accelerator=SimpleNamespace(slowness=1.0))
    watch = Watchdog(machine, "build", services, system=LinuxSystem())
    watch.booting = False
    system: Any = SimpleNamespace(boot_id=lambda *_: str(boots(machine)[-1]))
    unused: Any = None
    connection: Any = Waiting(machine, watch)
    booted = Booted(
        machine=machine, role="build", identity=unused, credentials=unused, system=system, communicator=connection,
        watchdog=watch, boot_id=str(boots(machine)[-1]),
    )  # fmt: skip
    failures: list[object] = []
    saver = RestartSaver(machine, failures.append)
    done = booted.restart("restart", None, 60.0, forever(), saver=saver)
    assert done.restarted and failures == []
    assert saver.boot_id == booted.boot_id
    assert machine.saved_disk(restarters.layers, forever()).disks


def test_one_that_only_halts_is_as_it_was(restarters: Restarters) -> None:
    machine = restarters.start(HALT)
    with machine.saving_at_reset(forever()) as look:
        assert not look()
    assert machine.state() is MachineState.RUNNING and machine.events() == ()
    frozen = machine.freeze(restarters.layers, forever())
    assert len(frozen.disks) == 1
