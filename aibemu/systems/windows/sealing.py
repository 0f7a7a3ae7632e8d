"""Sealing a Windows disk that is off: drivers of Azure's hardware are loaded at boot again, and what let the build in,
and could not be taken out while it was used, is taken out of the registry. Files stay: they are told.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.clock import Deadline
from aibemu.disks import Unreadable
from aibemu.errors import GeneralizeFailed
from aibemu.systems.findings import GeneralizeFinding, Sealed
from aibemu.systems.windows.generalized import judge, unproven
from aibemu.systems.windows.seeing import (
    CERTIFICATES,
    FILTER,
    FIREWALL,
    LISTENER,
    NOTES,
    OUR_TASKS,
    POLICIES,
    RULE,
    TASKS,
    Looker,
    is_ours,
    ours,
    see,
)

if TYPE_CHECKING:
    from aibemu.disks.hives import WindowsDisk

# Seconds, before scaling, for all of it: an opening may start a small machine.
BOUND = 180.0
_NO_IMAGE = "start from an image of Windows; what became of this one is in the log of its steps: aibemu logs"


def seal_disk(disk: Path, user: str, deadline: Deadline) -> Sealed:
    """See `aibemu.systems.GuestSystem.seal`."""
    from aibemu.disks.hives import NoWindows, open_windows
    from aibemu.images.windows_boot import restore

    try:
        with open_windows(disk, "qcow2", deadline.within(BOUND), writable=True) as windows:
            _check(windows)
            mended = restore(windows)
            changes = [*map(str, mended.changes), *_remove_traces(windows)]
            # Read before it is saved: readers see what is changed.
            findings, why = _judged(windows, user)
            windows.save()
    except NoWindows as error:
        raise GeneralizeFailed(f"the captured disk is no image: {error.message}", hint=_NO_IMAGE) from error
    return Sealed(changes=tuple(changes), findings=tuple(findings), notes=mended.notes, unproven=why)


def look_at(disk: Path, user: str, deadline: Deadline) -> tuple[list[GeneralizeFinding], str]:
    """The proof alone: findings, and why some of it was not looked at. Raises what `open_windows` raises."""
    from aibemu.disks.hives import open_windows

    with open_windows(disk, "qcow2", deadline.within(BOUND)) as windows:
        return _judged(windows, user)


def _judged(windows: WindowsDisk, user: str) -> tuple[list[GeneralizeFinding], str]:
    from aibemu.images.windows_boot import restore

    # Nothing is written by it: what it would change is what is wrong.
    seen = see(windows, user, lambda: restore(windows).drivers)
    return list(judge(seen)), unproven(seen)


def _check(windows: WindowsDisk) -> None:
    """Raise `GeneralizeFailed` for a registry that no Windows boots from."""
    for name in ("SYSTEM", "SOFTWARE"):
        try:
            windows.hive(name).keys("")
        except Unreadable as error:
            raise GeneralizeFailed(
                f"the captured disk is no image that boots: {error.message}",
                hint="a step may have damaged the disk, or filled it: look at what it says, and build again",
            ) from error


def _remove_traces(windows: WindowsDisk) -> list[str]:
    """Of the registry, what `seeing` calls the build's; each as people are told of it."""
    looker = Looker(windows=windows)
    software, system = windows.hive("SOFTWARE"), windows.hive("SYSTEM")
    mine = ours(looker)
    removed = []
    if software.text(LISTENER, "certThumbprint").replace(" ", "").lower() in {one.lower() for one in mine}:
        software.delete(LISTENER)
        removed.append(f"HKLM\\SOFTWARE\\{LISTENER}: deleted, the listener of the build")
    if software.number(POLICIES, FILTER) and is_ours(software, FILTER):
        software.delete(POLICIES, FILTER)
        removed.append(f"HKLM\\SOFTWARE\\{POLICIES}, {FILTER}: deleted")
    keys = [f"{CERTIFICATES}\\{one}" for one in mine] + [f"{TASKS}\\{task}" for task in OUR_TASKS] + [NOTES]
    removed += [f"HKLM\\SOFTWARE\\{key}: deleted" for key in keys if software.delete(key)]
    removed += [
        f"HKLM\\SYSTEM\\{one}\\{FIREWALL}, {RULE}: deleted"
        for one in system.control_sets() if system.delete(f"{one}\\{FIREWALL}", RULE)
    ]  # fmt: skip
    return removed
