"""What every hypervisor driver promises, as tests. Subclass it in a test module and say how to make the driver:

    class TestMine(DriverContract):
        def new_driver(self, scratch: Path) -> HypervisorDriver:
            return MyDriver({"cache": str(scratch / "cache")})

The guests here have a blank disk: nothing of an operating system is needed. Needs pytest and `qemu-img`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from aibemu.clock import forever
from aibemu.communicators import Login
from aibemu.errors import AibemuError
from aibemu.hypervisor import Firmware, HypervisorDriver, Level, Machine, MachineSpec, MachineState
from aibemu.processes import run_tool
from aibemu.testing.freezing import FreezingContract

MIB = 1 << 20
PNG = b"\x89PNG\r\n\x1a\n"


class DriverContract(FreezingContract):
    """The suite. `scratch` is a fresh folder; every machine that a test made is destroyed after it."""

    def new_driver(self, scratch: Path) -> HypervisorDriver:
        """A driver as the engine would make it. Called again for "another process" of the same user."""
        raise NotImplementedError

    @pytest.fixture
    def scratch(self, tmp_path: Path) -> Path:
        return tmp_path

    @pytest.fixture
    def driver(self, scratch: Path) -> HypervisorDriver:
        return self.new_driver(scratch)

    @pytest.fixture
    def base(self, scratch: Path) -> Path:
        path = scratch / "base.img"
        path.write_bytes(b"not a boot sector".ljust(MIB, b"\0"))
        return path

    @pytest.fixture
    def spec(self, scratch: Path, base: Path) -> MachineSpec:
        return make_spec("contract-a", scratch / "machines" / "a", base)

    @pytest.fixture
    def machine(self, driver: HypervisorDriver, spec: MachineSpec) -> Iterator[Machine]:
        made = driver.create(spec)
        yield made
        made.destroy()

    # The driver

    def test_it_has_a_name_and_says_what_it_can(self, driver: HypervisorDriver) -> None:
        assert driver.name
        assert Firmware.BIOS in driver.capabilities().firmwares

    def test_the_accelerator_has_a_reason_and_a_factor(self, driver: HypervisorDriver) -> None:
        chosen = driver.accelerator()
        assert chosen.name and chosen.reason and chosen.slowness >= 1.0
        assert driver.accelerator() == chosen

    def test_check_finds_nothing_that_stops_a_run_here(self, driver: HypervisorDriver) -> None:
        findings = driver.check()
        assert findings
        assert all(finding.check and finding.message for finding in findings)
        assert [finding for finding in findings if finding.level is Level.ERROR] == []

    # Creating

    def test_create_records_but_does_not_start(self, machine: Machine, spec: MachineSpec) -> None:
        assert machine.id == spec.id
        assert machine.directory == spec.directory.resolve()
        assert (spec.directory / "machine.json").is_file()
        assert machine.state() is MachineState.CREATED
        assert machine.events() == ()
        assert machine.console() == ""

    def test_the_disk_is_an_overlay_of_the_size_asked_for(self, machine: Machine, spec: MachineSpec) -> None:
        said = json.loads(
            run_tool(["qemu-img", "info", "--output=json", "-f", "qcow2", machine.disk()], deadline=forever()).stdout
        )
        assert said["virtual-size"] == spec.disk_bytes
        assert said["backing-filename"] == str(spec.base)
        assert said["backing-filename-format"] == spec.base_format

    def test_a_second_machine_in_the_same_directory_is_refused(
        self, driver: HypervisorDriver, machine: Machine, spec: MachineSpec
    ) -> None:
        with pytest.raises(AibemuError):
            driver.create(replace(spec, id="contract-b"))
        assert machine.state() is MachineState.CREATED
        assert machine.disk().is_file()

    def test_after_a_failed_create_the_machine_is_found_and_destroyed(
        self, driver: HypervisorDriver, spec: MachineSpec, scratch: Path
    ) -> None:
        with pytest.raises(AibemuError):
            driver.create(replace(spec, base=scratch / "nothing.img"))
        found = driver.find(spec.directory)
        assert found is not None
        found.destroy()
        assert not spec.directory.exists()

    def test_a_disk_smaller_than_its_base_is_refused(self, driver: HypervisorDriver, spec: MachineSpec) -> None:
        with pytest.raises(AibemuError, match="smaller"):
            driver.create(replace(spec, disk_bytes=MIB // 2))

    def test_an_id_that_could_be_a_path_is_refused(self, driver: HypervisorDriver, spec: MachineSpec) -> None:
        for bad in ("../x", "A", "", "a" * 41, "a,b"):
            with pytest.raises(AibemuError):
                driver.create(replace(spec, id=bad))

    # Running

    def test_start_and_kill(self, machine: Machine, spec: MachineSpec) -> None:
        machine.start()
        assert machine.state() is MachineState.RUNNING
        host, port = machine.endpoint(22)
        assert ipaddress.ip_address(host).is_loopback and 0 < port < 65536
        machine.kill()
        assert machine.state() is MachineState.STOPPED
        machine.kill()
        assert machine.disk().is_file()
        assert isinstance(machine.console(), str)

    def test_it_starts_again_after_it_was_off(self, machine: Machine) -> None:
        machine.start()
        machine.kill()
        machine.start()
        assert machine.state() is MachineState.RUNNING

    def test_starting_what_runs_is_refused(self, machine: Machine) -> None:
        machine.start()
        with pytest.raises(AibemuError):
            machine.start()
        assert machine.state() is MachineState.RUNNING

    def test_the_disk_of_a_running_machine_is_refused(self, machine: Machine) -> None:
        machine.start()
        with pytest.raises(AibemuError):
            machine.disk()

    def test_a_port_that_was_not_asked_for_is_refused(self, machine: Machine) -> None:
        machine.start()
        with pytest.raises(AibemuError):
            machine.endpoint(5986)

    def test_the_power_button_of_a_machine_that_is_off_does_nothing(self, machine: Machine) -> None:
        machine.press_power_button()
        assert machine.state() is MachineState.CREATED

    def test_the_base_is_never_written_to(self, machine: Machine, base: Path) -> None:
        before = (hashlib.sha256(base.read_bytes()).digest(), base.stat().st_mtime_ns)
        machine.start()
        machine.kill()
        machine.destroy()
        assert (hashlib.sha256(base.read_bytes()).digest(), base.stat().st_mtime_ns) == before

    def test_a_screenshot_is_a_png_or_nothing(self, driver: HypervisorDriver, machine: Machine, scratch: Path) -> None:
        target = scratch / "shots" / "screen.png"
        assert machine.screenshot(target) is None
        machine.start()
        taken = machine.screenshot(target)
        if driver.capabilities().screenshots:
            assert taken == target
            assert target.read_bytes().startswith(PNG)
        else:
            assert taken is None and not target.exists()

    def test_two_machines_on_one_base_at_once(
        self, driver: HypervisorDriver, machine: Machine, spec: MachineSpec, scratch: Path
    ) -> None:
        other = driver.create(make_spec("contract-b", scratch / "machines" / "b", spec.base))
        try:
            machine.start()
            other.start()
            assert machine.state() is other.state() is MachineState.RUNNING
            if driver.capabilities().boots_guests:
                assert machine.endpoint(22) != other.endpoint(22)
            other.kill()
            assert machine.state() is MachineState.RUNNING
        finally:
            other.destroy()

    def test_a_driver_without_guests_brings_its_own_communicator(
        self, driver: HypervisorDriver, machine: Machine, scratch: Path
    ) -> None:
        machine.start()
        communicator = driver.communicator(machine, Login(user="u", key_file=scratch / "key"), forever())
        assert driver.capabilities().boots_guests or communicator is not None

    # Taking up again

    def test_find_answers_none_where_nothing_was_recorded(self, driver: HypervisorDriver, scratch: Path) -> None:
        assert driver.find(scratch / "nowhere") is None
        (scratch / "empty").mkdir()
        assert driver.find(scratch / "empty") is None

    def test_another_process_takes_up_a_running_machine(self, machine: Machine, scratch: Path) -> None:
        machine.start()
        found = self.new_driver(scratch).find(machine.directory)
        assert found is not None
        assert (found.id, found.directory) == (machine.id, machine.directory)
        assert found.state() is MachineState.RUNNING
        assert found.endpoint(22) == machine.endpoint(22)
        found.destroy()
        assert machine.state() is MachineState.GONE

    def test_another_process_takes_up_a_stopped_machine(self, machine: Machine, scratch: Path) -> None:
        machine.start()
        machine.kill()
        found = self.new_driver(scratch).find(machine.directory)
        assert found is not None
        assert found.state() is MachineState.STOPPED
        assert found.disk() == machine.disk()
        assert found.events() == ()

    # Destroying

    def test_destroy_takes_a_running_machine_and_all_it_had(self, machine: Machine, base: Path) -> None:
        machine.start()
        machine.destroy()
        assert machine.state() is MachineState.GONE
        assert not machine.directory.exists()
        assert base.exists()

    def test_destroy_and_kill_are_idempotent(self, machine: Machine) -> None:
        machine.destroy()
        machine.destroy()
        machine.kill()
        assert machine.state() is MachineState.GONE
        assert not machine.directory.exists()

    def test_a_destroyed_machine_does_not_start(self, machine: Machine) -> None:
        machine.destroy()
        with pytest.raises(AibemuError):
            machine.start()
        assert not machine.directory.exists()


def make_spec(name: str, directory: Path, base: Path, *, firmware: Firmware = Firmware.BIOS) -> MachineSpec:
    """A small machine on the raw image `base`, its disk grown to 4 MiB."""
    digest = hashlib.sha256(name.encode()).digest()
    return MachineSpec(
        id=name, owner="contract", directory=directory, base=base, base_format="raw", disk_bytes=4 * MIB,
        firmware=firmware, cpus=1, memory_mib=64, uuid=UUID(bytes=digest[:16]),
        mac="52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3]),
    )  # fmt: skip
