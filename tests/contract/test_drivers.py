"""The built-in drivers against the drivers' contract, and what QEMU alone promises, with guests of 512 bytes.

The guests are boot sectors written by hand: they print on the serial port, then halt, reset, power off or panic.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.errors import AibemuError, ProvisionFailed, UsageError
from aibemu.hypervisor import (
    AZURE_SMBIOS,
    Firmware,
    HypervisorDriver,
    Level,
    Machine,
    MachineEventKind,
    MachineSpec,
    MachineState,
    Wire,
)
from aibemu.process_id import ProcessId, find_processes
from aibemu.testing.contract import MIB, PNG, DriverContract, machine_folder, make_folders, make_spec
from aibemu_drivers.qemu import QemuDriver
from aibemu_drivers.qemu.machine import QemuMachine
from aibemu_drivers.qemu.ports import choose_ports
from aibemu_drivers.scripted import ScriptedDriver
from aibemu_drivers.scripted.machine import RecordedMachine

HALT = bytes.fromhex("f4 eb fd")
RESET = bytes.fromhex("b0 fe e6 64") + HALT  # mov al, 0xfe; out 0x64, al: the keyboard controller's reset line
POWER_OFF = bytes.fromhex("ba 04 06 b8 00 20 ef") + HALT  # mov dx, 0x604; mov ax, 0x2000; out dx, ax: ACPI S5 on `pc`
# Reads its disk's second sector (int 0x13) to 0x800, adds 1 to its first byte, writes it back, writes that byte to COM1
# as two letters from A to P and a newline, waits three ticks of the clock, and resets itself as RESET does.
COUNT_BOOTS = bytes.fromhex(
    "c70600051000c70602050100c70604050008c70606050000c70608050100c7060a050000c7060c050000c7060e050000b442b280be0005cd13"
    "fe060008b80043b280be0005cd138a1e0008b90200c0c30488d8240f0441e81500e2f2b00ae80e00fbb90300f4e2fdb0fee664f4ebfd"
    "88c4bafd03eca82074fb88e0baf803eec3"
)
PANIC = bytes.fromhex("ba 05 05 b0 01 ee") + HALT  # mov dx, 0x505; mov al, 1; out dx, al: pvpanic


def boot_sector(text: str, then: bytes) -> bytes:
    """A disk whose boot sector writes `text` to COM1 and goes on with the machine code `then`."""
    # xor ax,ax; mov ds,ax; cld; mov si,MESSAGE
    head = bytes.fromhex("31 c0 8e d8 fc be")
    # next: lodsb; test al,al; jz done; mov ah,al; mov dx,0x3fd; wait: in al,dx; test al,0x20; jz wait;
    # mov al,ah; mov dx,0x3f8; out dx,al; jmp next; done:
    loop = bytes.fromhex("ac 84 c0 74 12 88 c4 ba fd 03 ec a8 20 74 fb 88 e0 ba f8 03 ee eb e9")
    message = 0x7C00 + len(head) + 2 + len(loop) + len(then)
    code = head + message.to_bytes(2, "little") + loop + then + text.encode() + b"\0"
    return code.ljust(510, b"\0") + b"\x55\xaa" + bytes(MIB - 512)


class TestScriptedWhoseDisksAreSaved(DriverContract):
    def new_driver(self, scratch: Path) -> HypervisorDriver:
        return ScriptedDriver({"freezes": "disks"}, make_folders(scratch))

    def restart_guest(self, machine: Machine) -> None:
        assert isinstance(machine, RecordedMachine)
        machine.reboot()


class TestScripted(DriverContract):
    def new_driver(self, scratch: Path) -> HypervisorDriver:
        return ScriptedDriver({}, make_folders(scratch))


class TestScriptedThatFreezes(DriverContract):
    def new_driver(self, scratch: Path) -> HypervisorDriver:
        return ScriptedDriver({"freezes": "yes"}, make_folders(scratch))


@pytest.mark.vm
class TestQemu(DriverContract):
    @pytest.fixture
    def scratch(self, tmp_path: Path, probed: Path) -> Path:
        shutil.copytree(probed, tmp_path / "cache")
        return tmp_path

    def new_driver(self, scratch: Path) -> HypervisorDriver:
        return QemuDriver({}, make_folders(scratch))

    def restarting_base(self, base: Path) -> Path:
        other = base.with_name("restarting.img")
        if not other.exists():
            other.write_bytes(boot_sector("", COUNT_BOOTS))
        return other

    def restart_guest(self, machine: Machine) -> None:
        """It does so by itself."""


@pytest.fixture
def driver(tmp_path: Path, probed: Path) -> QemuDriver:
    shutil.copytree(probed, tmp_path / "cache")
    return QemuDriver({}, make_folders(tmp_path))


class Lab:
    """Makes machines and destroys them after the test."""

    def __init__(self, driver: QemuDriver, scratch: Path) -> None:
        self.driver = driver
        self.scratch = scratch
        self.made: list[Machine] = []

    def machine(self, disk: bytes, name: str = "m", *, firmware: Firmware = Firmware.BIOS) -> QemuMachine:
        base = self.scratch / f"{name}.img"
        base.write_bytes(disk)
        machine = self.driver.create(make_spec(name, self.scratch / name, base, firmware=firmware))
        self.made.append(machine)
        assert isinstance(machine, QemuMachine)
        return machine


@pytest.fixture
def lab(driver: QemuDriver, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(driver, tmp_path)
    yield lab
    for machine in lab.made:
        machine.destroy()


def eventually(what: object) -> None:
    """Wait up to a minute (a busy host) until `what()` is true."""
    assert callable(what)
    forever().within(60).poll(what)


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.vm
def test_what_the_guest_writes_is_the_console(lab: Lab) -> None:
    machine = lab.machine(boot_sector("hello from the guest", HALT))
    machine.start()
    eventually(lambda: "hello from the guest" in machine.console().text)
    assert machine.events() == ()
    machine.kill()
    assert "hello from the guest" in machine.console().text


@pytest.mark.vm
@pytest.mark.timeout(60)
def test_pipes_in_the_place_of_its_files_hold_nobody_up(lab: Lab, tmp_path: Path) -> None:
    machine = lab.machine(boot_sector("again", RESET))
    for name in ("qemu.log", "events.ndjson", "console.log", "screen.png"):
        os.mkfifo(machine.directory / name)
    assert machine.console().text == ""
    machine.start()
    eventually(lambda: MachineEventKind.RESET in machine.events())
    shot = machine.screenshot(tmp_path / "shot.png")
    assert shot is not None and shot.read_bytes().startswith(PNG)
    assert "again" in machine.console().text
    assert "RESET" in (machine.directory / "events.ndjson").read_text()
    machine.kill()
    cd = tmp_path / "cd"
    os.mkfifo(cd)
    machine.spec = replace(machine.spec, cdroms=(cd,))
    with pytest.raises(ProvisionFailed, match="is a pipe, not a file"):
        machine.start()


@pytest.mark.vm
def test_a_disk_that_does_not_boot_says_so_on_the_console(lab: Lab) -> None:
    machine = lab.machine(bytes(MIB))
    machine.start()
    eventually(lambda: "No bootable device" in machine.console().text)


@pytest.mark.vm
def test_resets_are_counted(lab: Lab) -> None:
    machine = lab.machine(boot_sector("again", RESET))
    machine.start()
    eventually(lambda: machine.events().count(MachineEventKind.RESET) >= 2)
    assert machine.state() is MachineState.RUNNING


@pytest.mark.vm
def test_a_guest_that_powers_off_is_stopped_and_its_reason_kept(lab: Lab) -> None:
    machine = lab.machine(boot_sector("bye", POWER_OFF))
    machine.start()
    eventually(lambda: machine.state() is MachineState.STOPPED)
    assert machine.events() == (MachineEventKind.SHUTDOWN,)
    said = [json.loads(line) for line in (machine.directory / "events.ndjson").read_text().splitlines()]
    assert [line["data"]["reason"] for line in said] == ["guest-shutdown"]
    assert "bye" in machine.console().text
    with machine.disk() as disk:
        assert disk.is_file()
    machine.start()
    eventually(lambda: machine.state() is MachineState.STOPPED)
    assert machine.events() == (MachineEventKind.SHUTDOWN,)


@pytest.mark.vm
def test_a_panic_is_seen_and_the_screen_can_still_be_saved(lab: Lab, tmp_path: Path) -> None:
    machine = lab.machine(boot_sector("oh no", PANIC))
    machine.start()
    eventually(lambda: MachineEventKind.PANIC in machine.events())
    assert machine.state() is MachineState.RUNNING
    assert machine._monitor.execute("query-status")["status"] == "guest-panicked"  # and stands still
    shot = machine.screenshot(tmp_path / "panic.png")
    assert shot is not None and shot.read_bytes().startswith(PNG)


@pytest.mark.vm
def test_uefi_starts_with_variables_of_its_own(lab: Lab) -> None:
    shared = lab.driver.host.firmware().variables
    before = shared.read_bytes()
    machine = lab.machine(bytes(MIB), firmware=Firmware.UEFI)
    machine.start()
    own = machine.directory / "uefi-vars.fd"
    eventually(lambda: "BdsDxe" in machine.console().text)
    machine.kill()
    assert own.read_bytes() != before  # the firmware wrote to its copy, and to nothing else
    assert shared.read_bytes() == before


@pytest.mark.vm
def test_nothing_listens_but_the_forwarded_port_on_the_loopback(lab: Lab) -> None:
    machine = lab.machine(boot_sector("x", HALT))
    machine.start()
    assert machine.process is not None
    inodes = {
        str(entry.readlink())[8:-1]
        for entry in Path(f"/proc/{machine.process.pid}/fd").iterdir()
        if str(entry.readlink()).startswith("socket:[")
    }
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    listening_at = [
        line.split()[1] for table in tables for line in table if line.split()[3] == "0A" and line.split()[9] in inodes
    ]
    assert listening_at == [f"0100007F:{machine.endpoint(22)[1]:04X}"]


@pytest.mark.vm
def test_the_child_gets_neither_our_descriptors_nor_our_environment(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIBEMU_TEST_SECRET", "s3cret")
    secret = tmp_path / "secret"
    with secret.open("w") as stream:
        os.set_inheritable(stream.fileno(), True)
        machine = lab.machine(boot_sector("x", HALT))
        machine.start()
        assert machine.process is not None
        process = Path(f"/proc/{machine.process.pid}")
        assert str(secret) not in [str(entry.readlink()) for entry in (process / "fd").iterdir()]
        assert (process / "fd/0").readlink() == Path("/dev/null")
        assert b"s3cret" not in (process / "environ").read_bytes()
        assert os.getsid(machine.process.pid) == machine.process.pid


@pytest.mark.vm
def test_a_port_that_is_taken_meanwhile_is_replaced(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from aibemu_drivers.qemu import machine as module

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
    assert machine.state() is MachineState.RUNNING


@pytest.mark.vm
def test_a_port_that_stays_taken_is_an_error_and_leaves_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from aibemu_drivers.qemu import machine as module

    machine = lab.machine(boot_sector("x", HALT))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr(module, "choose_ports", lambda ports: {22: taken})
        with pytest.raises(ProvisionFailed, match="no free port") as failed:
            machine.start()
    assert str(taken) in "".join(failed.value.details)
    assert machine.state() is MachineState.CREATED
    assert processes_of(machine.directory) == []


# A QEMU whose monitor goes wrong the first time: it greets nobody, or it hangs up and is a good one then.
ODD_QEMU = """\
import os, pathlib, socket, sys, time
path = next((word.split("path=")[1].split(",")[0] for word in sys.argv if "id=qmp," in word), None)
first = pathlib.Path("{once}")
if path and not first.exists():
    first.touch()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    client, _ = listener.accept()
    if "{how}" == "mute":
        time.sleep(600)
    client.close()
