"""The devices that a Windows machine gets: its version brings the drivers for them (facts: windows-images 9.1)."""

from __future__ import annotations

from aibemu.hardware import CdromBus, Chipset, DiskBus, Hardware, NicModel
from aibemu.images.windows import WindowsFacts

# The build of Server 2022, the last that e1000 was seen to work with.
LAST_OF_E1000 = 20348


def hardware(facts: WindowsFacts | None) -> Hardware:
    """AHCI for disk and CD, Intel's network cards, a tablet, Hyper-V's interfaces. Virtualization is hidden: Windows
    would start a hypervisor of its own on it. No TPM: only the installation of Windows asks for one."""
    return Hardware(
        chipset=Chipset.Q35, disk=DiskBus.SATA, cdrom=CdromBus.SATA, nic=_nic(facts), usb_tablet=True, hyperv=True,
        nested=False,
    )  # fmt: skip


def _nic(facts: WindowsFacts | None) -> NicModel:
    """e1000 where nothing is known: VirtualBox gives it to every Windows."""
    newer = facts is not None and facts.build and (facts.is_client or facts.build > LAST_OF_E1000)
    return NicModel.E1000E if newer else NicModel.E1000
