"""Which devices a Linux gets by the drivers that were seen, and what is said where it has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.hardware import CdromBus, Chipset, DiskBus, Hardware, NicModel
from aibemu.images import BaseImage, Generation, ImageInfo, Provisioning
from aibemu.images.linux import DriverFacts, LinuxFacts
from aibemu.systems.linux.system import LinuxSystem

ALL = DriverFacts(disks=tuple(DiskBus), cdroms=tuple(CdromBus), nics=tuple(NicModel))
INFO = ImageInfo(
    os_type="Linux", os_name="Debian", generation=Generation.V2, provisioning=Provisioning.AZURE, generalized=True,
    origin="test",
)  # fmt: skip


def info(drivers: DriverFacts, distribution: str = "debian 13") -> ImageInfo:
    return replace(INFO, linux=LinuxFacts(distribution=distribution, kernel="6.12", drivers=drivers))


@pytest.mark.parametrize(
    ("drivers", "expected"),
    [
        (ALL, Hardware()),
        (DriverFacts(unread="it is packed in another way"), Hardware()),
        (replace(ALL, disks=("ide", "sata", "nvme", "virtio-blk")), Hardware(disk=DiskBus.VIRTIO_BLK)),
        (DriverFacts(disks=("nvme",), cdroms=("sata",), nics=("e1000", "e1000e")),
         Hardware(disk=DiskBus.NVME, cdrom=CdromBus.SATA, nic=NicModel.E1000E)),
        (DriverFacts(disks=("sata",), cdroms=("ide",), nics=("e1000",)),
         Hardware(chipset=Chipset.PC, disk=DiskBus.SATA, cdrom=CdromBus.IDE, nic=NicModel.E1000)),
    ],
)  # fmt: skip
def test_the_best_that_it_has_drivers_for(drivers: DriverFacts, expected: Hardware) -> None:
    assert LinuxSystem().hardware(info(drivers)) == expected
    assert LinuxSystem().objection(info(drivers)) is None


def test_nothing_known_is_what_every_cloud_image_has() -> None:
    assert LinuxSystem().hardware(INFO) == Hardware() and LinuxSystem().objection(INFO) is None


def test_another_device_than_usual_is_told() -> None:
    made = info(DriverFacts(disks=("sata",), cdroms=("sata",), nics=("virtio-net",)))
    image = BaseImage(digest="0" * 64, path=Path(), virtual_size=1, file_size=1, created="", info=made)
    assert LinuxSystem().doubts(image) == [
        "its disk is sata: kernel 6.12 has no driver for virtio-scsi",
        "its CD-ROM drive is sata: kernel 6.12 has no driver for virtio-scsi",
    ]


@pytest.mark.parametrize(
    ("drivers", "distribution", "why", "what"),
    [
        (replace(ALL, disks=(), loadable=("virtio-scsi", "ide")), "debian 13",
         "its kernel and initramfs have no driver for any disk that a machine can have here (virtio-scsi: virtio_pci",
         "'%s\\n' virtio_pci virtio_scsi sd_mod >> /etc/initramfs-tools/modules; update-initramfs -u -k all"),
        (replace(ALL, disks=(), loadable=("sata",)), "rhel 9.4", "no driver for any disk",
         "dracut --force --add-drivers 'ahci sd_mod' --kver 6.12"),
        (replace(ALL, disks=()), "ubuntu 24.04", "no driver for any disk",
         "install a kernel that has more drivers (linux-image-generic)"),
        (replace(ALL, nics=()), "alpine 3", "it has no driver for any network card", "install a kernel that has more"),
        (replace(ALL, cdroms=()), "debian 12", "for any drive for the CD that sets it up", "(linux-image-amd64)"),
    ],
)  # fmt: skip
def test_without_a_driver_it_is_refused_with_the_way_to_add_one(
    drivers: DriverFacts, distribution: str, why: str, what: str
) -> None:
    made = info(drivers, distribution)
    assert why in (LinuxSystem().objection(made) or "")
    assert what in LinuxSystem().remedy(made)