os.execv("{real}", ["{real}", *sys.argv[1:]])
"""


@pytest.mark.vm
@pytest.mark.parametrize("how", ["mute", "hangs up"])
def test_a_monitor_that_goes_wrong_at_the_start_is_tried_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    from aibemu_drivers.qemu import machine as module

    odd = tmp_path / "bin" / "qemu-system-x86_64"
    odd.parent.mkdir()
    real, once = shutil.which(odd.name), tmp_path / "once"
    (tmp_path / "odd.py").write_text(ODD_QEMU.format(once=once, how=how, real=real))
    odd.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/odd.py" "$@"\n')
    odd.chmod(0o755)
    monkeypatch.setenv("PATH", str(odd.parent), prepend=os.pathsep)
    monkeypatch.setattr(module, "GREETING_BOUND", 3.0 if how == "mute" else 20.0)
    machine = lab.machine(boot_sector("up", HALT))
    machine.start()
    assert once.exists() and machine.state() is MachineState.RUNNING
    assert len(processes_of(machine.directory)) == 1
    eventually(lambda: "up" in machine.console().text)


@pytest.mark.vm
def test_qemu_own_words_when_it_does_not_start(lab: Lab) -> None:
    machine = lab.machine(boot_sector("x", HALT))
    with machine.disk() as disk:
        disk.write_bytes(b"this is no qcow2")
    with pytest.raises(ProvisionFailed) as failed:
        machine.start()
    assert any("not in qcow2 format" in line for line in failed.value.details)
    assert processes_of(machine.directory) == []


@pytest.mark.vm
def test_too_much_memory_is_said_in_plain_words(lab: Lab) -> None:
    from dataclasses import replace

    machine = lab.machine(boot_sector("x", HALT))
    machine.spec = replace(machine.spec, memory_mib=(1 << 44) // MIB)  # 16 TiB
    with pytest.raises(ProvisionFailed, match="MiB of free memory"):
        machine.start()


@pytest.mark.vm
def test_a_monitor_that_another_process_holds_is_a_clear_error(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from aibemu_drivers.qemu.monitor import Monitor

    machine = lab.machine(boot_sector("x", HALT))
    machine.start()
    other = QemuDriver(lab.driver.options, lab.driver.folders).find(machine.directory)
    assert other is not None
    real = Monitor.connect
    monkeypatch.setattr(Monitor, "connect", lambda self, *, greeting=0.5: real(self, greeting=min(greeting, 0.5)))
    with pytest.raises(ProvisionFailed, match="in use by another process"):
        other.events()
    assert other.state() is MachineState.RUNNING
    other.kill()  # works all the same
    assert machine.state() is MachineState.STOPPED


@pytest.mark.vm
def test_a_deep_directory_gets_a_short_private_socket(lab: Lab, tmp_path: Path) -> None:
    deep = "d" * 120
    machine = lab.machine(boot_sector("deep, with a comma", HALT), name="short")
    (tmp_path / deep).mkdir()
    spec = make_spec("deep", tmp_path / deep / "a,b c", tmp_path / "short.img")
    machine = lab.driver.create(spec)  # type: ignore[assignment]
    lab.made.append(machine)
    machine.start()
    sockets = Path(json.loads((machine.directory / "machine.json").read_text())["sockets"])
    assert sockets != machine.directory
    assert sockets.stat().st_mode & 0o777 == 0o700
    eventually(lambda: "deep, with a comma" in machine.console().text)
    found = lab.driver.find(machine.directory)
    assert found is not None and found.state() is MachineState.RUNNING
    machine.destroy()
    assert not sockets.exists()


# A process of its own: creates, starts, says so, and waits to be killed.
MAKER = """
import json, os, sys, threading
from pathlib import Path
from aibemu.testing.contract import make_folders, make_spec
from aibemu_drivers.qemu import QemuDriver
from aibemu_drivers.qemu import machine as module
scratch = Path(sys.argv[1])
driver = QemuDriver({}, make_folders(scratch))
if sys.argv[2] == "create":
    module_driver = sys.modules["aibemu_drivers.qemu.driver"]
    module_driver.prepare_disk = lambda spec, overlay: os.kill(os.getpid(), 9)
