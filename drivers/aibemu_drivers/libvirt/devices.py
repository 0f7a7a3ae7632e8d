"""The drives of a machine and their controllers, in the words of libvirt's domain XML."""

from __future__ import annotations

import string
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aibemu.hardware import DiskBus
from aibemu.hypervisor import MachineSpec

_BUSES = {
    DiskBus.VIRTIO_SCSI: "scsi", DiskBus.VIRTIO_BLK: "virtio", DiskBus.SATA: "sata", DiskBus.IDE: "ide",
}  # fmt: skip
# cache=unsafe: see the QEMU driver's `overlay_node`.
_UNSAFE = {"cache": "unsafe", "discard": "unmap"}


@dataclass(slots=True)
class Names:
    """Names of drives that are not taken yet: sda, sdb, ..., hda, ... for IDE, vda, ... for virtio-blk. The place of a
    drive on its bus goes by its name, and the system disk is the first."""

    _taken: dict[str, int] = field(default_factory=dict)

    def next(self, bus: str) -> str:
        """The next one on this bus of libvirt's."""
        start = {"ide": "hd", "virtio": "vd"}.get(bus, "sd")
        number = self._taken.get(start, 0)
        self._taken[start] = number + 1
        return start + string.ascii_lowercase[number]


def add(parent: ET.Element, tag: str, text: str | None = None, /, **attributes: str) -> ET.Element:
    """A new element at the end of `parent`."""
    made = ET.SubElement(parent, tag, attributes)
    made.text = text
    return made


def system_disk(spec: MachineSpec) -> str:
    """libvirt's name of the disk that the machine boots from."""
    return Names().next(_BUSES[spec.hardware.disk])


def add_drives(devices: ET.Element, spec: MachineSpec, images: Sequence[tuple[Path, str]]) -> Names:
    """The system disk, then the CD-ROM drives. images: the disk's files with their formats, the written one first."""
    names, disk = Names(), _BUSES[spec.hardware.disk]
    cdrom = _BUSES[DiskBus(spec.hardware.cdrom)]
    # Those that the chipset lacks come with their drives. virtio-scsi by default: cloud kernels have no AHCI.
    if "scsi" in {disk, *([cdrom] if spec.cdroms else [])}:
        add(devices, "controller", type="scsi", model="virtio-scsi")
    made = _drive(devices, "disk", images[0], _UNSAFE)
    # Each file below with its format, to the last: libvirt opens what a header names otherwise, and a guest of an
    # image that is not qcow2 could have written that header.
    below = made
    for path, form in images[1:]:
        below = add(below, "backingStore", type="file")
        add(below, "format", type=form)
        add(below, "source", file=str(path))
    add(below, "backingStore")
    add(made, "target", dev=names.next(disk), bus=disk)
    add(made, "boot", order="1")
    for path in spec.cdroms:
        drive = _drive(devices, "cdrom", (path.absolute(), "raw"), {})
        add(drive, "target", dev=names.next(cdrom), bus=cdrom)
        add(drive, "readonly")
    return names


def add_usb(devices: ET.Element, spec: MachineSpec, sticks: Sequence[Path], names: Names) -> None:
    """xHCI, which Windows knows since 8 and Server 2012, where there is something to plug in. A stick says that it can
    be removed: else Windows looks for no answer file on it (facts: windows-images 3)."""
    needed = bool(sticks) or spec.hardware.usb_tablet
    add(devices, "controller", type="usb", model="qemu-xhci" if needed else "none")
    for path in sticks:
        drive = _drive(devices, "disk", (path, "raw"), {})
        add(drive, "target", dev=names.next("usb"), bus="usb", removable="on")
    if spec.hardware.usb_tablet:
        add(devices, "input", type="tablet", bus="usb")


def _drive(devices: ET.Element, device: str, image: tuple[Path, str], options: dict[str, str]) -> ET.Element:
    made = add(devices, "disk", type="file", device=device)
    add(made, "driver", name="qemu", type=image[1], **options)
    add(made, "source", file=str(image[0]))
    return made
