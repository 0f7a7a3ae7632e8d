"""The devices that a machine has: a value that a guest's operating system chooses and a hypervisor driver makes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any


class Chipset(StrEnum):
    """PC: i440FX with an IDE controller. Q35: ICH9 with an AHCI (SATA) controller."""

    PC = "pc"
    Q35 = "q35"


class DiskBus(StrEnum):
    """What the system disk hangs on. SATA is AHCI; IDE only with `Chipset.PC`."""

    VIRTIO_SCSI = "virtio-scsi"
    VIRTIO_BLK = "virtio-blk"
    SATA = "sata"
    IDE = "ide"
    NVME = "nvme"


class CdromBus(StrEnum):
    """What CD-ROM drives hang on; as `DiskBus`."""

    VIRTIO_SCSI = "virtio-scsi"
    SATA = "sata"
    IDE = "ide"


class NicModel(StrEnum):
    """The network card. E1000: Intel 82540EM. E1000E: Intel 82574L."""

    VIRTIO = "virtio-net"
    E1000 = "e1000"
    E1000E = "e1000e"


class Video(StrEnum):
    """The screen. STD: plain VGA, for which every system has a driver. NONE: no screen, and so no screenshots."""

    STD = "std"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The devices of a machine: those that its guest has drivers for. The defaults are what a Linux cloud image wants.

    `HypervisorDriver.create` raises `ProvisionFailed` for what the driver cannot make, never makes something else.
    """

    # None: what boots the machine's firmware fastest.
    chipset: Chipset | None = None
    disk: DiskBus = DiskBus.VIRTIO_SCSI
    cdrom: CdromBus = CdromBus.VIRTIO_SCSI
    nic: NicModel = NicModel.VIRTIO
    video: Video = Video.STD
    # A pointing device with absolute positions, on a USB controller.
    usb_tablet: bool = False
    # Whether the CPU shows Hyper-V's interfaces, all that Windows wants. An emulated CPU shows no hypervisor then.
    hyperv: bool = False
    # Whether the CPU shows its own virtualization (vmx, svm): Windows starts a hypervisor of its own on it.
    nested: bool = True
    # A TPM 2.0 of the machine's own; what it holds is lost with the machine.
    tpm: bool = False
    # Whether the firmware starts only what Microsoft has signed: UEFI alone.
    secure_boot: bool = False
    # TCP ports of the guest that `Machine.endpoint` must make reachable.
    guest_ports: tuple[int, ...] = (22,)


def overridden(hardware: Hardware, texts: Iterable[str]) -> Hardware:
    """`hardware` with other devices, each as KEY=VALUE: `nic=e1000`, `tpm=true`. ValueError for what is none."""
    changed: dict[str, Any] = {}
    for text in texts:
        key, _, value = text.partition("=")
        if key not in _KINDS:
            raise ValueError(f"there is no {key!r}; known: {', '.join(_KINDS)}")
        if value not in _KINDS[key]:
            raise ValueError(f"{key} must be one of {', '.join(_KINDS[key])}")
        changed[key] = _KINDS[key][value]
    return replace(hardware, **changed)


def _kinds() -> dict[str, dict[str, Any]]:
    """The values that each device can have, by how they are written."""
    enums = {"chipset": Chipset, "disk": DiskBus, "cdrom": CdromBus, "nic": NicModel, "video": Video}
    flags = {one.name: {"true": True, "false": False} for one in fields(Hardware) if isinstance(one.default, bool)}
    return {**{name: {one.value: one for one in kinds} for name, kinds in enums.items()}, **flags}


_KINDS = _kinds()
