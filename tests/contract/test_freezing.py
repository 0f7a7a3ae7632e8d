"""What QEMU alone promises about frozen machines, with guests of 512 bytes: it is the very same guest that goes on.

The guest counts the ticks of its clock in memory and writes each number to the serial console, after a word that only
a boot says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.errors import BuildCancelled, BuildTimedOut, Expired, FreezeFailed, ProvisionFailed
from aibemu.files import PARTIAL, link_or_copy
from aibemu.hypervisor import Frozen, FrozenRefused, MachineState
from aibemu.testing.contract import make_folders, make_spec
from aibemu.testing.freezing import backing_chain
from aibemu_drivers.qemu import QemuDriver
from aibemu_drivers.qemu.machine import QemuMachine
from aibemu_drivers.qemu.monitor import Monitor
from tests.contract.test_drivers import boot_sector, eventually
from tests.unit.drivers.test_qemu_freezing import Ending

pytestmark = pytest.mark.vm

BOOTED = "booted\n"
# mov word [0x600], 0; sti; again: hlt; inc word [0x600]; mov bx, [0x600]; mov cx, 4
# digit: rol bx, 4; mov al, bl; and al, 0xf; add al, 'A'; then al to COM1 as in `boot_sector`; loop digit
# then a newline to COM1; jmp again
COUNT = bytes.fromhex(
    "c70600060000 fb f4 ff060006 8b1e0006 b90400 c1c304 88d8 240f 0441 88c4 bafd03 ec a820 74fb 88e0 baf803 ee e2e5"
    "bafd03 ec a820 74fb b00a baf803 ee ebc9"
)


class Counters:
    """Makes machines that count, and destroys them after the test."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.driver = QemuDriver({}, make_folders(scratch))
        self.base = scratch / "counter.img"
        self.base.write_bytes(boot_sector(BOOTED, COUNT))
        self.spec = make_spec("counter", scratch / "counter", self.base)
        self.made: list[QemuMachine] = []

    def start(self, frozen: Frozen | None = None) -> QemuMachine:
        name = f"counter-{len(self.made)}"
        machine = self.driver.create(replace(self.spec, id=name, directory=self.scratch / name, frozen=frozen))
        assert isinstance(machine, QemuMachine)
        self.made.append(machine)
        machine.start()
        return machine


@pytest.fixture
def counters(tmp_path: Path, probed: Path) -> Iterator[Counters]:
    shutil.copytree(probed, tmp_path / "cache")
    made = Counters(tmp_path)
    yield made
    for machine in made.made:
        machine.destroy()


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    return tmp_path / "layers"


def counts(machine: QemuMachine) -> list[int]:
    """The numbers on its console; the first and the last line may be half a number."""
    words = machine.console().text.replace("\r", "").split("\n")[1:-1]
    return [number(word) for word in words if len(word) == 4 and set(word) <= set("ABCDEFGHIJKLMNOP")]


def number(word: str) -> int:
    value = 0
    for letter in word:
        value = value * 16 + ord(letter) - ord("A")
    return value


def counted(machine: QemuMachine, *, more: int = 3) -> int:
    """Wait until it has counted `more` times than now; the number it is at."""
    before = len(counts(machine))
    eventually(lambda: len(counts(machine)) >= before + more)
    return counts(machine)[-1]


def test_memory_comes_back_so_the_guest_goes_on_counting(counters: Counters, layers: Path) -> None:
    first = counters.start()
    at = counted(first, more=10)
    frozen = first.freeze(layers, forever())
    assert counted(first) > at  # and itself it goes on
    second = counters.start(frozen)
    counted(second)
    assert BOOTED.strip() in first.console().text
    assert BOOTED.strip() not in second.console().text
    seen = counts(second)
    assert at < seen[0] <= at + 200  # where it was frozen, not where the first one is by now, nor at the beginning
    assert seen == list(range(seen[0], seen[0] + len(seen)))  # not one tick of it is lost or told twice


def test_each_takes_up_the_count_where_the_last_one_was_frozen(counters: Counters, layers: Path) -> None:
    machine = counters.start()
    reached = counted(machine)
    for depth in (1, 2, 3):
        frozen = machine.freeze(layers, forever())
        assert len(frozen.disks) == depth
        machine.destroy()
        machine = counters.start(frozen)
        now = counted(machine)
        assert now > reached
        reached = now
    assert BOOTED.strip() not in machine.console().text


def test_after_a_power_cut_it_boots_as_any_other(counters: Counters, layers: Path) -> None:
    first = counters.start()
    counted(first, more=5)
    second = counters.start(first.freeze(layers, forever()))
    counted(second)
    second.kill()
    second.start()
    eventually(lambda: BOOTED.strip() in second.console().text)
    assert counts(second)[:1] in ([], [1], [2])


def test_started_again_it_can_be_frozen_again(counters: Counters, layers: Path) -> None:
    first = counters.start()
    first.freeze(layers, forever())
    first.kill()
    first.start()
    at = counted(first)
    frozen = first.freeze(layers, forever())
    assert len(frozen.disks) == 2
    assert counted(counters.start(frozen)) > at


def test_the_frozen_memory_is_its_owners_only(counters: Counters, layers: Path) -> None:
    frozen = counters.start().freeze(layers, forever())
    assert frozen.memory is not None
    assert frozen.memory.stat().st_mode & 0o777 == 0o600
    assert layers.stat().st_mode & 0o777 == 0o700


