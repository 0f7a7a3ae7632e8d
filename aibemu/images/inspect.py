"""What a disk image is, without booting or mounting it: generation, operating system, how its first boot is configured.

A Windows is looked into where it is, in any format; for Linux, formats with tables of their own are laid out first.

A file from outside is refused when it refers to other files: converting it would copy them into the image.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.disks import Unreadable, convert
from aibemu.disks.efi import FALLBACK, loaders
from aibemu.disks.guestfs import GuestFiles
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
    Read,
    Table,
    file_system,
    file_system_at,
    partitions,
    reader,
    table_of,
)  # fmt: skip
from aibemu.disks.reading import OpenFiles, open_files
from aibemu.disks.standalone import check_alone
from aibemu.disks.system_files import SystemFiles, open_system
from aibemu.errors import UsageError
from aibemu.images import Generation, Provisioning
from aibemu.images.boot_folder import WithBoot
from aibemu.images.linux import LinuxFacts
from aibemu.images.linux_look import AZURE_INIT_PROGRAMS, boots_kernel, look, people
from aibemu.images.windows import WindowsFacts
from aibemu.images.windows_look import look as look_at_windows
from aibemu.reading import open_file
from aibemu.yaml_places import load

_LINUX = frozenset({XFS, BTRFS, LVM})


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
    linux: LinuxFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The system on a disk that is not Windows', as `DiskFacts` has it."""

    os_type: str = ""
    os_name: str = "unknown"
    provisioning: Provisioning = Provisioning.UNKNOWN
    generalized: bool = True
    notes: tuple[str, ...] = ()
    linux: LinuxFacts | None = None


def inspect(path: Path, *, scratch: Path, deadline: Deadline, format: str | None = None) -> DiskFacts:
    """Look into a stand-alone disk image. scratch: a folder for a temporary raw view.

    UsageError if it needs other files, is not a disk image, or cannot be read.
    """
    disk = convert.info(path, deadline=deadline, format=format)
    check_alone(path, disk.references)
    if found := _windows(disk, deadline):
        return found
    if disk.flat:
        return _look(disk, path, scratch, deadline)
    scratch.mkdir(parents=True, exist_ok=True)
    convert.ensure_space(scratch, convert.needed(disk, deadline=deadline), "looking into the image")
    view = scratch / f"view.{secrets.token_hex(4)}.partial"
    try:
        convert.to_raw(disk, view, deadline=deadline)
        return _look(disk, view, scratch, deadline)
    finally:
        view.unlink(missing_ok=True)


def generations_of(disk: convert.DiskInfo, deadline: Deadline) -> tuple[Generation, ...]:
    """All that a disk can boot as, by its partitions alone; nothing if they cannot be read."""
    try:
        with DiskBytes(disk, deadline) as opened:
            return boots_as(table_of(opened.read, opened.size), opened.read)[0]
    except Unreadable:
        return ()


def _look(disk: convert.DiskInfo, raw: Path, scratch: Path, deadline: Deadline) -> DiskFacts:
    table = partitions(raw)
    if table.kind == "none" and file_system(raw, 0) is None:
        raise UsageError(
            f"{disk.path} is not the image of a disk: no partition table and no file system found",
            hint="give its format with --format if it is neither raw nor a format with a header of its own",
        )
    with open_file(raw) as stream:
        return _facts(disk, table, reader(stream), _system(raw, table, scratch, deadline))


