"""What every hypervisor driver promises, as tests. Subclass it in a test module and say how to make the driver:

    class TestMine(DriverContract):
        def new_driver(self, scratch: Path) -> HypervisorDriver:
            return MyDriver({}, make_folders(scratch))

Only behaviour is looked at: what is in a machine's directory, and where its guest listens, is the driver's own affair.
The guests here have a blank disk: nothing of an operating system is needed. Needs pytest and `qemu-img`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from aibemu.clock import forever
from aibemu.communicators import Credentials
from aibemu.errors import AibemuError, UsageError
from aibemu.hardware import CdromBus, Chipset, DiskBus, Hardware, NicModel, Video
from aibemu.hypervisor import DriverFolders, Firmware, HypervisorDriver, Level, Machine, MachineSpec, MachineState
from aibemu.testing.disks import DiskContract, read_disk, readable
from aibemu.testing.freezing import FreezingContract, SavingContract
from aibemu.testing.listing import ListingContract

MIB = 1 << 20
OWNER = "contract"
# What Windows has drivers for (facts: windows-images 9.1).
WINDOWS = Hardware(
    chipset=Chipset.Q35, disk=DiskBus.SATA, cdrom=CdromBus.SATA, nic=NicModel.E1000E, usb_tablet=True, hyperv=True,
    nested=False, guest_ports=(5986,),
)  # fmt: skip
PLAIN = Hardware(guest_ports=WINDOWS.guest_ports)
PNG = b"\x89PNG\r\n\x1a\n"


class DriverContract(DiskContract, FreezingContract, SavingContract, ListingContract):
    """The suite. `scratch` is a fresh folder; every machine that a test made is destroyed after it.

    A driver passes it when it
    - records a machine before it makes anything, finds it again from any process, and destroys it with all it has;
    - starts, kills and starts again; says what it is asked in each state, and refuses what it cannot do;
    - never writes to the image that a machine is made from, and gives the disk away as a qcow2 file;
    - says what its host has, what is left of a run, and what the console said from any offset on;
    - can be made again from its own options, and refuses options that it does not know.

    With `Capabilities.freezes` and `saves_disks` the parts about freezing are in it too.
    """

    def new_driver(self, scratch: Path) -> HypervisorDriver:
        """A driver as the engine would make it, with `make_folders(scratch)`. Called again for "another process" of the
        same user."""
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
        return make_spec("contract-a", machine_folder(scratch, "a"), base)

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

    def test_its_host_has_memory_and_processors(self, driver: HypervisorDriver) -> None:
        capacity = driver.capacity()
        assert 0 < capacity.free_mib <= capacity.memory_mib
        assert capacity.cpus >= 1

    def test_it_can_be_made_again_from_its_options_in_another_folder(
        self, driver: HypervisorDriver, machine: Machine, scratch: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = json.loads(json.dumps(dict(driver.options)))  # as a run's record has them
        (scratch / "elsewhere").mkdir()
        monkeypatch.chdir(scratch / "elsewhere")
        again: HypervisorDriver = type(driver)(options, make_folders(scratch))  # type: ignore[call-arg]
        assert dict(again.options) == options
        assert (again.name, again.capabilities()) == (driver.name, driver.capabilities())
        found = again.find(machine.directory)
        assert found is not None and found.id == machine.id

    def test_an_unknown_option_is_refused(self, driver: HypervisorDriver, scratch: Path) -> None:
        with pytest.raises(UsageError):
            type(driver)({"no-such-option": "x"}, make_folders(scratch))  # type: ignore[call-arg]

    # Creating

    def test_create_records_but_does_not_start(self, machine: Machine, spec: MachineSpec) -> None:
        assert machine.id == spec.id
        assert machine.directory == spec.directory.resolve()
        assert machine.state() is MachineState.CREATED
        assert machine.events() == () and machine.panic() is None
        console = machine.console()
        assert (console.start, console.data, console.end, console.text) == (0, b"", 0, "")

    def test_another_process_finds_what_was_only_created(self, machine: Machine, scratch: Path) -> None:
        found = self.new_driver(scratch).find(machine.directory)
        assert found is not None
        assert (found.id, found.state()) == (machine.id, MachineState.CREATED)

    @pytest.mark.parametrize(
        ("hardware", "firmware"),
        [
            (WINDOWS, Firmware.BIOS), (replace(WINDOWS, tpm=True), Firmware.BIOS),
            (replace(WINDOWS, tpm=True, secure_boot=True), Firmware.UEFI),
            (replace(PLAIN, disk=DiskBus.VIRTIO_BLK), Firmware.BIOS),
            (replace(PLAIN, disk=DiskBus.NVME, nic=NicModel.E1000E), Firmware.BIOS),
        ],
        ids=["Windows", "with a TPM", "with a TPM and Secure Boot", "virtio-blk", "NVMe"],
    )  # fmt: skip
    def test_hardware_that_images_ask_for_starts_or_is_refused(
        self, driver: HypervisorDriver, spec: MachineSpec, base: Path, hardware: Hardware, firmware: Firmware
    ) -> None:
        asked = replace(spec, hardware=hardware, firmware=firmware, cdroms=(base,), sticks=(base,))
        try:
            machine = driver.create(asked)
        except AibemuError:
            return  # but nothing else may be made in its place
        try:
            machine.start()
            assert machine.state() is MachineState.RUNNING
            assert machine.endpoint(5986)[1] > 0
            with pytest.raises(AibemuError):
                machine.endpoint(22)
        finally:
            machine.destroy()

    def test_what_a_guest_writes_to_a_stick_never_gets_into_the_shared_file(
        self, driver: HypervisorDriver, spec: MachineSpec, scratch: Path
    ) -> None:
        stick = scratch / "stick.img"
        stick.write_bytes(b"a stick".ljust(MIB, b"\0"))
        before = (stick.read_bytes(), stick.stat().st_mtime_ns, stick.stat().st_nlink)
        machine = driver.create(replace(spec, sticks=(stick,)))
        try:
            machine.start()
        finally:
            machine.destroy()
        assert (stick.read_bytes(), stick.stat().st_mtime_ns, stick.stat().st_nlink) == before

    def test_a_machine_without_a_screen_has_no_screenshot(
        self, driver: HypervisorDriver, spec: MachineSpec, scratch: Path
    ) -> None:
        machine = driver.create(replace(spec, hardware=Hardware(video=Video.NONE)))
        try:
            machine.start()
            assert machine.screenshot(scratch / "screen.png") is None
            assert not (scratch / "screen.png").exists()
        finally:
            machine.destroy()

    def test_a_second_machine_in_the_same_directory_is_refused(
        self, driver: HypervisorDriver, machine: Machine, spec: MachineSpec
    ) -> None:
        with pytest.raises(AibemuError):
            driver.create(replace(spec, id="contract-b"))
        assert machine.state() is MachineState.CREATED
        assert readable(machine)

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
        assert machine.state() is MachineState.RUNNING and machine.panic() is None
        host, port = machine.endpoint(22)
        assert host and 0 < port < 65536
        machine.kill()
        assert machine.state() is MachineState.STOPPED and "shutdown" not in machine.events()
        machine.kill()
        assert readable(machine)

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

    def test_the_console_can_be_read_from_any_offset_on_and_starts_anew(self, machine: Machine) -> None:
        machine.start()
        machine.kill()  # from now on it says nothing
        whole = machine.console()
        assert whole.start == 0 and whole.end == len(whole.data)
        for since in range(0, whole.end + 1, max(1, whole.end // 5)):
            part = machine.console(since)
            assert (part.start, part.data) == (since, whole.data[since:])
        beyond = machine.console(whole.end + 1000)
        assert (beyond.start, beyond.data) == (whole.end, b"")
        machine.start()
        assert machine.console().start == 0

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
        other = driver.create(make_spec("contract-b", machine_folder(scratch, "b"), spec.base))
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
        communicator = driver.communicator(machine, Credentials(user="u", key_file=scratch / "key"), forever())
        assert driver.capabilities().lets_in or communicator is not None

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
        assert found.console() == machine.console()
        with found.disk() as disk, machine.disk() as same:
            assert read_disk(disk, scratch) == read_disk(same, scratch)
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


def make_folders(scratch: Path) -> DriverFolders:
    """The folders of an installation below `scratch`."""
    return DriverFolders(cache=scratch / "cache", runs=scratch / "runs")


def machine_folder(scratch: Path, role: str) -> Path:
    """Where a run would keep its machine."""
    return make_folders(scratch).runs / OWNER / "machines" / role


def make_spec(name: str, directory: Path, base: Path, *, firmware: Firmware = Firmware.BIOS) -> MachineSpec:
    """A small machine on the raw image `base`, its disk grown to 4 MiB."""
    digest = hashlib.sha256(name.encode()).digest()
    return MachineSpec(
        id=name, owner=OWNER, directory=directory, base=base, base_format="raw", disk_bytes=4 * MIB,
        firmware=firmware, cpus=1, memory_mib=64, uuid=UUID(bytes=digest[:16]),
        mac="52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3]),
    )  # fmt: skip
