"""Every choice of `Hardware` really started by QEMU; guests of 512 bytes show which disks they boot from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aibemu.errors import ProvisionFailed
from aibemu.hardware import CdromBus, Chipset, DiskBus, Hardware, NicModel, Video
from aibemu.hypervisor import AZURE_SMBIOS, Firmware, MachineState
from aibemu.testing.contract import MIB, WINDOWS, machine_folder, make_folders, make_spec
from aibemu_drivers.qemu import QemuDriver
from aibemu_drivers.qemu.machine import QemuMachine
from tests.contract.test_drivers import HALT, boot_sector, eventually

pytestmark = pytest.mark.vm
HELLO = "hello from the guest"


class Bench:
    """Starts machines with the hardware that a test wants, and destroys them after it."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.driver = QemuDriver({}, make_folders(scratch))
        self.made: list[QemuMachine] = []
        (scratch / "hello.img").write_bytes(boot_sector(HELLO, HALT))
        (scratch / "cd.iso").write_bytes(bytes(MIB))

    def create(
        self, hardware: Hardware, *, cdroms: int = 0, firmware: Firmware = Firmware.BIOS, disk: Path | None = None,
        sticks: tuple[Path, ...] = (),
    ) -> QemuMachine:  # fmt: skip
        name = f"m{len(self.made)}"
        base = disk or self.scratch / "hello.img"
        spec = make_spec(name, machine_folder(self.scratch, name), base, firmware=firmware)
        cds = (self.scratch / "cd.iso",) * cdroms
        machine = self.driver.create(
            replace(spec, hardware=hardware, cdroms=cds, sticks=sticks, smbios=AZURE_SMBIOS)
        )  # fmt: skip
        assert isinstance(machine, QemuMachine)
        self.made.append(machine)
        return machine

    def start(self, hardware: Hardware, **more: Any) -> QemuMachine:
        machine = self.create(hardware, **more)
        machine.start()
        return machine


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for machine in bench.made:
        machine.destroy()


@pytest.mark.parametrize(
    ("chipset", "bus"),
    [(chipset, bus) for chipset in Chipset for bus in DiskBus if (chipset, bus) != (Chipset.Q35, DiskBus.IDE)],
)
def test_it_boots_from_a_disk_on_every_bus(bench: Bench, chipset: Chipset, bus: DiskBus) -> None:
    machine = bench.start(Hardware(chipset=chipset, disk=bus))
    eventually(lambda: HELLO in machine.console().text)


@pytest.mark.parametrize(
    ("chipset", "disk", "cdrom"),
    [
        (Chipset.PC, DiskBus.VIRTIO_SCSI, CdromBus.SATA), (Chipset.PC, DiskBus.IDE, CdromBus.IDE),
        (Chipset.PC, DiskBus.SATA, CdromBus.IDE), (Chipset.Q35, DiskBus.SATA, CdromBus.SATA),
        (Chipset.Q35, DiskBus.NVME, CdromBus.VIRTIO_SCSI),
    ],
)  # fmt: skip
def test_two_cdrom_drives_on_every_bus_beside_the_disk(
    bench: Bench, chipset: Chipset, disk: DiskBus, cdrom: CdromBus
) -> None:
    machine = bench.start(Hardware(chipset=chipset, disk=disk, cdrom=cdrom), cdroms=2)
    blocks = machine._monitor.execute("query-block")
    inserted = [block["inserted"]["node-name"] for block in blocks if "inserted" in block]
    assert sorted(inserted) == ["cd0", "cd1", "os"]
    eventually(lambda: HELLO in machine.console().text)


@pytest.mark.parametrize("nic", list(NicModel))
def test_every_network_card(bench: Bench, nic: NicModel) -> None:
    machine = bench.start(Hardware(nic=nic))
    devices = machine._monitor.execute("qom-list", {"path": "/machine/peripheral-anon"})
    kinds = {device["type"].removeprefix("child<").removesuffix(">") for device in devices}
    assert {"virtio-net": "virtio-net-pci"}.get(nic.value, nic.value) in kinds


def test_the_hardware_for_windows_with_either_firmware(bench: Bench) -> None:
    bios = bench.start(WINDOWS, cdroms=1)
    uefi = bench.start(replace(WINDOWS, nic=NicModel.E1000), cdroms=1, firmware=Firmware.UEFI)
    eventually(lambda: HELLO in bios.console().text)
    eventually(lambda: "BdsDxe" in uefi.console().text)


def test_uefi_on_the_old_chipset(bench: Bench) -> None:
    machine = bench.start(Hardware(chipset=Chipset.PC), firmware=Firmware.UEFI)
    eventually(lambda: "BdsDxe" in machine.console().text)


def test_without_a_screen_it_boots_all_the_same(bench: Bench) -> None:
    machine = bench.start(Hardware(video=Video.NONE))
    eventually(lambda: HELLO in machine.console().text)
    assert machine.state() is MachineState.RUNNING


@pytest.mark.parametrize(
    ("hardware", "cdroms", "why"),
    [
        (Hardware(chipset=Chipset.Q35, disk=DiskBus.IDE), 0, "no IDE controller"),
        (Hardware(chipset=Chipset.Q35, cdrom=CdromBus.IDE), 1, "no IDE controller"),
        (Hardware(disk=DiskBus.IDE, cdrom=CdromBus.IDE), 4, "no room for 5 drives on the bus ide: it has 4"),
        (WINDOWS, 6, "no room for 7 drives on the bus sata: it has 6"),
    ],
)
def test_drives_that_have_no_place_are_refused_before_anything_is_made(
    bench: Bench, hardware: Hardware, cdroms: int, why: str
) -> None:
    with pytest.raises(ProvisionFailed, match=why):
        bench.start(hardware, cdroms=cdroms)
    assert not make_folders(bench.scratch).runs.exists()
