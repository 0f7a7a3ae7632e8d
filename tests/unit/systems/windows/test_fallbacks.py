from __future__ import annotations

from dataclasses import replace

import pytest

from aibemu.hardware import CdromBus, Chipset, DiskBus, NicModel
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.systems.traits import Trouble
from aibemu.systems.windows.fallbacks import other_hardware
from aibemu.testing.contract import WINDOWS

INFO = ImageInfo(
    os_type="Windows", os_name="Windows Server 2025", generation=Generation.V2, provisioning=Provisioning.UNKNOWN,
    generalized=True, origin="test",
)  # fmt: skip
NO_DISK = Trouble(crash="0x7B (0xFFFFF880009A97E8, 0xFFFFFFFFC0000034, 0x0, 0x0)")


def test_without_a_network_the_older_card_is_tried_once() -> None:
    other = other_hardware(INFO, WINDOWS, Trouble(no_network=True))
    assert other == replace(WINDOWS, nic=NicModel.E1000)
    assert other_hardware(INFO, other, Trouble(no_network=True)) is None


def test_a_disk_that_is_not_found_gets_another_controller_by_generation() -> None:
    old = replace(INFO, generation=Generation.V1)
    assert other_hardware(INFO, WINDOWS, NO_DISK) == replace(WINDOWS, disk=DiskBus.NVME)
    ide = replace(WINDOWS, chipset=Chipset.PC, disk=DiskBus.IDE, cdrom=CdromBus.IDE)
    assert other_hardware(old, WINDOWS, NO_DISK) == ide
    assert other_hardware(old, ide, NO_DISK) is None


@pytest.mark.parametrize(
    "crash", ["", "0x7B1 (0x0, 0x0, 0x0, 0x0)", "0xD1 (0x7B, 0x2, 0x0, 0x0)", "Attempted to kill init!"]
)
def test_other_crashes_are_not_the_devices_fault(crash: str) -> None:
    assert other_hardware(INFO, WINDOWS, Trouble(crash=crash)) is None
