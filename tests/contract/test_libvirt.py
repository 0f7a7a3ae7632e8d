"""The driver libvirt against the drivers' contract, and what it alone promises, with guests of 512 bytes.

By a libvirt without a daemon, of the test process's own (`embedded_libvirt`). Its first use takes some seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.errors import FreezeFailed, ProvisionFailed
from aibemu.hypervisor import (
    AZURE_SMBIOS,
    Firmware,
    Frozen,
    HypervisorDriver,
    Level,
    MachineEventKind,
    MachineState,
    Wire,
)
from aibemu.process_id import ProcessId, find_processes
from aibemu.testing.contract import MIB, PNG, DriverContract, machine_folder, make_folders, make_spec
from aibemu.testing.freezing import backing_chain
from aibemu_drivers.libvirt import LibvirtDriver
from aibemu_drivers.libvirt.machine import LibvirtMachine
from aibemu_drivers.qemu.arguments import network_words
from aibemu_drivers.qemu.ports import choose_ports
from tests.contract.test_drivers import HALT, PANIC, POWER_OFF, RESET, boot_sector, eventually
from tests.contract.test_freezing import BOOTED, COUNT, number
from tests.libvirt_embed import embed_settings, need_libvirt

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("one_core")]


class TestLibvirt(DriverContract):
    @pytest.fixture(autouse=True)
    def _uri(self, embedded_libvirt: str) -> None:
        self.uri = embedded_libvirt

    @pytest.fixture
    def scratch(self, tmp_path: Path, probed: Path) -> Path:
        shutil.copytree(probed, tmp_path / "cache")
        return tmp_path

    def new_driver(self, scratch: Path) -> HypervisorDriver:
        return LibvirtDriver({"uri": self.uri}, make_folders(scratch))


@pytest.fixture
def driver(tmp_path: Path, probed: Path, embedded_libvirt: str) -> LibvirtDriver:
    shutil.copytree(probed, tmp_path / "cache")
    return LibvirtDriver({"uri": embedded_libvirt}, make_folders(tmp_path))


class Lab:
    """Makes machines and destroys them after the test."""

    def __init__(self, driver: LibvirtDriver, scratch: Path) -> None:
        self.driver, self.scratch = driver, scratch
        self.made: list[LibvirtMachine] = []

    def machine(
        self, disk: bytes, *, firmware: Firmware = Firmware.BIOS, frozen: Frozen | None = None
    ) -> LibvirtMachine:
        base = self.scratch / "guest.img"
        base.write_bytes(disk)
        name = f"m{len(self.made)}"
        spec = make_spec("m", machine_folder(self.scratch, name), base, firmware=firmware)
        machine = self.driver.create(replace(spec, id=name, frozen=frozen))
        assert isinstance(machine, LibvirtMachine)
        self.made.append(machine)
        return machine


@pytest.fixture
def lab(driver: LibvirtDriver, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(driver, tmp_path)
    yield lab
    for machine in lab.made:
        machine.destroy()


def processes_of(directory: Path) -> list[ProcessId]:
    return find_processes("qemu-system", str(directory))


def test_a_guest_that_resets_is_heard_from_its_first_instruction_on(lab: Lab) -> None:
    machine = lab.machine(boot_sector("hello from the guest", RESET))
    machine.start()
    eventually(lambda: machine.events().count(MachineEventKind.RESET) >= 2)
    assert "hello from the guest" in machine.console().text
    assert machine.state() is MachineState.RUNNING
    machine.kill()
    assert set(machine.events()) == {MachineEventKind.RESET}, "its end was none of the guest's"


def test_a_guest_that_powers_off_is_stopped_and_its_reason_kept(lab: Lab) -> None:
    machine = lab.machine(boot_sector("bye", POWER_OFF))
    machine.start()
    eventually(lambda: machine.state() is MachineState.STOPPED)
    assert machine.events() == (MachineEventKind.SHUTDOWN,)
    said = [json.loads(line) for line in (machine.directory / "events.ndjson").read_text().splitlines()]
    assert [line["data"]["reason"] for line in said] == ["guest-shutdown"]
    with machine.disk() as disk:
        assert disk.is_file()
    machine.start()
    eventually(lambda: machine.state() is MachineState.STOPPED)
    assert machine.events() == (MachineEventKind.SHUTDOWN,)


def test_a_panic_is_seen_and_the_screen_can_still_be_saved(lab: Lab, tmp_path: Path) -> None:
    machine = lab.machine(boot_sector("oh no", PANIC))
    machine.start()
    eventually(lambda: MachineEventKind.PANIC in machine.events())
    assert machine.state() is MachineState.RUNNING
    assert machine._monitor.execute("query-status")["status"] == "guest-panicked"  # and stands still
    shot = machine.screenshot(tmp_path / "panic.png")
    assert shot is not None and shot.read_bytes().startswith(PNG)


def test_a_disk_that_does_not_boot_says_so_on_the_console(lab: Lab) -> None:
    machine = lab.machine(bytes(MIB))
    machine.start()
    eventually(lambda: "No bootable device" in machine.console().text)


def test_a_qemu_that_is_killed_is_no_guest_that_powers_off(lab: Lab) -> None:
    machine = lab.machine(boot_sector("x", HALT))
    machine.start()
    (process,) = processes_of(machine.directory)
    process.send(signal.SIGKILL)
    eventually(lambda: machine.state() is MachineState.STOPPED)
    assert machine.events() == ()
    machine.start()
    assert machine.state() is MachineState.RUNNING


def test_uefi_starts_with_variables_of_its_own(lab: Lab) -> None:
    shared = lab.driver.host.firmware().variables
    before = shared.read_bytes()
    machine = lab.machine(bytes(MIB), firmware=Firmware.UEFI)
    machine.start()
    eventually(lambda: "BdsDxe" in machine.console().text)
    machine.kill()
    assert (machine.directory / "uefi-vars.fd").read_bytes() != before
    assert shared.read_bytes() == before
    machine.destroy()
    assert not machine.directory.exists()


def counts(machine: LibvirtMachine) -> list[int]:
    words = machine.console().text.replace("\r", "").split("\n")[1:-1]
    return [number(word) for word in words if len(word) == 4 and set(word) <= set("ABCDEFGHIJKLMNOP")]


def counted(machine: LibvirtMachine) -> int:
    before = len(counts(machine))
    eventually(lambda: len(counts(machine)) >= before + 3)
    return counts(machine)[-1]


def test_memory_comes_back_so_the_guest_goes_on_counting_and_the_one_before_it_too(lab: Lab, tmp_path: Path) -> None:
    first = lab.machine(boot_sector(BOOTED, COUNT))
    first.start()
    at = counted(first)
    frozen = first.freeze(tmp_path / "layers", forever())
    assert counted(first) > at
    assert frozen.memory is not None and frozen.memory.stat().st_mode & 0o777 == 0o600
    second = lab.machine(boot_sector(BOOTED, COUNT), frozen=frozen)
    second.start()
    counted(second)
    assert BOOTED.strip() not in second.console().text
    seen = counts(second)
    assert at < seen[0] and seen == list(range(seen[0], seen[0] + len(seen)))
    # libvirt knows the file that is written now, and those below it.
    assert first.uuid != second.uuid
    described = lab.driver.connection.domain(first.uuid).XMLDesc(0)
    with pytest.raises(ProvisionFailed), first.disk():
        pass
    first.kill()
    with first.disk() as disk:
        assert str(disk) in described
        assert [Path(one["filename"]).name for one in backing_chain(disk)][1] == frozen.disks[0].name


def test_memory_that_has_no_room_leaves_a_guest_that_goes_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = lab.machine(boot_sector(BOOTED, COUNT))
    machine.start()
    counted(machine)
    monkeypatch.setattr("aibemu_drivers.qemu.local_machine.memory_name", lambda disk, folder: folder / "full")
    folder = machine.directory.parent / "layers"
    real = os.open

    def full(path: str, flags: int, mode: int = 0o777, **more: int) -> int:
        return real("/dev/full", os.O_WRONLY) if str(path).endswith("/full") else real(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(FreezeFailed) as failed:
        machine.freeze(folder, forever())
    assert any("No space left on device" in line for line in failed.value.details)
    monkeypatch.undo()
    counted(machine)
    assert not list(folder.iterdir())


def test_a_port_that_is_taken_meanwhile_is_replaced(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from aibemu_drivers.libvirt import machine as module

    machine = lab.machine(boot_sector("x", HALT))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        choices = iter([{22: taken}])
        real = choose_ports
        monkeypatch.setattr(module, "choose_ports", lambda ports: next(choices, None) or real(ports))
        machine.start()
        assert machine.endpoint(22)[1] != taken
        machine.kill()
        monkeypatch.setattr(module, "choose_ports", lambda ports: {22: taken})
        with pytest.raises(ProvisionFailed, match="no free port"):
            machine.start()
    assert processes_of(machine.directory) == []
    assert machine.state() is MachineState.CREATED


def test_too_much_memory_is_said_in_plain_words(lab: Lab) -> None:
    machine = lab.machine(boot_sector("x", HALT))
    machine.spec = replace(machine.spec, memory_mib=(1 << 44) // MIB)  # 16 TiB
    with pytest.raises(ProvisionFailed, match="MiB of free memory"):
        machine.start()


def test_frames_of_the_user_network_come_out_of_the_wire(driver: LibvirtDriver, tmp_path: Path) -> None:
    """A forwarded connection makes the user network look for the guest: on `uplink`, and nowhere else."""
    listeners = {}
    for name in ("nic", "uplink"):
        listeners[name] = socket.socket(socket.AF_UNIX)
        listeners[name].bind(str(tmp_path / name))
        listeners[name].listen()
        listeners[name].settimeout(60)
    base = tmp_path / "halt.img"
    base.write_bytes(boot_sector("up", HALT))
    wire = Wire(
        nic=tmp_path / "nic", uplink=tmp_path / "uplink", subnet=IPv4Network("10.8.0.0/24"),
        address=IPv4Address("10.8.0.4"),
    )  # fmt: skip
    machine = driver.create(replace(make_spec("wired", tmp_path / "m", base), wire=wire, smbios=AZURE_SMBIOS))
    try:
        machine.start()
        listeners["nic"].accept()[0].close()
        uplink, _ = listeners["uplink"].accept()
        with uplink, socket.create_connection(machine.endpoint(22), timeout=20):
            uplink.settimeout(60)
            data = uplink.recv(2000)
        frame = data[4:]
        assert frame[12:14] == b"\x08\x06"  # ARP
        assert frame[28:32] == IPv4Address("10.8.0.1").packed and frame[38:42] == IPv4Address("10.8.0.4").packed
    finally:
        machine.destroy()
        for one in listeners.values():
            one.close()


def test_a_machine_whose_directory_was_deleted_is_found_by_its_mark_and_no_one_elses(
    lab: Lab, driver: LibvirtDriver, tmp_path: Path
) -> None:
    machine = lab.machine(boot_sector("x", HALT), firmware=Firmware.UEFI)
    machine.start()
    shutil.rmtree(machine.directory)
    again = LibvirtDriver(driver.options, make_folders(tmp_path))
    (left,) = again.list("contract")
    assert (left.id, left.directory) == (machine.id, machine.directory)
    assert list(again.list("somebody")) == []
    assert list(LibvirtDriver(driver.options, make_folders(tmp_path / "another-home")).list("contract")) == []
    left.destroy()
    assert processes_of(machine.directory) == [] and list(again.list("contract")) == []
    assert not machine.directory.exists()


# A process of its own with a libvirt of its own: creates, starts, says so, and waits to be killed.
MAKER = """
import sys, threading
from pathlib import Path
from aibemu.testing.contract import machine_folder, make_folders, make_spec
from aibemu_drivers.libvirt import LibvirtDriver, machine
scratch = Path(sys.argv[1])
driver = LibvirtDriver({"uri": sys.argv[2]}, make_folders(scratch))
made = driver.create(make_spec("killed", machine_folder(scratch, "killed"), scratch / "killed.img"))
if sys.argv[3] == "paused":
    def stay(*_):
        print("there", flush=True)
        threading.Event().wait()
    machine.LibvirtMachine._let_go = stay
