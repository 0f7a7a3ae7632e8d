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
    FIREWALL,
    LISTENER,
    NOTES,
    RULE,
    Looker,
    in_control_set,
    left,
    listens,
    noted_numbers,
    ours,
    see,
    task_keys,
)

if TYPE_CHECKING:
    from aibemu.disks.hives import WindowsDisk
    from aibemu.disks.regf_changes import ChangingHive

# Seconds, before scaling, for all of it: an opening may start a small machine.
BOUND = 180.0
_KEY = (
    r"the key of the build's certificate is still in ProgramData\Microsoft\Crypto, where nothing names it any more: "
    "the guest could not take it out itself"
)
# What leave.ps1 calls what is taken out here where it could not.
_MENDED_HERE = ("the listener", "the certificate", "the firewall rule", "the notes", "number:")
_NO_IMAGE = "start from an image of Windows; what became of this one is in the log of its steps: aibemu logs"


def seal_disk(disk: Path, user: str, deadline: Deadline) -> Sealed:
    """See `aibemu.systems.GuestSystem.seal`."""
    from aibemu.disks.hives import NoWindows, open_windows
    from aibemu.images.windows_boot import restore

    try:
        with open_windows(disk, "qcow2", deadline.within(BOUND), writable=True) as windows:
            _check(windows)
            mended = restore(windows)
            mine = ours(Looker(windows=windows))
            notes = [*mended.notes, *_left_in_it(windows.hive("SOFTWARE")), *([_KEY] if mine else [])]
            changes = [*map(str, mended.changes), *_remove_traces(windows, mine)]
            # Read before it is saved: readers see what is changed.
            findings, why = _judged(windows, user)
            windows.save()
    except NoWindows as error:
        raise GeneralizeFailed(f"the captured disk is no image: {error.message}", hint=_NO_IMAGE) from error
    return Sealed(changes=tuple(changes), findings=tuple(findings), notes=tuple(notes), unproven=why)


def look_at(disk: Path, user: str, deadline: Deadline) -> tuple[list[GeneralizeFinding], str]:
    """The proof alone: findings, and why some of it was not looked at. Raises what `open_windows` raises."""
    from aibemu.disks.hives import open_windows

    with open_windows(disk, "qcow2", deadline.within(BOUND)) as windows:
        return _judged(windows, user)


def _judged(windows: WindowsDisk, user: str) -> tuple[list[GeneralizeFinding], str]:
    from aibemu.images.windows_boot import restore

    # What it would change is what is wrong.
    seen = see(windows, user, lambda: restore(windows, change=False).drivers)
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


def _left_in_it(software: ChangingHive) -> list[str]:
    """What neither the guest's own script nor anybody here takes out."""
    return [
        f"{what} stays as the build left it: the guest could not take it out ({why})"
        for what, why in left(software) if not what.startswith(_MENDED_HERE)
    ]  # fmt: skip


def _put_back(software: ChangingHive, system: ChangingHive) -> list[str]:
    """Numbers of the registry as they were, by what setup.ps1 noted of them."""
    done = []
    for note, before in noted_numbers(software):
        hive, path = (software, note.path) if note.hive == "SOFTWARE" else (system, in_control_set(system, note.path))
        now = hive.number(path, note.name)
        what = f"HKLM\\{note.hive}\\{path}, {note.name}"
        if now is None or now == before:
            continue
        if before is None:
            hive.delete(path, note.name)
            done.append(f"{what}: deleted (was {now})")
        else:
            hive.set(path, note.name, before)
            done.append(f"{what}: {now} -> {before}, as it was before the build")
    return done


def _remove_traces(windows: WindowsDisk, mine: list[str]) -> list[str]:
    """Of the registry, what `seeing` calls the build's; each as people are told of it. mine: its certificates."""
    software, system = windows.hive("SOFTWARE"), windows.hive("SYSTEM")
    removed = []
    if listens(software, mine):
        software.delete(LISTENER)
        removed.append(f"HKLM\\SOFTWARE\\{LISTENER}: deleted, the listener of the build")
    removed += _put_back(software, system)
    keys = [*(f"{CERTIFICATES}\\{one}" for one in mine), *task_keys(software), NOTES]
    removed += [f"HKLM\\SOFTWARE\\{key}: deleted" for key in keys if software.delete(key)]
    removed += [
        f"HKLM\\SYSTEM\\{one}\\{FIREWALL}, {RULE}: deleted"
        for one in system.control_sets() if system.delete(f"{one}\\{FIREWALL}", RULE)
    ]  # fmt: skip
    return removed
