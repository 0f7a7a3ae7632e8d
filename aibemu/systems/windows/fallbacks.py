"""Other devices for a Windows that does not come up with those it has (facts: windows-images 1.4 and 9.1)."""

from __future__ import annotations

import re
from dataclasses import replace

from aibemu.hardware import CdromBus, Chipset, DiskBus, Hardware, NicModel
from aibemu.images import Generation, ImageInfo
from aibemu.systems.traits import Trouble

# Seconds, before scaling: a generalised Windows sets up its devices in its first minutes, restarts, and asks for an
# address both before and after that.
ADDRESS_WITHIN = 300.0
# INACCESSIBLE_BOOT_DEVICE: no driver for what the system disk hangs on is started with the system.
_NO_DISK = re.compile(r"0x0*7b\b", re.IGNORECASE)


def other_hardware(info: ImageInfo, hardware: Hardware, trouble: Trouble) -> Hardware | None:
    """See `aibemu.systems.GuestSystem.other_hardware`. The card that VirtualBox gives to every Windows; for a disk that
    is not found the other controller that Windows has a driver for: of generation 1 the old IDE, else NVMe."""
    if trouble.no_network and hardware.nic is NicModel.E1000E:
        return replace(hardware, nic=NicModel.E1000)
    if not (_NO_DISK.match(trouble.crash) and hardware.disk is DiskBus.SATA):
        return None
    if info.generation is Generation.V1:
        return replace(hardware, chipset=Chipset.PC, disk=DiskBus.IDE, cdrom=CdromBus.IDE)
    return replace(hardware, disk=DiskBus.NVME)
