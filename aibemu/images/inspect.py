"""What a disk image is, without booting or mounting it: generation, operating system, how its first boot is configured.

A Windows is looked into where it is, in any format; for Linux, formats with tables of their own are laid out first.

A file from outside is refused when it refers to other files: converting it would copy them into the image.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.disks import Unreadable, convert
from aibemu.disks.guestfs import GuestFiles, find_root
from aibemu.disks.hives import WindowsDisk, find_windows
from aibemu.disks.nbd import DiskBytes
from aibemu.disks.partitions import (
    BITLOCKER,
    BTRFS,
    EXT,
    LVM,
    NTFS,
    REFS,
    XFS,
    Table,
    file_system,
    file_system_at,
    partitions,
    table_of,
)  # fmt: skip
from aibemu.disks.standalone import check_alone
from aibemu.errors import UsageError
from aibemu.images import Generation, Provisioning
from aibemu.images.windows import WindowsFacts
from aibemu.images.windows_look import look
from aibemu.yaml_places import load

_LINUX = frozenset({XFS, BTRFS, LVM})
_FIRST_USER, _LAST_USER = 1000, 60000  # login.defs: people, not system accounts or nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFacts:
    """What could be seen. generation: the one it is for; generations: all it can boot as.

    os_type is Linux, Windows, or "" when nothing was recognised; notes are for people. windows: None too for a Windows
    that could not be read; then `unread` says why, as it does when there is no system.
    """

    format: str
    virtual_size: int
    table: str
    generation: Generation
    generations: tuple[Generation, ...]
    os_type: str
    os_name: str
    provisioning: Provisioning
    generalized: bool
    notes: tuple[str, ...] = ()
    windows: WindowsFacts | None = None
    unread: str = ""


def inspect(path: Path, *, scratch: Path, deadline: Deadline, format: str | None = None) -> DiskFacts:
    """Look into a stand-alone disk image. scratch: a folder for a temporary raw view.

    UsageError if it needs other files, is not a disk image, or cannot be read.
    """
    disk = convert.info(path, deadline=deadline, format=format)
    check_alone(path, disk.references)
    if found := _windows(disk, deadline):
        return found
    if disk.flat:
        return _look(disk, path, deadline)
    scratch.mkdir(parents=True, exist_ok=True)
    convert.ensure_space(scratch, convert.needed(disk, deadline=deadline), "looking into the image")
    view = scratch / f"view.{secrets.token_hex(4)}.partial"
    try:
        convert.to_raw(disk, view, deadline=deadline)
        return _look(disk, view, deadline)
    finally:
        view.unlink(missing_ok=True)


def _look(disk: convert.DiskInfo, raw: Path, deadline: Deadline) -> DiskFacts:
    table = partitions(raw)
    if table.kind == "none" and file_system(raw, 0) is None:
        raise UsageError(
            f"{disk.path} is not the image of a disk: no partition table and no file system found",
            hint="give its format with --format if it is neither raw nor a format with a header of its own",
        )
    os_type, os_name, provisioning, generalized, notes = _system(raw, table, deadline)
    return _facts(disk, table, os_type, os_name, provisioning, generalized, notes)


def _facts(
    disk: convert.DiskInfo, table: Table, os_type: str, os_name: str, provisioning: Provisioning, generalized: bool,
    notes: tuple[str, ...], *, windows: WindowsFacts | None = None, unread: str = "",
) -> DiskFacts:  # fmt: skip
    return DiskFacts(
        format=disk.format, virtual_size=disk.virtual_size, table=table.kind, generation=_generations(table)[0],
        generations=_generations(table), os_type=os_type, os_name=os_name, provisioning=provisioning,
        generalized=generalized, notes=(*notes, *table.troubles), windows=windows, unread=unread,
    )  # fmt: skip


def _windows(disk: convert.DiskInfo, deadline: Deadline) -> DiskFacts | None:
    """What is on a disk with an NTFS volume, unless it has a Linux too; None for any other disk."""
    try:
        with DiskBytes(disk, deadline) as opened:
            table = table_of(opened.read, opened.size)
            kinds = {file_system_at(opened.read, part.start) for part in table.candidates}
            if EXT in kinds or not (kinds & {NTFS, BITLOCKER, REFS} or (table.troubles and not kinds & _LINUX)):
                return None
            return _windows_volume(disk, opened, table)
    except Unreadable:
        return None  # whoever reads it in another way says why


def _windows_volume(disk: convert.DiskInfo, opened: DiskBytes, table: Table) -> DiskFacts:
    os_type, unknown = "", Provisioning.UNKNOWN
    try:
        found = WindowsDisk(opened, find_windows(opened, table), table)
        os_type = "Windows"
        facts, notes = look(found)
    except Unreadable as error:
        return _facts(disk, table, os_type, os_type or "unknown", unknown, True, (), unread=error.message)
    name = facts.product or "Windows"
    return _facts(disk, table, os_type, name, unknown, facts.generalized, notes, windows=facts)


def _generations(table: Table) -> tuple[Generation, ...]:
    """V2 boots UEFI: a GPT with an EFI system partition; with a BIOS boot partition too, it boots both ways."""
    if table.kind != "gpt" or not any(part.efi for part in table.partitions):
        return (Generation.V1,)
    return (Generation.V2, Generation.V1) if any(part.bios for part in table.partitions) else (Generation.V2,)


def _system(raw: Path, table: Table, deadline: Deadline) -> tuple[str, str, Provisioning, bool, tuple[str, ...]]:
    if root := find_root(raw, deadline):
        with GuestFiles(raw, root.start, deadline=deadline) as files:
            generalized, notes = _generalized(files)
            return "Linux", os_name(files), provisioning(files), generalized, notes
    kinds = {file_system(raw, part.start) for part in table.candidates}
    if kinds & _LINUX:
        names = ", ".join(sorted(kind for kind in kinds & _LINUX if kind))
        note = f"its root file system ({names}) cannot be read here: taken for a generalised Linux with cloud-init"
        return "Linux", "Linux", Provisioning.UNKNOWN, True, (note,)
    return "", "unknown", Provisioning.UNKNOWN, True, ("no operating system was recognised",)


def os_name(files: GuestFiles) -> str:
    """PRETTY_NAME of /etc/os-release, else NAME and VERSION_ID, else `Linux`."""
    values = dict(re.findall(r"^([A-Z_]+)=[\"']?(.*?)[\"']?$", files.read("/etc/os-release") or "", re.MULTILINE))
    return (
        values.get("PRETTY_NAME") or " ".join(filter(None, (values.get("NAME"), values.get("VERSION_ID")))) or "Linux"
    )


def provisioning(files: GuestFiles) -> Provisioning:
    """NOCLOUD if cloud-init is there and its datasource_list allows NoCloud; AZURE if it only waits for Azure.

    The last list wins: /etc/cloud/cloud.cfg first, then /etc/cloud/cloud.cfg.d/*.cfg in the order of their names.
    """
    names = files.list("/etc/cloud")
    if names is None or "cloud-init.disabled" in names:
        return Provisioning.AZURE if files.exists("/etc/waagent.conf") else Provisioning.NONE
    paths = ["/etc/cloud/cloud.cfg"]
    paths += [
        f"/etc/cloud/cloud.cfg.d/{name}" for name in files.list("/etc/cloud/cloud.cfg.d") or () if name.endswith(".cfg")
    ]
    allowed: list[str] | None = None
    for path in paths:
        found = datasource_list(files.read(path) or "")
        allowed = found if found is not None else allowed
    if allowed is None or "nocloud" in allowed:
        return Provisioning.NOCLOUD
    return Provisioning.AZURE if "azure" in allowed else Provisioning.NONE


def datasource_list(text: str) -> list[str] | None:
    """The lower-case names of `datasource_list` in a cloud-init configuration; None if it sets none."""
    try:
        value = load(text, "", what="the guest's configuration", any_size=True)
    except UsageError:
        return None  # cloud-init skips such a file with a warning
    names = value.get("datasource_list") if isinstance(value, dict) else None
    # Only texts: an image from outside may nest aliases so that str() of it never ends.
    return [name.lower() for name in names if isinstance(name, str)] if isinstance(names, list) else None


def _generalized(files: GuestFiles) -> tuple[bool, tuple[str, ...]]:
    """Not generalised if it still has people's accounts. Host keys and a machine id are only worth a note."""
    people = []
    for line in (files.read("/etc/passwd") or "").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit() and _FIRST_USER <= int(fields[2]) < _LAST_USER:
            people.append(fields[0])
    notes = []
    if people:
        notes.append(f"has user accounts ({', '.join(people[:5])}): not generalised")
    if any(name.startswith("ssh_host_") for name in files.list("/etc/ssh") or ()):
        notes.append("has SSH host keys")
    if (files.read("/etc/machine-id") or "").strip() not in ("", "uninitialized"):
        notes.append("has a machine id")
    return not people, tuple(notes)
