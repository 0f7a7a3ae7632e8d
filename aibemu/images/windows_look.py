"""Looking at a Windows on a disk that is off: what it is, and what of it matters to a build."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.disks import Unreadable
from aibemu.disks.hives import WindowsDisk, open_windows
from aibemu.disks.regf import Hive
from aibemu.images import ImageInfo, windows_boot
from aibemu.images.windows import WindowsFacts
from aibemu.images.windows_answers import waiting

_VERSION = "Microsoft\\Windows NT\\CurrentVersion"
_STATE = "Microsoft\\Windows\\CurrentVersion\\Setup\\State"
_LONGEST, _MOST = 200, 20  # letters of a text, and how many filters, that are kept of what is on the disk
_FIRST_WINDOWS_11 = 22000  # its ProductName still says Windows 10
_AGENTS = (
    "RdAgent", "WindowsAzureGuestAgent", "WindowsAzureTelemetryService", "WindowsAzureNetAgentSvc", "cloudbase-init",
    "cloudbase-init-unattend",
)  # fmt: skip
# Left by provisioning agents and makers of images; Setup runs the first ones at its end.
_SCRIPTS = (
    "Windows\\Setup\\Scripts\\SetupComplete.cmd", "Windows\\Setup\\Scripts\\ErrorHandler.cmd",
    "Windows\\OEM\\SetupComplete.cmd", "Windows\\OEM\\SetupComplete2.cmd", "Windows\\OEM\\ErrorHandler.cmd",
    "Windows\\OEM\\Unattend.wsf",
)  # fmt: skip


def look(windows: WindowsDisk) -> tuple[WindowsFacts, tuple[str, ...]]:
    """What is on the disk, and what could not be read of it, in sentences. Raises `Unreadable` when its registry is."""
    software, system = windows.hive("SOFTWARE"), windows.hive("SYSTEM")
    answers, notes = waiting(windows)
    unprepared: tuple[str, ...] = ()
    try:
        unprepared = windows_boot.prepare(windows, change=False).drivers
    except Unreadable as error:
        notes.append(f"it will not boot here: {error.message}")
    notes += _open_ends(windows, software, system)
    build = software.text(_VERSION, "CurrentBuildNumber") or software.text(_VERSION, "CurrentBuild")
    number = int(build) if build.isascii() and build.isdigit() and len(build) < 10 else 0
    edition = software.text(_VERSION, "EditionID")
    facts = WindowsFacts(
        product=_product(software, number)[:_LONGEST],
        edition=edition[:_LONGEST],
        build=number,
        revision=software.number(_VERSION, "UBR") or 0,
        installation=software.text(_VERSION, "InstallationType")[:_LONGEST],
        evaluation=edition.lower().endswith("eval"),
        image_state=software.text(_STATE, "ImageState")[:_LONGEST],
        agents=_agents(system),
        answer_files=tuple(map(str, answers)),
        setup_scripts=tuple(path for path in _SCRIPTS if windows.exists(path)),
        unprepared=unprepared,
        filters=tuple(name[:_LONGEST] for name in windows_boot.foreign_filters(windows)[:_MOST]),
    )
    return facts, tuple(notes)


def refreshed(info: ImageInfo, disk: Path, deadline: Deadline) -> ImageInfo:
    """`info` with what the disk (qcow2, off) says now; nothing is known of a Windows that cannot be read."""
    try:
        with open_windows(disk, "qcow2", deadline) as windows:
            facts, _ = look(windows)
    except Unreadable:
        return replace(info, windows=None)
    return with_facts(info, facts)


def with_facts(info: ImageInfo, facts: WindowsFacts) -> ImageInfo:
    """`info`, with what was read of the Windows that it is of."""
    return replace(info, windows=facts, os_name=facts.product or info.os_name, generalized=facts.generalized)


def _product(software: Hive, build: int) -> str:
    name = software.text(_VERSION, "ProductName")
    if build >= _FIRST_WINDOWS_11 and software.text(_VERSION, "InstallationType") == "Client":
        return name.replace("Windows 10", "Windows 11")
    return name


def _open_ends(windows: WindowsDisk, software: Hive, system: Hive) -> list[str]:
    """What says that the disk is not as Windows left it when it was shut down."""
    found = []
    if windows.asleep:
        found.append("Windows is hibernated on it (fast startup): it goes on from there, on hardware that is not there")
    elif windows.dirty:
        found.append("Windows was not shut down properly on it: its NTFS volume was not closed")
    found += [
        f"the registry hive {hive.name} was not closed properly: its newest changes are only in its log, and not read"
        for hive in (software, system)
        if hive.dirty
    ]
    return found


def _agents(system: Hive) -> tuple[str, ...]:
    """By the control set that is in use; their keys differ in case between versions."""
    services = f"{system.control_set()}\\Services"
    return tuple(name for name in _AGENTS if system.number(f"{services}\\{name}", "Start") is not None)
