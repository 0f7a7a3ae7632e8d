from __future__ import annotations

from dataclasses import replace
from typing import Any

from aibemu.engine.machines.devices import MOST_TRIED, Devices
from aibemu.hardware import Chipset, DiskBus, Hardware, NicModel
from aibemu.systems.traits import Trouble

TROUBLE = Trouble(no_network=True)
INFO: Any = None


class Chooser:
    """A system that always has another idea: the next of `ideas`, then the last one again and again."""

    def __init__(self, *ideas: Hardware | None) -> None:
        self.ideas = list(ideas)
        self.asked: list[Hardware] = []

    def hardware(self, info: object) -> Hardware:
        return Hardware()

    def other_hardware(self, info: object, hardware: Hardware, trouble: Trouble) -> Hardware | None:
        self.asked.append(hardware)
        return self.ideas.pop(0) if len(self.ideas) > 1 else self.ideas[0]


def test_first_come_those_that_the_system_chooses_and_then_its_next_idea() -> None:
    system: Any = Chooser(Hardware(nic=NicModel.E1000))
    assert Devices().chosen(system, INFO) == Hardware()
    after = Devices().after(system, INFO, TROUBLE)
    assert after is not None and after.chosen(system, INFO) == Hardware(nic=NicModel.E1000)
    assert after.tried == (Hardware(),) and system.asked == [Hardware()]


def test_nothing_is_tried_twice() -> None:
    for idea in (None, Hardware()):
        assert Devices().after(Chooser(idea), INFO, TROUBLE) is None  # type: ignore[arg-type]


def test_a_system_with_ideas_without_end_is_not_followed_without_end() -> None:
    system: Any = Chooser(*(Hardware(guest_ports=(port,)) for port in range(1, 100)))
    devices, started = Devices(), 1
    while after := devices.after(system, INFO, TROUBLE):
        devices, started = after, started + 1
    assert started == MOST_TRIED and len(devices.tried) == MOST_TRIED - 1


def test_what_is_different_is_said() -> None:
    old = Hardware(nic=NicModel.E1000E, disk=DiskBus.SATA)
    new = replace(old, nic=NicModel.E1000, chipset=Chipset.PC)
    change = Devices(hardware=new, tried=(Hardware(), old)).change()
    assert change == "chipset pc instead of the usual one, nic e1000 instead of e1000e"
