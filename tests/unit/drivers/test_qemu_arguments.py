from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.errors import ProvisionFailed
from aibemu.hardware import CdromBus, Chipset, DiskBus, Hardware, NicModel, Video
from aibemu.hypervisor import AZURE_SMBIOS, Firmware, Frozen, MachineSpec, Wire
from aibemu.testing.contract import WINDOWS, make_spec
from aibemu_drivers.qemu.arguments import (
    SANDBOX,
    FirmwareFiles,
    Launch,
    build_arguments,
    check_hardware,
    escape,
)

SPEC = make_spec("run-build", Path("/r/m"), Path("/images/base.img"))
LAUNCH = Launch(
    accelerator="tcg", sandbox=True, disk=Path("/r/m/disk.qcow2"), console=Path("/r/m/console.log"),
    socket=Path("/r/m/qmp.sock"), ports={22: 40022, 5986: 45986},
)  # fmt: skip


def values(spec: MachineSpec = SPEC, launch: Launch = LAUNCH, *, option: str) -> list[str]:
    words = build_arguments(spec, launch)
    return [words[index + 1] for index, word in enumerate(words) if word == option]


def nodes(spec: MachineSpec = SPEC, launch: Launch = LAUNCH) -> dict[str, dict[str, Any]]:
    return {node["node-name"]: node for node in map(json.loads, values(spec, launch, option="-blockdev"))}


def test_nothing_listens_beyond_the_loopback() -> None:
    words = build_arguments(SPEC, LAUNCH)
    assert "-vnc" not in words and "-spice" not in words
    assert values(option="-display") == ["none"]
    (network,) = values(option="-netdev")
    assert network.split(",")[2:] == [
        "ipv6=off", "hostfwd=tcp:127.0.0.1:40022-:22", "hostfwd=tcp:127.0.0.1:45986-:5986",
    ]  # fmt: skip


def test_bios_machines_are_pc_and_talk_on_the_serial_console() -> None:
    assert values(option="-machine") == ["pc,graphics=off"]
    assert "-no-reboot" not in build_arguments(SPEC, LAUNCH)
    assert "-no-shutdown" not in build_arguments(SPEC, LAUNCH)


def test_uefi_machines_are_q35_with_shared_code_and_own_variables() -> None:
    firmware = FirmwareFiles(code=Path("/f/CODE.fd"), variables=Path("/r/m/vars.fd"))
    spec, launch = replace(SPEC, firmware=Firmware.UEFI), replace(LAUNCH, firmware=firmware)
    assert values(spec, launch, option="-machine") == ["q35,pflash0=code,pflash1=vars"]
    assert nodes(spec, launch)["code"]["read-only"] is True
    assert "read-only" not in nodes(spec, launch)["vars"]
    with pytest.raises(ValueError, match="firmware"):
        build_arguments(spec, LAUNCH)


def test_the_disk_is_discardable_and_its_flushes_are_ignored() -> None:
    disk = nodes()["os"]
    assert disk["driver"] == "qcow2"
    for layer in (disk, disk["file"]):
        assert layer["discard"] == "unmap"
        assert layer["cache"] == {"direct": False, "no-flush": True}
    assert "scsi-hd,bus=scsi0.0,drive=os,bootindex=0" in values(option="-device")


def test_each_cdrom_is_a_read_only_scsi_drive_in_order() -> None:
    spec = replace(SPEC, cdroms=(Path("/s/a.iso"), Path("/s/b.iso")))
    found = nodes(spec)
    assert [found[name]["file"]["filename"] for name in ("cd0", "cd1")] == ["/s/a.iso", "/s/b.iso"]
    assert all(found[name]["read-only"] for name in ("cd0", "cd1"))
    assert [word for word in values(spec, option="-device") if word.startswith("scsi-cd")] == [
        "scsi-cd,bus=scsi0.0,drive=cd0",
        "scsi-cd,bus=scsi0.0,drive=cd1",
    ]


def test_the_accelerator_and_the_sandbox_are_as_probed() -> None:
    assert values(option="-accel") == ["tcg,thread=multi,tb-size=512"]
    assert values(launch=replace(LAUNCH, accelerator="kvm"), option="-accel") == ["kvm"]
    assert values(option="-sandbox") == [SANDBOX]
    assert values(launch=replace(LAUNCH, sandbox=False), option="-sandbox") == []


def test_the_shape_is_the_specs() -> None:
    assert values(option="-smp") == ["1"]
    assert values(option="-m") == ["size=64M"]
    assert values(option="-uuid") == [str(SPEC.uuid)]
    assert values(option="-name") == ["aibemu-run-build"]
    assert any(SPEC.mac in word for word in values(option="-device"))


@given(st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=40))
def test_no_character_of_a_path_means_anything_to_qemu(name: str) -> None:
    directory = Path("/r") / name
    launch = replace(LAUNCH, disk=directory / "d", console=directory / "c", socket=directory / "s", accelerator="tcg")
    assert nodes(launch=launch)["os"]["file"]["filename"] == str(directory / "d")
    console, socket = values(launch=launch, option="-chardev")
    assert console == f"file,id=console,path={escape(directory / 'c')}"
    assert escape(directory / "c").replace(",,", "").count(",") == 0
    assert socket.endswith(",server=on,wait=off")


