"""Which devices the machines of a build get, before anything starts: what the image has drivers for, what the vmSize
has in Azure, and what the security type of the image asks for."""

from __future__ import annotations

from aibemu.errors import HostNotReady
from aibemu.hardware import DiskBus, overridden
from aibemu.hypervisor import Capabilities
from aibemu.images import TRUSTED_LAUNCH, Generation
from aibemu.plan.model import DevicePlan, ResolvedImage
from aibemu.settings import Settings
from aibemu.systems import for_image
from aibemu.template.model import Template
from aibemu.template.vm_sizes import nvme_only

# What a machine of a TrustedLaunch image has; the old chipset has none of it.
_TRUSTED = ("chipset=q35", "secure_boot=true", "tpm=true")


def devices_for(template: Template, source: ResolvedImage, can: Capabilities, settings: Settings) -> DevicePlan:
    """What they are and why. `HostNotReady` where this host lacks what the security type takes."""
    info, notes = source.image.info, list[str]()
    wanted: list[str] = []
    if nvme_only(template.vm_profile.vm_size):
        why = _no_nvme(source, can)
        wanted += [] if why else [f"disk={DiskBus.NVME}"]
        if why:
            notes.append(f"vmSize {template.vm_profile.vm_size} has only NVMe disks in Azure: {why}")
    if source.security == TRUSTED_LAUNCH:
        _check_trusted(source, can)
        wanted += _TRUSTED
        notes.append(
            "the image has the security type TrustedLaunch: its machines have Secure Boot and a TPM here; in Azure the "
            "service takes no source whose image definition has that type (only TrustedLaunchSupported)"
        )
    fixed = (*wanted, *settings.hardware)
    return DevicePlan(
        hardware=overridden(for_image(info).hardware(info), fixed), fixed=fixed, notes=tuple(notes)
    )  # fmt: skip


def _no_nvme(source: ResolvedImage, can: Capabilities) -> str | None:
    """Why the machine does not get the disk that it has in Azure; None when it does."""
    info = source.image.info
    if DiskBus.NVME not in can.disks:
        return "the driver makes none here, and the machine has another disk"
    if info.os_type == "Windows":
        return "here it has another disk, for which every Windows has a driver"
    drivers = info.linux.drivers if info.linux else None
    if drivers is not None and not drivers.unread and DiskBus.NVME not in drivers.disks:
        return "the image has no driver for them and does not boot there; here the machine has another disk"
    if drivers is None or drivers.unread:
        return "whether the image has a driver for them is not known, and the machine has another disk here"
    return None


def _check_trusted(source: ResolvedImage, can: Capabilities) -> None:
    name = source.source_id
    if source.image.info.generation is not Generation.V2:
        raise HostNotReady(
            f"{name} has the security type TrustedLaunch, and is of generation 1: Secure Boot needs generation 2",
            hint=f"aibemu images describe {source.image.short} --security-type Standard, or --generation V2",
        )
    if can.boots_guests and not can.trusted:
        raise HostNotReady(
            f"{name} has the security type TrustedLaunch, and this host lacks what its machines take: UEFI firmware "
            "with Secure Boot and Microsoft's keys (OVMF), or a TPM (swtpm)",
            hint="install them (packages ovmf and swtpm), or build it as another machine would be built: "
            f"aibemu images describe {source.image.short} --security-type Standard",
            commands=["aibemu doctor"],
        )
