"""Drivers that Windows loads when it boots: switched on, in every control set, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from aibemu.disks import Unreadable
from aibemu.disks.hives import WindowsDisk
from aibemu.disks.regf_changes import ChangingHive
from aibemu.images import windows_boot
from tests import windows_disks
from tests.unit.disks.test_regf import Bytes
from tests.windows_disks import Registry

ALL = tuple(windows_disks.DRIVERS)


class HiveDisk:
    """A disk that has a SYSTEM hive and drivers' files, and nothing else."""

    def __init__(self, registry: Registry, without: Sequence[str] = ()) -> None:
        windows_disks.need_tools()
        self.file = Bytes(windows_disks.hives(registry)["SYSTEM"])
        self.before = bytes(self.file.data)
        self.without = {f"windows\\system32\\drivers\\{name}.sys" for name in without}
        self.asked: list[str] = []

    def hive(self, name: str) -> ChangingHive:
        assert name == "SYSTEM"
        return ChangingHive(name, self.file)

    def exists(self, path: str) -> bool:
        self.asked.append(path)
        return path.lower() not in self.without

    @property
    def windows(self) -> WindowsDisk:
        return cast("WindowsDisk", self)


def said(mended: windows_boot.Mended) -> list[str]:
    return [str(change) for change in mended.changes]


def test_what_an_image_of_azure_needs() -> None:
    """Generation 2 of Azure: PCI comes by Hyper-V's bus there, and AHCI and IDE do not come at all."""
    off = {"pci": 3, "storahci": 3, "intelide": 3, "vmbus": 0, "storvsc": 0}
    disk = HiveDisk(Registry(control_sets=(1, 3), overrides=off, start={"stornvme": 3, "partmgr": 1}))
    planned = windows_boot.prepare(disk.windows, change=False)
    assert disk.file.data == disk.before, "planning changes nothing"
    done = windows_boot.prepare(disk.windows)
    assert said(done) == said(planned) == [
        f"SYSTEM\\ControlSet{number:03}\\Services\\{what}" for number in (1, 3) for what in (
            "pci\\StartOverride: deleted (was 0=3)", "storahci\\StartOverride: deleted (was 0=3)",
            "partmgr: Start 1 -> 0", "stornvme: Start 3 -> 0", "intelide\\StartOverride: deleted (was 0=3)",
        )
    ]  # fmt: skip
    assert done.drivers == ("pci", "storahci", "partmgr", "stornvme", "intelide")
    hive = disk.hive("SYSTEM")
    for control_set in ("ControlSet001", "ControlSet003"):
        services = f"{control_set}\\Services"
        assert [hive.number(f"{services}\\{name}", "Start") for name in ("pci", "storahci", "stornvme")] == [0, 0, 0]
        assert not hive.exists(f"{services}\\pci\\StartOverride")
        assert hive.value(f"{services}\\vmbus\\StartOverride", "0") == 0, "says the same as Start; it stays"
        assert hive.number(f"{services}\\e1i65x64", "Start") == 3, "other drivers are not touched"
    assert windows_boot.prepare(disk.windows).changes == ()


def test_nothing_is_changed_where_nothing_is_wrong() -> None:
    disk = HiveDisk(Registry(control_sets=(1, 2)))
    assert windows_boot.prepare(disk.windows) == windows_boot.restore(disk.windows) == windows_boot.Mended(changes=())
    assert disk.file.data == disk.before


def test_drivers_that_are_not_there_are_not_made() -> None:
    disk = HiveDisk(Registry(start=dict.fromkeys(("intelide", "pciide", "atapi", "stornvme"))))
    assert windows_boot.prepare(disk.windows).changes == ()
    assert not disk.hive("SYSTEM").exists("ControlSet001\\Services\\intelide")


def test_after_a_build_the_drivers_of_azure_are_switched_on_again() -> None:
    """A build on other hardware switches them off: the reverse trap."""
    disk = HiveDisk(
        Registry(control_sets=(1, 2), overrides={"vmbus": 3, "storvsc": 3, "vpci": 3, "pci": 3, "atapi": 3})
    )
    done = windows_boot.restore(disk.windows)
    assert set(done.drivers) == {"vmbus", "storvsc", "vpci", "pci", "atapi"} and len(done.changes) == 10
    assert windows_boot.restore(disk.windows).changes == windows_boot.prepare(disk.windows).changes == ()
    disk = HiveDisk(Registry(start={"vmbus": 3, "storvsc": 3, "vpci": 3, "storahci": 3}))
    services = "SYSTEM\\ControlSet001\\Services"
    expected = [f"{services}\\vmbus: Start 3 -> 0", f"{services}\\storvsc: Start 3 -> 0"]
    assert said(windows_boot.restore(disk.windows)) == expected