WIRE = Wire(
    nic=Path("/s,1/nic"), uplink=Path("/s,1/uplink"), subnet=IPv4Network("10.8.0.0/29"),
    address=IPv4Address("10.8.0.4"),
)  # fmt: skip


def test_a_wire_stands_between_the_nic_and_the_user_network() -> None:
    spec = replace(SPEC, wire=WIRE)
    assert values(spec, option="-netdev") == [
        "stream,id=net0,server=off,addr.type=unix,addr.path=/s,,1/nic",
        "user,id=outside,ipv6=off,net=10.8.0.0/29,host=10.8.0.1,dns=10.8.0.3,dhcpstart=10.8.0.4,"
        "hostfwd=tcp:127.0.0.1:40022-:22,hostfwd=tcp:127.0.0.1:45986-:5986",
        "stream,id=uplink,server=off,addr.type=unix,addr.path=/s,,1/uplink",
        "hubport,id=hub0,hubid=0,netdev=outside",
        "hubport,id=hub1,hubid=0,netdev=uplink",
    ]
    assert f"virtio-net-pci,netdev=net0,mac={SPEC.mac},romfile=" in values(spec, option="-device")


def test_a_machine_may_look_like_hyper_v() -> None:
    spec = replace(SPEC, smbios=AZURE_SMBIOS)
    assert values(spec, option="-smbios") == [
        "type=1,manufacturer=Microsoft Corporation,product=Virtual Machine,version=Hyper-V UEFI Release v4.1",
        "type=2,manufacturer=Microsoft Corporation,product=Virtual Machine",
        "type=3,manufacturer=Microsoft Corporation,asset=7783-7084-3265-9085-8269-3286-77",
    ]
    assert values(spec, option="-cpu") == ["max,hypervisor=off"]
    (kvm,) = values(spec, replace(LAUNCH, accelerator="kvm"), option="-cpu")
    assert kvm.startswith("max,hv_") and "hypervisor=off" not in kvm
    assert values(option="-smbios") == [] and values(option="-cpu") == ["max"]
    assert values(spec, option="-sandbox") == [SANDBOX]


def devices(spec: MachineSpec) -> list[str]:
    return [word for word in values(spec, option="-device") if "rng" not in word and "pvpanic" not in word]


def test_a_machine_for_linux_has_todays_devices_in_todays_order() -> None:
    spec = replace(SPEC, cdroms=(Path("/s/a.iso"),))
    assert spec.hardware == Hardware()
    assert devices(spec) == [
        "vmgenid,guid=auto", "virtio-scsi-pci,id=scsi0", "scsi-hd,bus=scsi0.0,drive=os,bootindex=0",
        "scsi-cd,bus=scsi0.0,drive=cd0", f"virtio-net-pci,netdev=net0,mac={SPEC.mac},romfile=",
    ]  # fmt: skip
    assert values(spec, option="-vga") == ["std"]


def test_a_machine_for_windows_needs_no_driver_that_windows_has_not() -> None:
    spec = replace(SPEC, hardware=WINDOWS, cdroms=(Path("/s/a.iso"), Path("/s/b.iso")))
    assert values(spec, option="-machine") == ["q35,graphics=off"]
    assert devices(spec) == [
        "vmgenid,guid=auto", "ide-hd,bus=ide.0,drive=os,bootindex=0", "ide-cd,bus=ide.1,drive=cd0",
        "ide-cd,bus=ide.2,drive=cd1", "qemu-xhci,id=usb", "usb-tablet,bus=usb.0",
        f"e1000e,netdev=net0,mac={SPEC.mac},romfile=",
    ]  # fmt: skip
    assert values(spec, option="-cpu") == ["max,hypervisor=off"]
    assert values(spec, replace(LAUNCH, accelerator="kvm"), option="-cpu") == [
        "max,hv_relaxed=on,hv_vapic=on,hv_spinlocks=0xfff,hv_vpindex=on,hv_runtime=on,hv_time=on,hv_synic=on,"
        "hv_stimer=on,hv_tlbflush=on,hv_ipi=on,hv_frequencies=on,hv_crash=on,vmx=off,svm=off"
    ]