def _facts(
    disk: convert.DiskInfo, table: Table, read: Read, seen: _Seen, *, windows: WindowsFacts | None = None,
    unread: str = "",
) -> DiskFacts:  # fmt: skip
    generations, notes = boots_as(table, read)
    return DiskFacts(
        format=disk.format, virtual_size=disk.virtual_size, table=table.kind, generation=generations[0],
        generations=generations, os_type=seen.os_type, os_name=seen.os_name, provisioning=seen.provisioning,
        generalized=seen.generalized, notes=(*seen.notes, *notes, *table.troubles), windows=windows, unread=unread,
        linux=seen.linux,
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
    os_type = ""
    try:
        found = WindowsDisk(opened, find_windows(opened, table), table)
        os_type = "Windows"
        facts, notes = look_at_windows(found)
    except Unreadable as error:
        unknown = _Seen(os_type=os_type, os_name=os_type or "unknown")
        return _facts(disk, table, opened.read, unknown, unread=error.message)
    seen = _Seen(os_type=os_type, os_name=facts.product or "Windows", generalized=facts.generalized, notes=notes)
    return _facts(disk, table, opened.read, seen, windows=facts)


def boots_as(table: Table, read: Read) -> tuple[tuple[Generation, ...], tuple[str, ...]]:
    """(the generations that it can boot as, the one that it is for first; notes for people).

    V2 boots UEFI: a GPT with an EFI system partition in which there is a boot loader; with a BIOS boot partition too,
    it boots both ways. An EFI system partition that cannot be read is taken for one with a loader.
    """
    parts = [part for part in table.partitions if part.efi] if table.kind == "gpt" else []
    found = [loaders(read, part.start) for part in parts]
    if not parts:
        return (Generation.V1,), ()
    if all(names == () for names in found):
        return (Generation.V1,), ("its EFI system partition holds no boot loader: generation 1",)
    known = [name for names in found for name in names or ()]
    notes: tuple[str, ...] = ()
    if known and FALLBACK not in known and None not in found:
        notes = (f"its EFI system partition has {known[0]} and not {FALLBACK}, the one that a machine looks for that "
                 "knows nothing of the disk: as generation 2 it may not boot",)  # fmt: skip
    both = any(part.bios for part in table.partitions)
    return ((Generation.V2, Generation.V1) if both else (Generation.V2,)), notes


def _system(raw: Path, table: Table, scratch: Path, deadline: Deadline) -> _Seen:
    found = open_system(raw, scratch, deadline)
    if isinstance(found, SystemFiles):
        with found as files, _with_boot(raw, table, files, deadline) as whole:
            return linux_seen(whole, scratch, deadline, root=files.volume.in_words)
    kinds = {file_system(raw, part.start) for part in table.candidates}
    if kinds & _LINUX:
        return _by_guestfish(raw, sorted(kind for kind in kinds & _LINUX if kind), scratch, deadline)
    return _Seen(notes=("no operating system was recognised",))


def _by_guestfish(raw: Path, kinds: Sequence[str], scratch: Path, deadline: Deadline) -> _Seen:
    """What libguestfs sees, where it is there; else it costs a note."""
    told: list[str] = []
    files = open_files(raw, "raw", scratch, deadline, tell=told.append)
    if files is None:
        why = f"{'; '.join(told)}: taken for a generalised Linux with cloud-init"
        return _Seen(
            os_type="Linux", os_name="Linux", notes=(f"what is on it ({', '.join(kinds)}) was not read: {why}",)
        )
    with files:
        return linux_seen(files, scratch, deadline, root="")


def linux_seen(files: OpenFiles, scratch: Path, deadline: Deadline, *, root: str) -> _Seen:
    """What is seen of a Linux whose files are open. root: the kind of its file system."""
    facts = look(files, scratch, root=root, check=deadline.check)
    accounts = people(files.read("/etc/passwd") or "")
    notes = [f"has {trace}" + (": not generalised" if accounts and not at else "")
             for at, trace in enumerate(facts.traces)]  # fmt: skip
    if facts.kernel and facts.drivers.unread:
        notes.append(f"it is not known which drivers it has: {facts.drivers.unread}")
    return _Seen(
        os_type="Linux", os_name=os_name(files), provisioning=provisioning(files), generalized=not accounts,
        notes=tuple(notes), linux=facts,
    )  # fmt: skip


@contextmanager
def _with_boot(raw: Path, table: Table, files: SystemFiles, deadline: Deadline) -> Iterator[OpenFiles]:
    """`files`, with the partition that holds kernels in the place of /boot, where nothing says what belongs there."""
    others = [part for part in table.candidates if part != files.volume.partition]
    for part in () if boots_kernel(files.list("/boot") or ()) else others:
        if file_system(raw, part.start) == EXT:
            with GuestFiles(raw, part.start, deadline=deadline) as boot:
                if boots_kernel(boot.list("/") or ()):
                    yield WithBoot(files, boot)
                    return
    yield files


def os_name(files: OpenFiles) -> str:
    """PRETTY_NAME of /etc/os-release, else NAME and VERSION_ID, else `Linux`."""
    values = dict(re.findall(r"^([A-Z_]+)=[\"']?(.*?)[\"']?$", files.read("/etc/os-release") or "", re.MULTILINE))
    return (
        values.get("PRETTY_NAME") or " ".join(filter(None, (values.get("NAME"), values.get("VERSION_ID")))) or "Linux"
    )


def provisioning(files: OpenFiles) -> Provisioning:
    """NOCLOUD if cloud-init is there and its datasource_list allows NoCloud; AZURE if it, or an agent, waits for Azure.

    The last list wins: /etc/cloud/cloud.cfg first, then /etc/cloud/cloud.cfg.d/*.cfg in the order of their names.
    """
    names = files.list("/etc/cloud")
    if names is None or "cloud-init.disabled" in names:
        agent = any(files.exists(path) for path in ("/etc/waagent.conf", *AZURE_INIT_PROGRAMS))
        return Provisioning.AZURE if agent else Provisioning.NONE
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
