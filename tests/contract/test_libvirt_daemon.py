"""The driver libvirt with a daemon of root's: rights, and what happens to machines when the daemon goes and comes back.

The daemon is the test's own (`tests/libvirt_embed.py`), beside whichever the host has. Guests of 512 bytes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.errors import ProvisionFailed
from aibemu.hypervisor import Frozen, MachineEventKind, MachineState
from aibemu.process_id import find_processes
from aibemu.testing.contract import PNG, machine_folder, make_folders, make_spec
from aibemu_drivers.libvirt import LibvirtDriver
from aibemu_drivers.libvirt.machine import LibvirtMachine
from tests.contract.test_drivers import HALT, RESET, boot_sector, eventually
from tests.contract.test_freezing import BOOTED, COUNT
from tests.contract.test_libvirt import counted, counts
from tests.libvirt_embed import PrivateDaemon, need_private_daemon

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("one_core")]


@pytest.fixture(scope="module")
def daemon() -> Iterator[PrivateDaemon]:
    need_private_daemon()
    with tempfile.TemporaryDirectory(prefix="aibemu-lv-") as root:
        daemon = PrivateDaemon(Path(root))
        daemon.start()
        yield daemon
        daemon.kill()


@pytest.fixture
def driver(tmp_path: Path, probed: Path, daemon: PrivateDaemon) -> LibvirtDriver:
    shutil.copytree(probed, tmp_path / "cache")
    tmp_path.chmod(0o700)
    return LibvirtDriver({"uri": daemon.uri}, make_folders(tmp_path))


def create(
    driver: LibvirtDriver, scratch: Path, name: str, disk: bytes, frozen: Frozen | None = None
) -> LibvirtMachine:
    base = scratch / "guest.img"
    base.write_bytes(disk)
    spec = make_spec("daemon", machine_folder(scratch, name), base)
    machine = driver.create(replace(spec, id=name, frozen=frozen))
    assert isinstance(machine, LibvirtMachine)
    return machine


def test_qemu_runs_as_the_user_in_a_home_that_is_nobody_elses_and_no_file_changes_its_owner(
    driver: LibvirtDriver, tmp_path: Path
) -> None:
    machine = create(driver, tmp_path, "rights", boot_sector("hello", HALT))
    files = [tmp_path / "guest.img", *machine.directory.glob("*.qcow2")]
    before = [(path.stat().st_uid, path.stat().st_gid, path.stat().st_mode) for path in files]
    try:
        machine.start()
        (process,) = find_processes("qemu-system", str(machine.directory))
        assert Path(f"/proc/{process.pid}").stat().st_uid == os.geteuid()
        eventually(lambda: "hello" in machine.console().text)
        assert (machine.directory / "console.log").stat().st_uid == os.geteuid()
        shot = machine.screenshot(tmp_path / "screen.png")
        assert shot is not None and shot.read_bytes().startswith(PNG)
        assert [(path.stat().st_uid, path.stat().st_gid, path.stat().st_mode) for path in files] == before
        machine.kill()
        assert [(path.stat().st_uid, path.stat().st_gid, path.stat().st_mode) for path in files] == before
        with machine.disk() as disk:
            assert os.access(disk, os.R_OK)
    finally:
        machine.destroy()
    assert list(driver.list("contract")) == []


def test_two_machines_go_on_from_a_frozen_one_beside_it(driver: LibvirtDriver, tmp_path: Path) -> None:
    made = [create(driver, tmp_path, "first", boot_sector(BOOTED, COUNT))]
    try:
        made[0].start()
        at = counted(made[0])
        frozen = made[0].freeze(tmp_path / "layers", forever())
        for name in ("second", "third"):
            made.append(create(driver, tmp_path, name, boot_sector(BOOTED, COUNT), frozen))
            made[-1].start()
        for machine in made:
            counted(machine)
            assert machine.state() is MachineState.RUNNING
        assert all(counts(machine)[0] > at for machine in made[1:])
    finally:
        for machine in made:
            machine.destroy()


def test_a_daemon_that_is_killed_is_told_and_the_machine_is_there_when_it_is_back(
    driver: LibvirtDriver, daemon: PrivateDaemon, tmp_path: Path
) -> None:
    machine = create(driver, tmp_path, "outlives", boot_sector("again", RESET))
    try:
        machine.start()
        eventually(lambda: MachineEventKind.RESET in machine.events())
        (process,) = find_processes("qemu-system", str(machine.directory))
        daemon.kill()
        eventually(lambda: not machine._monitor.connected)
        for ask in (machine.state, machine.events, machine.kill):
            with pytest.raises(ProvisionFailed, match="does not answer any more") as failed:
                ask()
            assert failed.value.hint
        assert process.is_alive()
        daemon.start()
        eventually(lambda: machine.state() is MachineState.RUNNING)
        heard = len(machine.events())
        eventually(lambda: len(machine.events()) > heard)
        found = LibvirtDriver(driver.options, driver.folders).find(machine.directory)
        assert found is not None and found.state() is MachineState.RUNNING
        machine.kill()
        assert not process.is_alive() and machine.state() is MachineState.STOPPED
    finally:
        if daemon.process is None:
            daemon.start()
        machine.destroy()
