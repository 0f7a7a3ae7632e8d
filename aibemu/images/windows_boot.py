"""Which drivers Windows loads when it boots: mended on a disk that is off, so that other hardware can boot it.

Windows loads a driver at boot if the key of its service has `Start` = 0 and no `StartOverride` says otherwise. It
writes such overrides itself, for drivers that the machine of the last boot did not need: an image from Hyper-V or Azure
then ends with stop code 0x7B on a machine with AHCI, and an image that was built here would do the same on Azure.

Only keys that are there are changed, in every control set, as CurrentControlSet alone is not enough (facts:
windows-images 1.2 and 9.1).
"""

from __future__ import annotations

import ntpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aibemu.disks import Unreadable
from aibemu.disks.hives import WindowsDisk
from aibemu.disks.regf import Hive

# Without these no machine here boots a Windows; the second ones are for other ways to a disk.
_ESSENTIAL = ("acpi", "pci", "storahci", "disk", "partmgr", "volmgr", "mountmgr")
_MORE = ("stornvme", "intelide", "pciide", "atapi", "storport")
# By which a machine of Hyper-V and of Azure reaches its disk; `vpci` is the bus of its NVMe disks.
_AZURE = ("vmbus", "storvsc")
_AZURE_BUS = ("vpci",)
# Classes whose filter drivers are loaded with each disk, and the filters that Windows itself has there.
_CLASSES = {
    "DiskDrive": "{4d36e967-e325-11ce-bfc1-08002be10318}", "HDC": "{4d36e96a-e325-11ce-bfc1-08002be10318}",
    "SCSIAdapter": "{4d36e97b-e325-11ce-bfc1-08002be10318}", "System": "{4d36e97d-e325-11ce-bfc1-08002be10318}",
    "Volume": "{71a27cdd-812a-11d0-bec7-08002be2092f}",
}  # fmt: skip
# How a path of a file of Windows may begin, whatever letter its drive has.
_BEFORE = re.compile(r"\A(?:\\systemroot|%systemroot%|(?:\\\?\?\\)?[a-z]:\\windows|\\windows)\\", re.IGNORECASE)
# Of the rules here: another one when they do something else with the same drivers.
_VERSION = 1
_OWN_FILTERS = frozenset({"partmgr", "ehstorclass", "volsnap", "fvevol", "iorate", "rdyboost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of the registry. before and after as people write them: `3`, `0=3`, `none`."""

    control_set: str
    driver: str
    # `Start`, or `StartOverride`, which is deleted.
    name: str
    before: str
    after: str

    def __str__(self) -> str:
        key = f"SYSTEM\\{self.control_set}\\Services\\{self.driver}"
        if self.name == "Start":
            return f"{key}: Start {self.before} -> {self.after}"
        return f"{key}\\StartOverride: deleted (was {self.before})"

    def as_json(self) -> dict[str, str | None]:
        return {
            "controlSet": self.control_set, "driver": self.driver, "name": self.name, "before": self.before,
            "after": self.after or None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """changes: what was changed, or would be. notes: what was left as it is, and why, in sentences."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()

    @property
    def drivers(self) -> tuple[str, ...]:
        """Which drivers are concerned, each once."""
        return tuple(dict.fromkeys(change.driver for change in self.changes))

    @property
    def is_needed(self) -> bool:
        """Whether a driver is concerned without which no machine here boots a Windows."""
        return any(driver in _ESSENTIAL for driver in self.drivers)


def prepare(windows: WindowsDisk, *, change: bool = True) -> Mended:
    """Let a Windows that is off boot on the hardware that aibemu gives it; `windows.save` writes it.

    change: False only says what would be changed. Does nothing where nothing is wrong. Raises `Unreadable` with the
    reason for a Windows that lacks the file of a driver that it needs, or has a damaged registry.
    """
    return _mend(windows, on=(*_ESSENTIAL, *_MORE), allowed=(*_AZURE, *_AZURE_BUS), needed=_ESSENTIAL, change=change)


def restore(windows: WindowsDisk, *, change: bool = True) -> Mended:
    """After a build, on the disk that was captured: let it boot on Hyper-V and Azure again. As `prepare`."""
    allowed = (*_ESSENTIAL, *_MORE, *_AZURE_BUS)
    return _mend(windows, on=_AZURE, allowed=allowed, needed=_AZURE, change=change)


def rules() -> str:
    """What `prepare` does, as a text that changes when it does something else."""
    return f"drivers {_VERSION}: {' '.join((*_ESSENTIAL, *_MORE))}; {' '.join((*_AZURE, *_AZURE_BUS))}"


def foreign_filters(windows: WindowsDisk) -> tuple[str, ...]:
    """Filter drivers of disks and volumes that are not Windows' own, as `DiskDrive: acme`; each once."""
    hive = windows.hive("SYSTEM")
    found = []
    for control_set in hive.control_sets():
        for kind, guid in _CLASSES.items():
            for name in ("UpperFilters", "LowerFilters"):
                value = hive.value(f"{control_set}\\Control\\Class\\{guid}", name)
                names = value if isinstance(value, list) else []
                found += [f"{kind}: {filter_}" for filter_ in names if filter_.lower() not in _OWN_FILTERS]
    return tuple(dict.fromkeys(found))


def _mend(
    windows: WindowsDisk, *, on: Sequence[str], allowed: Sequence[str], needed: Sequence[str], change: bool
) -> Mended:
    """on: drivers that must be loaded. allowed: drivers that nothing must keep from it. needed: those of `on` without
    whose file there is no boot."""
    hive = windows.hive("SYSTEM")
    control_sets = hive.control_sets()
    if not control_sets:
        raise Unreadable("the registry hive SYSTEM is damaged: it has no control set")
    changes: list[Change] = []
    notes: list[str] = []
    for control_set in control_sets:
        for driver in (*on, *allowed):
            found = _changes(hive, control_set, driver, start=driver in on)
            path = _file(hive, control_set, driver)
            if path is not None and not windows.exists(path):
                if driver in needed:
                    raise Unreadable(
                        f"the driver {driver} has no file: there is no \\{path}",
                        hint="mend the image where it was made, or take another one",
                    )
                if found:
                    notes.append(f"the driver {driver} is left switched off: there is no \\{path}")
            else:
                changes += found
    for done in changes if change else ():
        key = f"{done.control_set}\\Services\\{done.driver}"
        if done.name == "Start":
            hive.set(key, "Start", 0)
        else:
            hive.delete(f"{key}\\StartOverride")
    return Mended(changes=tuple(changes), notes=tuple(dict.fromkeys(notes)))


def _changes(hive: Hive, control_set: str, driver: str, *, start: bool) -> Iterable[Change]:
    key = f"{control_set}\\Services\\{driver}"
    now = hive.number(key, "Start")
    found = []
    if start and now:
        found.append(Change(control_set=control_set, driver=driver, name="Start", before=str(now), after="0"))
    overrides = {name: hive.value(f"{key}\\StartOverride", name) for name in hive.names(f"{key}\\StartOverride") or ()}
    # 0 says the same as Start = 0; Azure's images have that for the drivers of Hyper-V.
    if any(value != 0 for value in overrides.values()):
        said = ", ".join(f"{name}={_said(value)}" for name, value in overrides.items())
        found.append(Change(control_set=control_set, driver=driver, name="StartOverride", before=said, after=""))
    return found


def _said(value: object) -> str:
    return str(value) if isinstance(value, int) else "no number"


def _file(hive: Hive, control_set: str, driver: str) -> str | None:
    """Where the file of a driver is, without the drive; None if there is no such driver."""
    key = f"{control_set}\\Services\\{driver}"
    if hive.number(key, "Start") is None:
        return None
    path = hive.text(key, "ImagePath").strip('" ') or f"System32\\drivers\\{driver}.sys"
    return ntpath.normpath(f"Windows\\{_BEFORE.sub('', path)}")
