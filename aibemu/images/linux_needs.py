"""What a Linux image lacks for a build, in sentences for people: `images import`, `images show`, `plan`, `run`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from aibemu.hardware import CdromBus, DiskBus, NicModel
from aibemu.images import ImageInfo
from aibemu.images.linux import DriverFacts, LinuxFacts
from aibemu.images.linux_drivers import CDROMS, DISKS, NICS
from aibemu.images.needs import Need

_INITRAMFS_TOOLS = ("debian", "ubuntu")
# A kernel with drivers for more than one cloud.
_KERNELS = {"debian": "linux-image-amd64", "ubuntu": "linux-image-generic"}


def objection(info: ImageInfo) -> str | None:
    """Why it can never come up here by its drivers, in words that follow "cannot be booted: "; None when it may."""
    drivers = _drivers(info)
    if drivers is None:
        return None
    what = (
        ("disk", drivers.disks, "its kernel and initramfs have", DISKS), ("network card", drivers.nics, "it has", NICS),
        ("drive for the CD that sets it up", drivers.cdroms, "it has", CDROMS),
    )  # fmt: skip
    for name, found, who, table in what:
        if not found:
            wanted = "; ".join(f"{device}: {', '.join(modules)}" for device, modules in table.items())
            return f"{who} no driver for any {name} that a machine can have here ({wanted})"
    return None


def remedy(info: ImageInfo) -> str | None:
    """What to do about `objection`; None when there is none."""
    facts, drivers = info.linux, _drivers(info)
    if facts is None or drivers is None or objection(info) is None:
        return None
    name = facts.distribution.partition(" ")[0]
    if not drivers.disks and drivers.loadable:
        modules = " ".join(DISKS[DiskBus(drivers.loadable[0])])
        return f"boot it where it was made, and put the drivers into its initramfs: {_command(name, modules, facts)}"
    other = f" ({_KERNELS[name]})" if name in _KERNELS else ""
    return f"boot it where it was made, install a kernel that has more drivers{other}, and import it again"


def needs(info: ImageInfo) -> list[Need]:
    """All that is wrong with it for a build."""
    why, what = objection(info), remedy(info)
    return [Need(text=why, hint=what)] if why and what else []


def unusual(usual: Iterable[tuple[StrEnum, StrEnum]], facts: LinuxFacts | None) -> list[str]:
    """A sentence for each device that is another than usual: pairs of that and what it gets."""
    kernel = f"kernel {facts.kernel}" if facts and facts.kernel else "its kernel"
    return [
        f"its {_WORDS[type(now)]} is {now}: {kernel} has no driver for {before}"
        for before, now in usual if before != now
    ]  # fmt: skip


_WORDS: dict[type, str] = {DiskBus: "disk", CdromBus: "CD-ROM drive", NicModel: "network card"}


def _drivers(info: ImageInfo) -> DriverFacts | None:
    """When all of them are known."""
    return info.linux.drivers if info.linux is not None and not info.linux.drivers.unread else None


def _command(distribution: str, modules: str, facts: LinuxFacts) -> str:
    if distribution in _INITRAMFS_TOOLS:
        lines: Sequence[str] = modules.split()
        return f"printf '%s\\n' {' '.join(lines)} >> /etc/initramfs-tools/modules; update-initramfs -u -k all"
    return f"dracut --force --add-drivers '{modules}' --kver {facts.kernel}"
