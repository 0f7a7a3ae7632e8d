"""QEMU with the hardware that Windows wants (facts: windows-images 9.1): it is all there, and the firmware gets by with
it. Guests of some hundred bytes read a stick, ask for the TPM, and are not signed by Microsoft.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from aibemu.clock import forever
from aibemu.errors import FreezeFailed, HostNotReady
from aibemu.hardware import Hardware, NicModel
from aibemu.hypervisor import Firmware, MachineEventKind, MachineState
from aibemu.testing.contract import MIB, WINDOWS, machine_folder, make_folders, make_spec
from aibemu_drivers.qemu import QemuDriver
from aibemu_drivers.qemu.machine import QemuMachine
from aibemu_drivers.qemu.tpm import left_tpms
from tests.contract.test_drivers import HALT, boot_sector, eventually
from tests.contract.test_qemu_hardware import HELLO, Bench

pytestmark = pytest.mark.vm
# Reads the first sector of the second disk (int 0x13, ah=0x42, dl=0x81), writes its text to COM1, changes its first
# letter to W, and writes it back (ah=0x43).
STICK_READER = bytes.fromhex(
    "31c0 8ed8 8ec0 fc b80042 e82800 be0080 ac 84c0 7412 88c4 bafd03 ec a820 74fb 88e0 baf803 ee ebe9"
    "c606008057 b80043 e80300 f4 ebfd be3d7c b281 cd13 c3 10000100008000000000000000000000"
)
# Asks the BIOS for its TPM (int 0x1a, ax=0xbb00: TCG_StatusCheck of TCG's PC specification): ebx is "TCPA" then.
TPM_ASKER = (
    bytes.fromhex(
        "31c0 8ed8 8ec0 fc b800bb cd1a be417c 6681fb54435041 7503 be357c ac 84c0 7412 88c4 bafd03 ec a820 74fb 88e0"
        "baf803 ee ebe9 f4 ebfd"
    )
    + b"TPM answers\0no TPM\0"
)
# Writes 0x7B and 1 to 4 to Hyper-V's crash registers (MSRs 0x40000100 to 0x40000104), then bit 63 to 0x40000105: told.
TELLS_STOP_CODE = bytes.fromhex(
    "66b9000100406631d266b87b0000000f30664166b8010000000f306641"
    "66400f30664166400f30664166400f3066416631c066ba000000800f30"
)
WRITES_MARK = bytes.fromhex("ba f8 03 b0 21 ee")  # mov dx, 0x3f8; mov al, 0x21; out dx, al
# A program for UEFI that writes the text behind it to COM1 and halts.
EFI_CODE = bytes.fromhex("488d351e000000fc ac 84c0 7414 88c4 66bafd03 ec a820 74fb 88e0 66baf803 ee ebe7 fa f4 ebfd")


def bootable(code: bytes) -> bytes:
    return code.ljust(510, b"\0") + b"\x55\xaa" + bytes(MIB - 512)


def efi_program(text: str) -> bytes:
    """The smallest PE32+ file that OVMF starts: one section, nothing to relocate."""

    def words(*numbers: int, size: int) -> bytes:
        return b"".join(number.to_bytes(size, "little") for number in numbers)

    section = (EFI_CODE + text.encode() + b"\0").ljust(512, b"\0")
    head = b"MZ".ljust(60, b"\0") + words(64, size=4) + b"PE\0\0"
    head += words(0x8664, 1, size=2) + words(0, 0, 0, size=4) + words(0xF0, 0x22, size=2)
    head += words(0x20B, 0, size=2) + words(512, 0, 0, 0x1000, 0x1000, size=4) + words(0, size=8)
    head += words(0x1000, 512, size=4) + bytes(12) + words(0, 0, 0x2000, 512, size=4)[4:] + words(0, size=4)
    head += words(10, 0, size=2) + bytes(32) + words(0, 16, size=4) + bytes(128)
    head += (
        b".text\0\0\0" + words(512, 0x1000, 512, 512, 0, 0, size=4) + words(0, 0, size=2) + words(0x60000020, size=4)
    )
    return head.ljust(512, b"\0") + section


def make_esp(path: Path, program: bytes) -> Path:
    """A disk that is one FAT file system, with `program` where UEFI looks for it."""
    with path.open("wb") as stream:
        stream.truncate(4 * MIB)
    path.with_suffix(".efi").write_bytes(program)
    for words in (
        ["mkfs.vfat", str(path)], ["mmd", "-i", str(path), "::EFI", "::EFI/BOOT"],
        ["mcopy", "-i", str(path), str(path.with_suffix(".efi")), "::EFI/BOOT/BOOTX64.EFI"],
    ):  # fmt: skip
        subprocess.run(words, check=True, capture_output=True)
    return path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for machine in bench.made:
        machine.destroy()


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    path = tmp_path / "stick.img"
    path.write_bytes(b"read from the stick\0".ljust(MIB, b"\0"))
    return path


def devices(machine: QemuMachine) -> str:
    said = machine._monitor.execute("human-monitor-command", {"command-line": "info qtree"})
    assert isinstance(said, str)
    return said


UNSIGNED = "not signed, and started"
GEN1 = replace(WINDOWS, nic=NicModel.E1000)


@pytest.mark.parametrize(
    ("firmware", "hardware", "says"),
    [
        (Firmware.BIOS, GEN1, HELLO), (Firmware.UEFI, WINDOWS, UNSIGNED),
        (Firmware.UEFI, replace(WINDOWS, tpm=True, secure_boot=True), "Access Denied"),
    ],
    ids=["generation 1", "generation 2", "Secure Boot and a TPM"],
)  # fmt: skip
def test_each_recommended_set_has_all_its_devices_and_boots_what_it_may(
    bench: Bench, stick: Path, tmp_path: Path, firmware: Firmware, hardware: Hardware, says: str
) -> None:
    """With Secure Boot that is nothing which Microsoft has not signed."""
    disk = make_esp(tmp_path / "esp.img", efi_program(UNSIGNED)) if firmware is Firmware.UEFI else None
    machine = bench.start(hardware, firmware=firmware, cdroms=1, sticks=(stick,), disk=disk)
    there = devices(machine)
    wanted = ["ich9-ahci", "ide-hd", "ide-cd", "qemu-xhci", "usb-tablet", "usb-storage", "VGA", hardware.nic.value]
    assert [name for name in wanted if f"dev: {name}, " not in there] == []
    assert "removable = true" in there and "virtio-scsi" not in there and "virtio-net" not in there
    assert ("dev: tpm-tis, " in there) is hardware.tpm
    assert ("secure = true" in there) is hardware.secure_boot
    # OVMF measures itself into the TPM, which takes its time without KVM: 11 s were seen, and 40 on a busy host.
    forever().within(240).poll(lambda: says in machine.console().text)
    assert (UNSIGNED in machine.console().text) is (says == UNSIGNED)


def test_the_guest_reads_and_writes_a_stick_and_the_shared_file_stays_as_it_was(bench: Bench, stick: Path) -> None:
    before = stick.read_bytes()
    disk = bench.scratch / "reader.img"
    disk.write_bytes(bootable(STICK_READER))
    for hardware in (GEN1, Hardware()):
        machine = bench.start(hardware, disk=disk, sticks=(stick,))
        eventually(lambda machine=machine: "read from the stick" in machine.console().text)
        own = machine.directory / "stick-0.img"
        eventually(lambda own=own: own.read_bytes().startswith(b"Wead from"))
        machine.kill()
        machine.start()  # finds it as it left it
        eventually(lambda machine=machine: "Wead from the stick" in machine.console().text)
    assert stick.read_bytes() == before


def test_no_firmware_boots_from_a_stick_when_the_disk_does_not(bench: Bench, tmp_path: Path) -> None:
    blank = tmp_path / "blank.img"
    blank.write_bytes(bytes(MIB))
    stick = make_esp(tmp_path / "esp.img", efi_program("started from the stick"))
    machine = bench.start(GEN1, disk=blank, sticks=(stick,))
    eventually(lambda: "No bootable device" in machine.console().text)


def test_the_guest_finds_its_tpm_which_ends_with_the_machine(bench: Bench) -> None:
    disk = bench.scratch / "asker.img"
    disk.write_bytes(bootable(TPM_ASKER))
    machine = bench.start(replace(GEN1, tpm=True), disk=disk)
    without = bench.start(GEN1, disk=disk)
    eventually(lambda: "TPM answers" in machine.console().text)
    eventually(lambda: "no TPM" in without.console().text)
    assert machine._tpm is not None
    (process,) = machine._tpm.processes()
    with pytest.raises(FreezeFailed, match="TPM"):
        machine.freeze(bench.scratch / "layer", forever())
    machine.kill()
    assert not process.is_alive()
    machine.start()
    eventually(lambda: "TPM answers" in machine.console().text)
    machine.destroy()
    assert list(left_tpms(bench.scratch)) == [] and not machine.directory.exists()


def test_a_tpm_whose_qemu_was_killed_ends_by_itself(bench: Bench) -> None:
    machine = bench.start(replace(GEN1, tpm=True))
    assert machine.process is not None and machine._tpm is not None
    (tpm,) = machine._tpm.processes()
    machine.process.send(signal.SIGKILL)
    assert tpm.wait(60)
    assert machine.state() is MachineState.STOPPED


def test_a_machine_whose_tpm_was_killed_goes_on_and_gets_another_one_at_its_next_start(bench: Bench) -> None:
    machine = bench.start(replace(GEN1, tpm=True))
    assert machine._tpm is not None
    (tpm,) = machine._tpm.processes()
    tpm.send(signal.SIGKILL)
    assert tpm.wait(60)
    eventually(lambda: HELLO in machine.console().text)
    assert machine.state() is MachineState.RUNNING
    machine.kill()
    machine.start()
    assert len(machine._tpm.processes()) == 1


def test_a_machine_whose_tpm_hangs_is_ended_all_the_same(bench: Bench) -> None:
    machine = bench.start(replace(GEN1, tpm=True))
    assert machine._tpm is not None
    (tpm,) = machine._tpm.processes()
    tpm.send(signal.SIGSTOP)
    began = monotonic()
    machine.destroy()
    assert not tpm.is_alive() and not machine.directory.exists()
    assert monotonic() - began < 20  # 7 s on a quiet host: each of the two is given its time


def test_another_process_ends_machine_and_tpm(bench: Bench) -> None:
    machine = bench.start(replace(GEN1, tpm=True))
    assert len(list(left_tpms(bench.scratch))) == 1
    found = QemuDriver({}, make_folders(bench.scratch)).find(machine.directory)
    assert found is not None
    found.destroy()
    assert list(left_tpms(bench.scratch)) == []
    assert machine.state() is MachineState.GONE


# A process of its own that is killed once the TPM is there and QEMU is not.
MAKER = """
import os, sys
from dataclasses import replace
from pathlib import Path
from aibemu.testing.contract import machine_folder, make_folders, make_spec
from aibemu.hardware import Hardware
from aibemu_drivers.qemu import QemuDriver, machine
scratch = Path(sys.argv[1])
machine.spawn = lambda *_: os.kill(os.getpid(), 9)
spec = make_spec("killed", machine_folder(scratch, "killed"), scratch / "hello.img")
QemuDriver({}, make_folders(scratch)).create(replace(spec, hardware=Hardware(tpm=True))).start()
"""


def test_killed_between_starting_the_tpm_and_qemu_leaves_nothing(bench: Bench) -> None:
    maker = subprocess.run([sys.executable, "-c", MAKER, str(bench.scratch)], check=False)
    assert maker.returncode == -signal.SIGKILL
    ((directory, _, process),) = left_tpms(bench.scratch)
    (machine,) = bench.driver.list("contract")
    assert machine.directory == directory
    machine.destroy()
    assert not process.is_alive() and not directory.exists()


def test_a_machine_whose_directory_is_gone_is_found_with_its_tpm(bench: Bench) -> None:
    machine = bench.start(replace(GEN1, tpm=True))
    shutil.rmtree(machine.directory)
    other = QemuDriver({}, make_folders(bench.scratch))
    for left in other.list("contract"):
        left.destroy()
    assert other.list("contract") == [] and list(left_tpms(bench.scratch)) == []


def test_missing_programs_and_firmware_are_errors_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "hello.img"
    base.write_bytes(boot_sector(HELLO, HALT))
    options = {"ovmf_secure_code": "/nowhere/code", "ovmf_secure_vars": "/nowhere/vars"}
    driver = QemuDriver(options, make_folders(tmp_path))
    spec = make_spec("m", machine_folder(tmp_path, "m"), base, firmware=Firmware.UEFI)
    with pytest.raises(HostNotReady, match="Secure Boot"):
        driver.create(replace(spec, hardware=Hardware(secure_boot=True)))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    with pytest.raises(HostNotReady, match="swtpm"):
        driver.create(replace(spec, hardware=Hardware(tpm=True)))
    assert not spec.directory.exists()


def test_a_stop_code_is_told_where_kvm_has_the_registers_for_it(bench: Bench) -> None:
    """Without KVM there are none: QEMU's emulated CPU ignores the guest's words. The guest itself runs to its end."""
    disk = bench.scratch / "stops.img"
    disk.write_bytes(boot_sector("stopping", TELLS_STOP_CODE + WRITES_MARK + HALT))
    machine = bench.start(GEN1, disk=disk)
    if bench.driver.accelerator().name == "kvm":
        eventually(lambda: machine.panic() is not None)
        assert machine.panic() == "0x7B (0x1, 0x2, 0x3, 0x4)"
        assert MachineEventKind.PANIC in machine.events() and "stopping!" not in machine.console().text
    else:
        eventually(lambda: "stopping!" in machine.console().text)
        assert machine.panic() is None and machine.events() == ()