@pytest.mark.parametrize("driver", ["pci", "storahci", "volmgr"])
def test_a_driver_without_its_file_is_refused(driver: str) -> None:
    disk = HiveDisk(Registry(overrides={"disk": 3}), without=[driver])
    with pytest.raises(Unreadable, match=rf"the driver {driver} has no file: .*System32\\drivers\\{driver}\.sys"):
        windows_boot.prepare(disk.windows)
    assert disk.file.data == disk.before


@pytest.mark.parametrize("driver", ["vmbus", "storvsc"])
def test_azures_driver_without_its_file_is_refused_after_a_build(driver: str) -> None:
    disk = HiveDisk(Registry(), without=[driver, "pci"])
    with pytest.raises(Unreadable, match=rf"the driver {driver} has no file"):
        windows_boot.restore(disk.windows)
    assert disk.file.data == disk.before


def test_a_driver_that_is_not_needed_stays_off_without_its_file() -> None:
    """Switched on without a file it would keep Windows from booting."""
    disk = HiveDisk(Registry(overrides={"stornvme": 3, "vpci": 3, "pci": 3}), without=["stornvme", "vpci"])
    done = windows_boot.prepare(disk.windows)
    assert done.drivers == ("pci",)
    assert [note.partition(":")[0] for note in done.notes] == [
        "the driver stornvme is left switched off", "the driver vpci is left switched off",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("\\\\SystemRoot\\\\System32\\\\drivers\\\\own.sys", "Windows\\System32\\drivers\\own.sys"),
        ("system32\\\\DRIVERS\\\\own.sys", "Windows\\system32\\DRIVERS\\own.sys"),
        ("%SystemRoot%\\\\x.sys", "Windows\\x.sys"), ("D:\\\\WINDOWS\\\\x.sys", "Windows\\x.sys"),
        ("\\\\??\\\\d:\\\\Windows\\\\x.sys", "Windows\\x.sys"), ("\\\\Windows\\\\x.sys", "Windows\\x.sys"),
        ("windows\\\\x.sys", "Windows\\windows\\x.sys"), ("\\\\??\\\\C:\\\\Windows\\\\x.sys", "Windows\\x.sys"),
        ("", "Windows\\System32\\drivers\\pci.sys"), ("..\\\\..\\\\x.sys", "..\\x.sys"),
    ],
)  # fmt: skip
def test_where_the_file_of_a_driver_is(path: str, file: str) -> None:
    more = {"SYSTEM": f'[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Services\\pci]\n"ImagePath"="{path}"\n\n'}
    disk = HiveDisk(Registry(more=more))
    windows_boot.prepare(disk.windows, change=False)
    assert file in disk.asked


def test_filters_of_others_are_reported() -> None:
    key = "[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Control\\Class\\"
    texts = {"own": "70,00,61,00,72,00,74,00,6d,00,67,00,72,00", "other": "61,00,63,00,6d,00,65,00"}
    more = (
        f'{key}{{4d36e967-e325-11ce-bfc1-08002be10318}}]\n"UpperFilters"=hex(7):{texts["other"]},00,00,{texts["own"]},00,00,00,00\n\n'
        f'{key}{{71a27cdd-812a-11d0-bec7-08002be2092f}}]\n"LowerFilters"=hex(7):{texts["other"]},00,00,00,00\n\n'
    )
    disk = HiveDisk(Registry(more={"SYSTEM": more}))
    assert windows_boot.foreign_filters(disk.windows) == ("DiskDrive: acme", "Volume: acme")
    assert windows_boot.foreign_filters(HiveDisk(Registry()).windows) == ()


def test_a_hive_without_control_sets_is_told() -> None:
    disk = HiveDisk(Registry(control_sets=()))
    with pytest.raises(Unreadable, match="it has no control set"):
        windows_boot.prepare(disk.windows)