@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        (Hardware(disk=DiskBus.IDE, cdrom=CdromBus.IDE), [
            "ide-hd,bus=ide.0,unit=0,drive=os,bootindex=0", "ide-cd,bus=ide.0,unit=1,drive=cd0",
            "ide-cd,bus=ide.1,unit=0,drive=cd1",
        ]),
        (Hardware(disk=DiskBus.SATA, cdrom=CdromBus.IDE), [
            "ahci,id=sata", "ide-hd,bus=sata.0,drive=os,bootindex=0", "ide-cd,bus=ide.0,unit=0,drive=cd0",
            "ide-cd,bus=ide.0,unit=1,drive=cd1",
        ]),
        (Hardware(chipset=Chipset.Q35, disk=DiskBus.NVME, cdrom=CdromBus.SATA), [
            "nvme,serial=aibemu,drive=os,bootindex=0", "ide-cd,bus=ide.0,drive=cd0", "ide-cd,bus=ide.1,drive=cd1",
        ]),
        (Hardware(disk=DiskBus.VIRTIO_BLK, cdrom=CdromBus.IDE), [
            "virtio-blk-pci,serial=aibemu,drive=os,bootindex=0", "ide-cd,bus=ide.0,unit=0,drive=cd0",
            "ide-cd,bus=ide.0,unit=1,drive=cd1",
        ]),
        (Hardware(disk=DiskBus.NVME), [
            "virtio-scsi-pci,id=scsi0", "nvme,serial=aibemu,drive=os,bootindex=0", "scsi-cd,bus=scsi0.0,drive=cd0",
            "scsi-cd,bus=scsi0.0,drive=cd1",
        ]),
    ],
)  # fmt: skip
def test_each_drive_is_on_its_bus(hardware: Hardware, expected: list[str]) -> None:
    spec = replace(SPEC, hardware=hardware, cdroms=(Path("/s/a.iso"), Path("/s/b.iso")))
    assert devices(spec)[1:-1] == expected


def test_each_stick_is_a_removable_usb_disk_that_is_never_booted_from() -> None:
    launch = replace(LAUNCH, sticks=(Path("/r/m/stick-0.img"), Path("/r/m/stick-1.img")))
    assert nodes(launch=launch)["stick1"]["file"]["filename"] == "/r/m/stick-1.img"
    assert "read-only" not in nodes(launch=launch)["stick0"]
    usb = [word for word in values(launch=launch, option="-device") if "usb" in word]
    assert usb == [
        "qemu-xhci,id=usb", "usb-storage,bus=usb.0,drive=stick0,removable=on",
        "usb-storage,bus=usb.0,drive=stick1,removable=on",
    ]  # fmt: skip
    assert values(launch=launch, option="-boot") == ["strict=on"] and values(option="-boot") == []


def test_a_tpm_is_reached_by_the_socket_of_its_process() -> None:
    launch = replace(LAUNCH, tpm=Path("/r/m,1/tpm.sock"))
    assert "socket,id=tpm,path=/r/m,,1/tpm.sock" in values(launch=launch, option="-chardev")
    assert values(launch=launch, option="-tpmdev") == ["emulator,id=tpm0,chardev=tpm"]
    assert "tpm-tis,tpmdev=tpm0" in values(launch=launch, option="-device")
    assert values(option="-tpmdev") == []


def test_secure_boot_guards_the_variables_from_the_system() -> None:
    firmware = FirmwareFiles(code=Path("/f/CODE.ms.fd"), variables=Path("/r/m/vars.fd"))
    spec = replace(SPEC, firmware=Firmware.UEFI, hardware=Hardware(secure_boot=True))
    assert values(spec, replace(LAUNCH, firmware=firmware), option="-machine") == [
        "q35,smm=on,pflash0=code,pflash1=vars"
    ]
    assert values(spec, replace(LAUNCH, firmware=firmware), option="-global") == [
        "driver=cfi.pflash01,property=secure,value=on", "ICH9-LPC.disable_s3=1"
    ]  # fmt: skip
    assert values(option="-global") == []


@pytest.mark.parametrize(
    ("firmware", "hardware", "why"),
    [
        (Firmware.BIOS, Hardware(secure_boot=True), "UEFI"),
        (Firmware.UEFI, Hardware(secure_boot=True, chipset=Chipset.PC), "q35"),
    ],
)
def test_secure_boot_is_refused_where_there_is_none(firmware: Firmware, hardware: Hardware, why: str) -> None:
    with pytest.raises(ProvisionFailed, match=why):
        check_hardware(replace(SPEC, firmware=firmware, hardware=hardware))
    check_hardware(replace(SPEC, firmware=Firmware.UEFI, hardware=Hardware(secure_boot=True, tpm=True)))


def test_no_machine_with_a_tpm_goes_on_from_a_frozen_one() -> None:
    frozen = Frozen(disks=(Path("/l/d.qcow2"),), memory=Path("/l/d.memory"))
    with pytest.raises(ProvisionFailed, match="TPM"):
        check_hardware(replace(SPEC, hardware=Hardware(tpm=True), frozen=frozen))


def test_the_chipset_the_card_and_the_screen_are_as_asked() -> None:
    firmware = FirmwareFiles(code=Path("/f/CODE.fd"), variables=Path("/r/m/vars.fd"))
    pc = replace(SPEC, firmware=Firmware.UEFI, hardware=Hardware(chipset=Chipset.PC))
    assert values(pc, replace(LAUNCH, firmware=firmware), option="-machine") == ["pc,pflash0=code,pflash1=vars"]
    spec = replace(SPEC, hardware=Hardware(nic=NicModel.E1000, video=Video.NONE))
    assert f"e1000,netdev=net0,mac={SPEC.mac},romfile=" in devices(spec)
    assert values(spec, option="-vga") == ["none"]
