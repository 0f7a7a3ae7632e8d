"""Which devices a build gets by vmSize and security type, and what is said or refused before it starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from aibemu.engine.preparing.hardware import devices_for
from aibemu.engine.preparing.starts import Reuser
from aibemu.errors import HostNotReady
from aibemu.hardware import Chipset, DiskBus, Hardware, NicModel
from aibemu.hypervisor import Capabilities, Firmware
from aibemu.images import TRUSTED_LAUNCH, BaseImage, Generation, ImageInfo
from aibemu.images.linux import DriverFacts, LinuxFacts
from aibemu.layers.store import LayerStore
from aibemu.plan.model import DevicePlan, ResolvedImage
from aibemu.plan.planner import Host, make_plan
from aibemu.plan.reuse import Wish
from aibemu.settings import Settings
from aibemu.template.model import VmProfile
from aibemu.template.vm_sizes import nvme_only
from aibemu.testing.clock import FakeClock
from tests.unit.plan.test_planner import template
from tests.unit.systems.linux.test_linux_devices import ALL, INFO

CAN = Capabilities(boots_guests=True, screenshots=True, firmwares=frozenset(Firmware), trusted=True)
NEW = template(vm_profile=VmProfile(vm_size="Standard_D2s_v6"))
OLD = template(vm_profile=VmProfile(vm_size="Standard_D2s_v5"))


def source(info: ImageInfo, security: str = "") -> ResolvedImage:
    image = BaseImage(digest="ab" * 32, path=Path(), virtual_size=1, file_size=1, created="", info=info)
    return ResolvedImage(image=image, exact_version="1", source_id="a:b:c:1", plan=None, security=security)


def linux(drivers: DriverFacts) -> ImageInfo:
    return replace(INFO, linux=LinuxFacts(distribution="debian 13", drivers=drivers))


@pytest.mark.parametrize(
    ("size", "only"),
    [
        ("Standard_D2s_v6", True), ("standard_e4ads_v6", True), ("D8als_v7", True), ("Standard_F4as_v6", True),
        ("Standard_L8s_v4", True), ("Standard_D2s_v5", False), ("Standard_DC2as_v6", False), ("Standard_L8s_v3", False),
        ("Standard_E4bds_v5", False), ("Standard_D1_v2", False), ("", False),
    ],
)  # fmt: skip
def test_sizes_that_have_only_nvme(size: str, only: bool) -> None:
    assert nvme_only(size) is only


def test_such_a_size_has_an_nvme_disk_where_the_image_has_the_driver() -> None:
    made = devices_for(NEW, source(linux(ALL)), CAN, Settings())
    assert (made.hardware, made.fixed, made.notes) == (Hardware(disk=DiskBus.NVME), ("disk=nvme",), ())
    assert devices_for(OLD, source(linux(ALL)), CAN, Settings()).hardware == Hardware()


@pytest.mark.parametrize(
    ("info", "can", "why"),
    [
        (linux(replace(ALL, disks=("virtio-scsi",))), CAN, "has no driver for them and does not boot there"),
        (INFO, CAN, "whether the image has a driver for them is not known"),
        (linux(ALL), replace(CAN, disks=frozenset({DiskBus.VIRTIO_SCSI})), "the driver makes none here"),
        (replace(INFO, os_type="Windows"), CAN, "every Windows has a driver"),
    ],
)
def test_where_it_has_another_disk_that_is_said(info: ImageInfo, can: Capabilities, why: str) -> None:
    made = devices_for(NEW, source(info), can, Settings())
    assert made.hardware.disk is not DiskBus.NVME and made.fixed == ()
    assert why in made.notes[0] and made.notes[0].startswith("vmSize Standard_D2s_v6 has only NVMe disks in Azure")


def test_a_setting_wins() -> None:
    settings = Settings(hardware=("disk=sata", "nic=e1000"))
    made = devices_for(NEW, source(linux(ALL), TRUSTED_LAUNCH), CAN, settings)
    assert (made.hardware.disk, made.hardware.nic) == (DiskBus.SATA, NicModel.E1000)


def test_a_trusted_launch_image_has_secure_boot_and_a_tpm() -> None:
    made = devices_for(OLD, source(linux(ALL), TRUSTED_LAUNCH), CAN, Settings())
    assert made.hardware == Hardware(chipset=Chipset.Q35, secure_boot=True, tpm=True)
    assert "only TrustedLaunchSupported" in made.notes[0]
    supported = devices_for(OLD, source(linux(ALL), "TrustedLaunchSupported"), CAN, Settings())
    assert supported.hardware == Hardware()


@pytest.mark.parametrize(
    ("can", "generation", "why"),
    [
        (replace(CAN, trusted=False), Generation.V2, "this host lacks what its machines take"),
        (CAN, Generation.V1, "Secure Boot needs generation 2"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(can: Capabilities, generation: Generation, why: str) -> None:
    info = replace(linux(ALL), generation=generation)
    with pytest.raises(HostNotReady, match=why) as error:
        devices_for(OLD, source(info, TRUSTED_LAUNCH), can, Settings())
    assert "--security-type Standard" in (error.value.hint or "")


def test_a_machine_with_a_tpm_starts_from_no_layer(clock: FakeClock) -> None:
    """What its TPM held is in none; the driver would refuse to go on from one."""

    class Asked(Exception):
        pass

    class Layers:
        def get(self, *_: object) -> None:
            raise Asked

    reuser = Reuser(wish=Wish(), layers=cast("LayerStore", Layers()), clock=clock)
    plan = make_plan(
        OLD, template_id="t", staging_group="g", source=source(INFO), steps=[], validators=[], hypervisor=(),
        host=Host(cpus=2, memory_mib=4096), surroundings={},
        devices=DevicePlan(hardware=Hardware(tpm=True)),
    )  # fmt: skip
    assert reuser.choose(plan) is plan and reuser.again(plan, {}) is plan
    usual = replace(plan, machine=replace(plan.machine, devices=DevicePlan()))
    with pytest.raises(Asked):
        reuser.choose(usual)