if sys.argv[2] == "spawn":
    class Dies:
        def of(pid):
            print(pid, flush=True)
            os.kill(os.getpid(), 9)
    module.ProcessId = Dies
machine = driver.create(make_spec("killed", scratch / "killed", scratch / "killed.img"))
machine.start()
print(machine.process.pid, flush=True)
threading.Event().wait()
"""


def killed_maker(scratch: Path, when: str) -> str:
    """What a maker that is killed by SIGKILL at the moment `when` said: the pid of its QEMU."""
    (scratch / "killed.img").write_bytes(boot_sector("still here", HALT))
    maker = subprocess.Popen([sys.executable, "-c", MAKER, str(scratch), when], stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    said = maker.stdout.readline().strip()
    maker.kill()
    maker.wait()
    maker.stdout.close()
    return said


def processes_of(directory: Path) -> list[ProcessId]:
    return find_processes("qemu-system", str(directory))


@pytest.mark.vm
def test_a_machine_outlives_its_maker_and_is_taken_up_again(driver: QemuDriver, tmp_path: Path) -> None:
    pid = int(killed_maker(tmp_path, "later"))
    machine = driver.find(tmp_path / "killed")
    assert isinstance(machine, QemuMachine)
    try:
        assert machine.state() is MachineState.RUNNING
        assert machine.process is not None and machine.process.pid == pid
        eventually(lambda: "still here" in machine.console().text)
        assert machine.events() == ()  # reconnected to its monitor
        machine.press_power_button()
        port = machine.endpoint(22)[1]
        assert listening(port)
    finally:
        machine.destroy()
    assert ProcessId.of(pid) is None
    assert not listening(port)
    assert not (tmp_path / "killed").exists()


@pytest.mark.vm
def test_killed_between_starting_qemu_and_noting_it_leaves_nothing(driver: QemuDriver, tmp_path: Path) -> None:
    pid = int(killed_maker(tmp_path, "spawn"))
    process = ProcessId.of(pid)
    assert process is not None  # alive, and in nobody's record
    try:
        machine = driver.find(tmp_path / "killed")
        assert machine is not None
        assert machine.state() is MachineState.RUNNING
        machine.destroy()
        assert not process.is_alive()
    finally:
        process.send(signal.SIGKILL)
    assert processes_of(tmp_path) == []
    assert not (tmp_path / "killed").exists()


def test_killed_before_the_overlay_is_made_is_found_and_removed(tmp_path: Path) -> None:
    killed_maker(tmp_path, "create")
    machine = QemuDriver({}, make_folders(tmp_path)).find(tmp_path / "killed")
    assert machine is not None
    assert machine.state() is MachineState.CREATED
    with pytest.raises(AibemuError), machine.disk():
        pass
    machine.destroy()
    assert not (tmp_path / "killed").exists()


@pytest.mark.vm
def test_a_qemu_whose_directory_was_deleted_is_found_and_ended(driver: QemuDriver, tmp_path: Path) -> None:
    base, folder = tmp_path / "base.img", machine_folder(tmp_path, "a, deep " + "d" * 90)
    base.write_bytes(boot_sector("x", HALT))
    machine = driver.create(make_spec("orphan", folder, base))
    assert isinstance(machine, QemuMachine)
    machine.start()
    process, sockets = machine.process, machine._monitor.socket.parent
    assert process is not None and sockets.is_dir() and sockets != folder
    try:
        shutil.rmtree(machine.directory)
        (left,) = QemuDriver({}, make_folders(tmp_path)).list("contract")
        assert (left.id, left.directory) == ("orphan", machine.directory)
        assert QemuDriver({}, make_folders(tmp_path / "another-home")).list("contract") == []
        left.destroy()
        assert not process.is_alive() and not sockets.exists()
    finally:
        process.send(signal.SIGKILL)
    assert driver.list("contract") == []


@pytest.mark.vm
def test_a_recycled_pid_is_never_killed(lab: Lab) -> None:
    machine = lab.machine(boot_sector("x", HALT))
    machine.start()
    machine.kill()
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        # As if the kernel had given the pid of the dead QEMU to somebody else.
        record = json.loads((machine.directory / "machine.json").read_text())
        record["process"]["pid"] = stranger.pid
        (machine.directory / "machine.json").write_text(json.dumps(record))
        found = lab.driver.find(machine.directory)
        assert found is not None
        assert found.state() is MachineState.STOPPED
        found.destroy()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.vm
def test_a_machine_that_was_killed_from_outside_is_stopped(lab: Lab) -> None:
    machine = lab.machine(boot_sector("x", HALT))
    machine.start()
    assert machine.process is not None
    machine.process.send(signal.SIGKILL)
    eventually(lambda: machine.state() is MachineState.STOPPED)
    assert machine.events() == ()
    machine.start()
    assert machine.state() is MachineState.RUNNING


@pytest.mark.vm
def test_doctor_warns_of_tcg_and_names_a_missing_firmware(tmp_path: Path) -> None:
    options = {"cache": str(tmp_path), "accelerator": "tcg", "ovmf_code": "/nowhere", "ovmf_vars": "/nowhere"}
    findings = {finding.check: finding for finding in QemuDriver(options, make_folders(tmp_path)).check()}
    assert findings["qemu: accelerator"].level is Level.WARNING
    assert findings["qemu: UEFI firmware"].level is Level.WARNING
    assert findings["qemu: UEFI firmware"].fix == "sudo apt-get install --yes ovmf"
    assert findings["qemu: test machine"].level is Level.OK
    assert findings["qemu: TPM"].level is Level.OK


@pytest.mark.vm
def test_doctor_notes_that_there_is_neither_secure_boot_nor_a_tpm(
    driver: QemuDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if name == "swtpm" else real(name, path=path))
    options = {"ovmf_secure_code": "/nowhere", "ovmf_secure_vars": "/nowhere"}
    found = {finding.check: finding for finding in QemuDriver(options, driver.folders).check()}
    secure, tpm = found["qemu: Secure Boot firmware"], found["qemu: TPM"]
    assert (secure.level, secure.fix) == (Level.NOTE, "sudo apt-get install --yes ovmf")
    assert (tpm.level, tpm.fix) == (Level.NOTE, "sudo apt-get install --yes swtpm")


def test_doctor_names_the_packages_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    findings = QemuDriver({}, make_folders(tmp_path)).check()
    assert [(finding.level, finding.fix) for finding in findings] == [
        (Level.ERROR, "sudo apt-get install --yes qemu-system-x86"),
        (Level.ERROR, "sudo apt-get install --yes qemu-utils"),
    ]


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    for driver in (QemuDriver, ScriptedDriver):
        with pytest.raises(UsageError, match="no option colour"):
            driver({"colour": "red"}, make_folders(tmp_path))


def test_the_machine_of_another_driver_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "base.img"
    base.write_bytes(bytes(MIB))
    spec: MachineSpec = make_spec("mine", tmp_path / "mine", base)
    ScriptedDriver({}, make_folders(tmp_path)).create(spec)
    with pytest.raises(ProvisionFailed, match="belongs to the driver 'scripted'"):
        QemuDriver({}, make_folders(tmp_path)).find(spec.directory)


@pytest.mark.vm
def test_frames_of_the_user_network_come_out_of_the_wire(driver: QemuDriver, tmp_path: Path) -> None:
    """A forwarded connection makes the user network look for the guest: on `uplink`, and nowhere else."""
    listeners = {}
    for name in ("nic", "uplink"):
        listeners[name] = socket.socket(socket.AF_UNIX)
        listeners[name].bind(str(tmp_path / name))
        listeners[name].listen()
        listeners[name].settimeout(20)
    base = tmp_path / "halt.img"
    base.write_bytes(boot_sector("up", HALT))
    wire = Wire(
        nic=tmp_path / "nic", uplink=tmp_path / "uplink", subnet=IPv4Network("10.8.0.0/24"),
        address=IPv4Address("10.8.0.4"),
    )  # fmt: skip
    machine = driver.create(replace(make_spec("wired", tmp_path / "m", base), wire=wire, smbios=AZURE_SMBIOS))
    try:
        machine.start()
        uplink, _ = listeners["uplink"].accept()
        with uplink, socket.create_connection(machine.endpoint(22), timeout=20):
            uplink.settimeout(20)
            data = uplink.recv(2000)
        assert int.from_bytes(data[:4], "big") <= len(data) - 4
        frame = data[4:]
        assert frame[12:14] == b"\x08\x06"  # ARP
        assert frame[28:32] == IPv4Address("10.8.0.1").packed and frame[38:42] == IPv4Address("10.8.0.4").packed
        machine.kill()
        machine.start()  # connects anew
    finally:
        machine.destroy()
        for one in listeners.values():
            one.close()
