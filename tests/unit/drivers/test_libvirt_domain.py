"""The domain XML of machines: what each field of a description becomes, and what is refused."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from aibemu.errors import ProvisionFailed
from aibemu.hardware import CdromBus, Chipset, DiskBus, Hardware, NicModel, Video
from aibemu.hypervisor import AZURE_SMBIOS, Firmware, Frozen, MachineSpec, Wire
from aibemu.testing.contract import WINDOWS, make_spec
from aibemu_drivers.libvirt.devices import system_disk
from aibemu_drivers.libvirt.disks import snapshot_words
from aibemu_drivers.libvirt.domain import MARK, QEMU, Start, build_domain, check_machine
from aibemu_drivers.qemu.arguments import FirmwareFiles, network_words

PLACE = Path("/home/a & b, <c>/runs/r/machines/build")
OVMF = FirmwareFiles(code=Path("/usr/share/OVMF/CODE.fd"), variables=PLACE / "uefi-vars.fd")
WIRE = Wire(
    nic=Path("/run/nic"), uplink=Path("/run/up,link"), subnet=IPv4Network("10.8.0.0/24"),
    address=IPv4Address("10.8.0.4"),
)  # fmt: skip


def spec(**changes: Any) -> MachineSpec:
    return replace(make_spec("m", PLACE, Path("/images/base.img")), **changes)


def start(**changes: Any) -> Start:
    own: dict[str, Any] = {
        "accelerator": "tcg", "uuid": UUID(int=5), "disks": (PLACE / "top.qcow2", PLACE / "low.qcow2"),
        "console": PLACE / "console.log", "ports": {22: 40022},
    }  # fmt: skip
    return Start(**(own | changes))


def domain(described: MachineSpec, **changes: Any) -> ET.Element:
    return ET.fromstring(build_domain(described, start(**changes)))


def own_words(top: ET.Element) -> list[str]:
    return [word.get("value", "") for word in top.iterfind(f"{{{QEMU}}}commandline/{{{QEMU}}}arg")]


def test_the_mark_says_whose_it_is_whatever_is_in_a_path() -> None:
    top = domain(spec(owner="run-1"))
    mark = top.find(f"metadata/{{{MARK}}}machine")
    assert mark is not None
    assert mark.attrib == {"id": "m", "owner": "run-1", "directory": str(PLACE)}
    assert (top.findtext("name"), top.findtext("uuid")) == ("aibemu-m", str(UUID(int=5)))


def test_the_guest_sees_its_own_uuid_and_azures_smbios() -> None:
    described = spec(smbios=AZURE_SMBIOS)
    top = domain(described)
    entries = {(block.tag, one.get("name")): one.text for block in top.iterfind("sysinfo/*") for one in block}
    assert entries[("system", "manufacturer")] == entries[("chassis", "manufacturer")] == AZURE_SMBIOS.manufacturer
    assert entries[("system", "version")] == AZURE_SMBIOS.version
    assert entries[("chassis", "asset")] == AZURE_SMBIOS.asset_tag
    assert entries[("baseBoard", "product")] == AZURE_SMBIOS.product
    assert top.find("os/smbios[@mode='sysinfo']") is not None
    assert own_words(top)[:2] == ["-smbios", f"type=1,uuid={described.uuid}"]
    assert domain(spec()).find("sysinfo") is None


def test_each_file_of_the_disk_has_its_format_down_to_the_image_so_none_is_probed() -> None:
    top = domain(spec(base_format="raw"))
    disk = top.find("devices/disk[@device='disk']")
    assert disk is not None
    found = []
    below: ET.Element | None = disk
    while below is not None and below.find("source") is not None:
        form = below.find("driver") if below is disk else below.find("format")
        source = below.find("source")
        assert form is not None and source is not None
        found.append((source.get("file"), form.get("type")))
        below = below.find("backingStore")
    assert found == [
        (str(PLACE / "top.qcow2"), "qcow2"), (str(PLACE / "low.qcow2"), "qcow2"), ("/images/base.img", "raw"),
    ]  # fmt: skip
    assert below is not None and list(below) == [] and not below.attrib, "an empty one ends the chain"
    driver = disk.find("driver")
    assert driver is not None and (driver.get("cache"), driver.get("discard")) == ("unsafe", "unmap")


@pytest.mark.parametrize(
    ("disk", "cdrom", "controllers", "targets"),
    [
        (DiskBus.VIRTIO_SCSI, CdromBus.VIRTIO_SCSI, ["scsi"], ["sda scsi", "sdb scsi"]),
        (DiskBus.SATA, CdromBus.SATA, [], ["sda sata", "sdb sata"]),
        (DiskBus.IDE, CdromBus.IDE, [], ["hda ide", "hdb ide"]),
        (DiskBus.VIRTIO_BLK, CdromBus.VIRTIO_SCSI, ["scsi"], ["vda virtio", "sda scsi"]),
        (DiskBus.SATA, CdromBus.VIRTIO_SCSI, ["scsi"], ["sda sata", "sdb scsi"]),
        (DiskBus.VIRTIO_SCSI, CdromBus.IDE, ["scsi"], ["sda scsi", "hda ide"]),
    ],
)
def test_drives(disk: DiskBus, cdrom: CdromBus, controllers: list[str], targets: list[str]) -> None:
    described = spec(hardware=Hardware(disk=disk, cdrom=cdrom, chipset=Chipset.PC), cdroms=(Path("/cd.iso"),))
    top = domain(described)
    made = [one.get("type") for one in top.iterfind("devices/controller") if one.get("type") != "usb"]
    assert made == controllers
    assert [f"{one.get('dev')} {one.get('bus')}" for one in top.iterfind("devices/disk/target")] == targets
    assert system_disk(described) == targets[0].split()[0]
    assert [one.get("order") for one in top.iterfind("devices/disk/boot")] == ["1"], "the machine boots from no other"
    assert top.find("devices/disk[@device='cdrom']/readonly") is not None


def test_sticks_can_be_removed_and_a_tablet_needs_usb() -> None:
    top = domain(spec(sticks=(Path("/s"),), hardware=Hardware(usb_tablet=True)), sticks=(PLACE / "stick-0.img",))
    target = top.find("devices/disk/target[@bus='usb']")
    assert target is not None and (target.get("dev"), target.get("removable")) == ("sdb", "on")
    assert top.find("devices/controller[@type='usb']").get("model") == "qemu-xhci"  # type: ignore[union-attr]
    assert top.find("devices/input[@type='tablet']") is not None
    assert domain(spec()).find("devices/controller[@type='usb']").get("model") == "none"  # type: ignore[union-attr]


@pytest.mark.parametrize("nic", list(NicModel))
@pytest.mark.parametrize("wire", [None, WIRE])
def test_the_network_is_the_qemu_drivers_at_a_place_that_libvirt_gives_to_nobody(
    nic: NicModel, wire: Wire | None
) -> None:
    described = spec(hardware=Hardware(nic=nic), wire=wire)
    words = own_words(domain(described))
    theirs = network_words(described, {22: 40022})
    at = words.index(theirs[0])
    ours = words[at : at + len(theirs)]
    assert ours[:-1] == theirs[:-1] and ours[-1] == f"{theirs[-1]},addr=0x10"
    assert "listen" not in build_domain(described, start()) and "<graphics" not in build_domain(described, start())


def test_firmware() -> None:
    bios = domain(spec())
    assert bios.find("os/loader") is None and bios.find("os/type").get("machine") == "pc"  # type: ignore[union-attr]
    assert "graphics=off" in own_words(bios)
    uefi = domain(spec(firmware=Firmware.UEFI), firmware=OVMF)
    assert (uefi.findtext("os/loader"), uefi.findtext("os/nvram")) == (str(OVMF.code), str(OVMF.variables))
    assert uefi.find("os/type").get("machine") == "q35" and uefi.find("features/smm") is None  # type: ignore[union-attr]
    assert "graphics=off" not in own_words(uefi)
    secure = domain(spec(firmware=Firmware.UEFI, hardware=Hardware(secure_boot=True)), firmware=OVMF)
    assert secure.find("os/loader").get("secure") == "yes"  # type: ignore[union-attr]
    assert secure.find("features/smm[@state='on']") is not None
    assert secure.find("pm/suspend-to-mem[@enabled='no']") is not None


def test_processors() -> None:
    def hidden(top: ET.Element) -> list[str | None]:
        return [one.get("name") for one in top.iterfind("cpu/feature[@policy='disable']")]

    assert hidden(domain(spec())) == [] and hidden(domain(spec(smbios=AZURE_SMBIOS))) == ["hypervisor"]
    emulated = domain(spec(hardware=WINDOWS))
    assert (emulated.get("type"), hidden(emulated)) == ("qemu", ["hypervisor"])
    assert emulated.find("features/hyperv") is None and emulated.findtext("features/tcg/tb-cache") == "512"
    windows = domain(spec(hardware=WINDOWS, cpus=4), accelerator="kvm")
    assert (windows.get("type"), hidden(windows)) == ("kvm", ["vmx", "svm"])
    assert {one.tag for one in windows.iterfind("features/hyperv/*")} >= {"relaxed", "synic", "stimer", "ipi"}
    assert windows.find("clock/timer[@name='hypervclock']") is not None
    assert [one.get("model") for one in windows.iterfind("devices/panic")] == ["isa", "hyperv"]
    assert windows.find("cpu/topology").get("cores") == "4"  # type: ignore[union-attr]
    linux = domain(spec(smbios=AZURE_SMBIOS), accelerator="kvm")
    assert [one.tag for one in linux.iterfind("features/hyperv/*")] == ["relaxed", "vapic", "spinlocks"]


def test_qemu_runs_as_the_user_and_no_file_changes_its_owner_where_the_daemon_is_roots() -> None:
    assert domain(spec()).find("seclabel") is None
    label = domain(spec(), user=(1000, 1001)).find("seclabel")
    assert label is not None and label.findtext("label") == "+1000:+1001"
    assert label.attrib == {"type": "static", "model": "dac", "relabel": "no"}


def test_what_goes_on_from_memory_waits_for_it() -> None:
    assert "-incoming" not in own_words(domain(spec()))
    frozen = Frozen(disks=(Path("/l/disk.qcow2"),), memory=Path("/l/disk.memory"))
    assert own_words(domain(spec(frozen=frozen)))[-2:] == ["-incoming", "defer"]
    assert "-incoming" not in own_words(domain(spec(frozen=replace(frozen, memory=None)))), "a disk alone boots"


def test_a_tpm_is_a_socket() -> None:
    words = own_words(domain(spec(hardware=Hardware(tpm=True)), tpm=Path("/run/tpm,sock")))
    assert "socket,id=tpm,path=/run/tpm,,sock" in words and "tpm-tis,tpmdev=tpm0" in words


@pytest.mark.parametrize(
    ("hardware", "why"),
    [
        (Hardware(disk=DiskBus.NVME), "no NVMe disks"),
        (Hardware(chipset=Chipset.Q35, disk=DiskBus.IDE), "no IDE controller"),
        (Hardware(secure_boot=True), "Secure Boot needs UEFI"),
    ],
)
def test_what_cannot_be_made_is_refused(hardware: Hardware, why: str) -> None:
    with pytest.raises(ProvisionFailed, match=why):
        check_machine(spec(hardware=hardware))


def test_a_screen_or_none() -> None:
    assert domain(spec()).find("devices/video/model").get("type") == "vga"  # type: ignore[union-attr]
    none = domain(spec(hardware=Hardware(video=Video.NONE)))
    assert none.find("devices/video/model").get("type") == "none"  # type: ignore[union-attr]


def test_a_new_overlay_goes_over_one_disk_alone() -> None:
    top = ET.fromstring(snapshot_words("sda", Path("/m/a & b.qcow2"), ["sdb", "sdc"]))
    found = {one.get("name"): (one.get("snapshot"), one.find("source")) for one in top.iterfind("disks/disk")}
    assert found["sda"][0] == "external" and found["sda"][1].get("file") == "/m/a & b.qcow2"  # type: ignore[union-attr]
    assert found["sdb"] == found["sdc"] == ("no", None)
