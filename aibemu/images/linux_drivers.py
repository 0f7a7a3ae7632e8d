"""Which devices a Linux has drivers for, by what its kernel has built in, and by its modules. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from aibemu.hardware import CdromBus, DiskBus, NicModel

_Device = TypeVar("_Device", bound=StrEnum)

# The drivers that each takes, by the names of the kernel's modules; what these need themselves is where they are.
DISKS: Mapping[DiskBus, tuple[str, ...]] = {
    DiskBus.VIRTIO_SCSI: ("virtio_pci", "virtio_scsi", "sd_mod"), DiskBus.VIRTIO_BLK: ("virtio_pci", "virtio_blk"),
    DiskBus.NVME: ("nvme",), DiskBus.SATA: ("ahci", "sd_mod"), DiskBus.IDE: ("ata_piix", "sd_mod"),
}  # fmt: skip
CDROMS: Mapping[CdromBus, tuple[str, ...]] = {
    CdromBus.VIRTIO_SCSI: ("virtio_pci", "virtio_scsi", "sr_mod"), CdromBus.SATA: ("ahci", "sr_mod"),
    CdromBus.IDE: ("ata_piix", "sr_mod"),
}  # fmt: skip
NICS: Mapping[NicModel, tuple[str, ...]] = {
    NicModel.VIRTIO: ("virtio_pci", "virtio_net"), NicModel.E1000E: ("e1000e",), NicModel.E1000: ("e1000",),
}  # fmt: skip
# One of them reads the CDs that a first boot takes.
_FILE_SYSTEMS = frozenset({"isofs", "udf"})
# What the configuration of a kernel calls the drivers; y: built in.
_OPTIONS: Mapping[str, str] = {
    "VIRTIO_PCI": "virtio_pci", "SCSI_VIRTIO": "virtio_scsi", "VIRTIO_BLK": "virtio_blk", "BLK_DEV_NVME": "nvme",
    "SATA_AHCI": "ahci", "ATA_PIIX": "ata_piix", "BLK_DEV_SD": "sd_mod", "BLK_DEV_SR": "sr_mod",
    "VIRTIO_NET": "virtio_net", "E1000": "e1000", "E1000E": "e1000e", "ISO9660_FS": "isofs", "UDF_FS": "udf",
}  # fmt: skip
_MODULE = re.compile(r"\.ko(?:\.(?:gz|xz|zst))?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """Names of modules, with `_` for `-`. builtin: part of the kernel; early: in its initramfs; all: on its root."""

    builtin: frozenset[str]
    early: frozenset[str]
    all: frozenset[str]

    @property
    def disks(self) -> tuple[DiskBus, ...]:
        """What the disk with the root may hang on."""
        return _which(DISKS, self.builtin | self.early)

    @property
    def loadable(self) -> tuple[DiskBus, ...]:
        """What it might hang on besides, were all of its modules in the initramfs."""
        return tuple(bus for bus in _which(DISKS, self._known()) if bus not in self.disks)

    @property
    def cdroms(self) -> tuple[CdromBus, ...]:
        known = self._known()
        return _which(CDROMS, known) if known & _FILE_SYSTEMS else ()

    @property
    def nics(self) -> tuple[NicModel, ...]:
        return _which(NICS, self._known())

    def _known(self) -> frozenset[str]:
        return self.builtin | self.early | self.all


def modules_in(paths: Iterable[str], kernel: str) -> frozenset[str]:
    """The modules of `kernel` among the paths of an initramfs or of a folder."""
    folder = f"lib/modules/{kernel}/"
    return frozenset(name for path in paths if folder in path and (name := _name(path)))


def modules_of(text: str) -> frozenset[str]:
    """Those of modules.builtin (a path a line) or modules.dep (a path, a colon, paths)."""
    return frozenset(name for line in text.splitlines() if (name := _name(line.partition(":")[0])))


def built_in(config: str) -> frozenset[str]:
    """Of the drivers that matter here, those that a kernel's configuration (/boot/config-VERSION) has as y."""
    found = re.findall(r"^CONFIG_(\w+)=y$", config, re.MULTILINE)
    return frozenset(_OPTIONS[option] for option in found if option in _OPTIONS)


def _name(path: str) -> str:
    """The module that a file is; "" for another file."""
    name = posixpath.basename(path.strip())
    return _MODULE.sub("", name).replace("-", "_") if _MODULE.search(name) else ""


def _which(table: Mapping[_Device, Sequence[str]], known: Collection[str]) -> tuple[_Device, ...]:
    return tuple(device for device, needed in table.items() if all(name in known for name in needed))