made.start()
print("there", flush=True)
threading.Event().wait()
"""
# What the next command does, in a process of its own.
FINDER = """
import sys
from pathlib import Path
from aibemu.testing.contract import machine_folder, make_folders
from aibemu_drivers.libvirt import LibvirtDriver
scratch = Path(sys.argv[1])
driver = LibvirtDriver({"uri": sys.argv[2]}, make_folders(scratch))
found = driver.find(machine_folder(scratch, "killed"))
print(found.state(), found.events(), found.endpoint(22)[1] > 0)
print(*[left.id for left in driver.list("contract")])
for left in driver.list("contract"):
    left.destroy()
print(len(driver.list("contract")), found.state())
"""


@pytest.mark.parametrize("when", ["running", "paused"])
def test_a_machine_outlives_its_maker_and_the_next_command_ends_it(tmp_path: Path, probed: Path, when: str) -> None:
    need_libvirt()
    shutil.copytree(probed, tmp_path / "cache")
    (tmp_path / "killed.img").write_bytes(boot_sector("still here", HALT))
    with tempfile.TemporaryDirectory(prefix="aibemu-lv-") as root:
        uri = embed_settings(Path(root))
        environment = os.environ | {"LIBVIRT_LOG_OUTPUTS": f"3:file:{root}/log.txt"}
        words = [sys.executable, "-c", MAKER, str(tmp_path), uri, when]
        maker = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        assert maker.stdout is not None
        with maker.stdout:
            assert maker.stdout.readline().strip() == "there"
        maker.kill()
        maker.wait()
        (process,) = processes_of(machine_folder(tmp_path, "killed"))
        done = subprocess.run(
            [sys.executable, "-c", FINDER, str(tmp_path), uri], env=environment, capture_output=True, text=True,
            check=False, timeout=300,
        )  # fmt: skip
        assert done.stdout.splitlines() == ["running () True", "killed", "0 gone"], done.stderr
        assert not process.is_alive()
        assert not machine_folder(tmp_path, "killed").exists()


def test_doctor_really_starts_a_machine_in_the_home(driver: LibvirtDriver, tmp_path: Path) -> None:
    found = {finding.check: finding for finding in driver.check()}
    assert found["libvirt: library"].level is found["libvirt: machine types"].level is Level.OK
    assert (
        "pc-i440fx-" in found["libvirt: machine types"].message and "pc-q35-" in found["libvirt: machine types"].message
    )
    assert driver.connection.address.uri in found["libvirt: connection"].message
    assert str(tmp_path / "cache") in found["libvirt: test machine"].message
    assert not list((tmp_path / "cache").glob("doctor-*"))


def test_doctor_tells_what_the_home_forbids(driver: LibvirtDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A console that QEMU may not write, as where AppArmor forbids it."""
    monkeypatch.setattr("aibemu_drivers.libvirt.machine.CONSOLE_FILE", "no-folder/console.log")
    found = {finding.check: finding for finding in driver.check()}
    assert found["libvirt: test machine"].level is Level.ERROR
    assert "No such file or directory" in found["libvirt: test machine"].message


def test_doctor_tells_that_a_guest_would_have_no_network(
    driver: LibvirtDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU that may not connect, as where AppArmor forbids it, says nothing of it."""
    elsewhere = str(driver.folders.cache / "nobody")
    monkeypatch.setattr(
        "aibemu_drivers.libvirt.domain.network_words",
        lambda *given: [word.replace("addr.path=", f"addr.path={elsewhere}") for word in network_words(*given)],
    )
    monkeypatch.setattr("aibemu_drivers.libvirt.checks.RUN_BOUND", 1.0)
    found = {finding.check: finding for finding in driver.check()}
    assert found["libvirt: test machine"].level is Level.ERROR
    assert "does not connect to the socket" in found["libvirt: test machine"].message


def test_what_layers_depend_on_is_in_the_key(driver: LibvirtDriver) -> None:
    key = list(driver.freezing_key())
    assert key[0] == "libvirt" and any(word.startswith("pc-i440fx-") for word in key)
    assert any("QEMU emulator version" in word for word in key)