def test_layers_that_nobody_may_write_to_are_enough(counters: Counters, layers: Path) -> None:
    first = counters.start()
    frozen = first.freeze(layers, forever())
    for path in frozen.files:
        path.chmod(0o400)  # as the store does; the first machine still has the disk open
    counted(first)
    counted(counters.start(first.freeze(layers, forever())))
    counted(counters.start(frozen))


def test_where_hard_links_cannot_be_it_is_a_copy(
    counters: Counters, layers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    first = counters.start()
    at = counted(first)
    frozen = first.freeze(layers, forever())
    first.destroy()
    second = counters.start(frozen)
    assert counted(second) > at
    assert frozen.disks[0].stat().st_nlink == 1


# What cannot be frozen


def lose(*_: object) -> None:
    raise ProvisionFailed("no", details=["QEMU says so"])


def fail_to_migrate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Monitor, "migrate", lose)


def fail_to_snapshot(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("aibemu_drivers.qemu.disks.put_overlay", lose)


def fail_to_make_an_overlay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("aibemu_drivers.qemu.freezing.stack_overlay", lose)


def fail_to_link(patch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []

    def link(source: Path, target: Path, *, check: Callable[[], None]) -> None:
        calls.append(target)
        if len(calls) == 2:  # the first is there already, then
            raise OSError(28, "No space left on device")
        link_or_copy(source, target, check=check)

    patch.setattr("aibemu_drivers.qemu.freezing.link_or_copy", link)


@pytest.mark.parametrize(
    "fail", [fail_to_migrate, fail_to_snapshot, fail_to_make_an_overlay, fail_to_link], ids=lambda one: one.__name__
)
def test_a_failure_leaves_nothing_and_the_guest_runs_on(
    counters: Counters, layers: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[[pytest.MonkeyPatch], None]
) -> None:
    first = counters.start()
    if fail is fail_to_link:
        with monkeypatch.context() as patch:  # one overlay more, so that there are two to link
            fail_to_migrate(patch)
            with pytest.raises(FreezeFailed):
                first.freeze(layers, forever())
    at = counted(first)
    with monkeypatch.context() as patch:
        fail(patch)
        with pytest.raises(FreezeFailed):
            first.freeze(layers, forever())
    assert list(layers.glob("*")) == []
    assert first.state() is MachineState.RUNNING
    assert counted(first) > at
    second = counters.start(first.freeze(layers, forever()))  # and the next try is none the worse
    assert counted(second) > at
    first.kill()
    with first.disk() as disk:
        assert backing_chain(disk)[-1]["filename"] == str(counters.base)


def test_a_full_file_system_leaves_nothing_and_the_guest_runs_on(counters: Counters, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    if not mounted:
        pytest.skip("only root may mount a small file system, and not everywhere")
    try:
        first = counters.start()
        at = counted(first)
        with pytest.raises(FreezeFailed) as failed:
            first.freeze(small / "layers", forever())
        assert any("No space left on device" in line for line in failed.value.details)
        assert list((small / "layers").iterdir()) == []
        assert counted(first) > at
        assert counted(counters.start(first.freeze(tmp_path / "layers", forever()))) > at
    finally:
        subprocess.run(["umount", str(small)], check=True)


def when_memory_is_written(layers: Path, then: Callable[[], None]) -> None:
    """Do it once the migration has begun and some of it is in the file."""

    def watch() -> None:
        eventually(lambda: any(part.stat().st_size for part in layers.glob(f".*{PARTIAL}")))
        then()

    threading.Thread(target=watch, daemon=True).start()


@pytest.mark.parametrize("ending", [BuildCancelled, BuildTimedOut, FreezeFailed], ids=lambda one: one.__name__)
def test_a_freeze_on_a_slow_disk_can_be_given_up_at_any_time(
    counters: Counters, layers: Path, monkeypatch: pytest.MonkeyPatch, ending: type[Exception]
) -> None:
    first = counters.start()
    at = counted(first)
    end = Ending(Expired if ending is FreezeFailed else ending)
    with monkeypatch.context() as patch:
        patch.setattr("aibemu_drivers.qemu.monitor.UNLIMITED", 1000)  # bytes per second: it would take minutes
        when_memory_is_written(layers, end.come)
        with pytest.raises(ending):
            first.freeze(layers, end.deadline)
    assert end.ago() < 10
    assert list(layers.iterdir()) == []
    assert counted(first, more=10) > at  # and nothing stops it later
    assert counted(counters.start(first.freeze(layers, forever()))) > at


def test_a_machine_that_another_process_takes_up_can_be_frozen_by_it(counters: Counters, layers: Path) -> None:
    first = counters.start()
    at = counted(first)
    first.freeze(layers, forever())
    first._monitor.close()  # QEMU talks to one client at a time
    found = QemuDriver(counters.driver.options, counters.driver.folders).find(first.directory)
    assert found is not None
    frozen = found.freeze(layers, forever())
    assert len(frozen.disks) == 2
    assert counted(counters.start(frozen)) > at


def test_memory_of_another_machine_is_refused_with_qemus_words(counters: Counters, layers: Path) -> None:
    frozen = counters.start().freeze(layers, forever())
    spec = replace(counters.spec, id="other", directory=counters.scratch / "other", memory_mib=128, frozen=frozen)
    other = counters.driver.create(spec)
    try:
        with pytest.raises(FrozenRefused) as failed:
            other.start()
        assert failed.value.details
        assert other.state() is not MachineState.RUNNING
    finally:
        other.destroy()
