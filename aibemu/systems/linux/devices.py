"""The devices that a Linux machine gets: those that its kernel has drivers for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TypeVar

from aibemu.hardware import CdromBus, Chipset, DiskBus, Hardware, NicModel
from aibemu.images.linux import LinuxFacts

_Device = TypeVar("_Device", bound=StrEnum)

# The best first: virtio is fastest, and NVMe the one that Azure has too.
DISKS = (DiskBus.VIRTIO_SCSI, DiskBus.VIRTIO_BLK, DiskBus.NVME, DiskBus.SATA, DiskBus.IDE)
CDROMS = (CdromBus.VIRTIO_SCSI, CdromBus.SATA, CdromBus.IDE)
NICS = (NicModel.VIRTIO, NicModel.E1000E, NicModel.E1000)
USUAL = Hardware()


def hardware(facts: LinuxFacts | None) -> Hardware:
    """What every cloud image has drivers for, where nothing else is known."""
    if facts is None or facts.drivers.unread:
        return USUAL
    drivers = facts.drivers
    found = replace(
        USUAL, disk=_first(DISKS, drivers.disks, USUAL.disk), cdrom=_first(CDROMS, drivers.cdroms, USUAL.cdrom),
        nic=_first(NICS, drivers.nics, USUAL.nic),
    )  # fmt: skip
    # The one with an IDE controller; UEFI boots on it, too.
    return replace(found, chipset=Chipset.PC) if DiskBus.IDE in (found.disk.value, found.cdrom.value) else found


def choices(chosen: Hardware) -> list[tuple[StrEnum, StrEnum]]:
    """Pairs of the usual device and the chosen one."""
    return [(USUAL.disk, chosen.disk), (USUAL.cdrom, chosen.cdrom), (USUAL.nic, chosen.nic)]


def _first(order: Sequence[_Device], known: Sequence[str], otherwise: _Device) -> _Device:
    return next((device for device in order if device.value in known), otherwise)
