"""What a Linux system mounts at boot, by its own files: /etc/fstab, and mount units of systemd beside it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

FSTAB, UNITS = "/etc/fstab", "/etc/systemd/system"
# Kinds that hold nothing of the disk.
_NOT_ON_A_DISK = frozenset({
    "none", "swap", "tmpfs", "ramfs", "proc", "sysfs", "devpts", "devtmpfs", "cgroup", "cgroup2", "nfs", "nfs4", "cifs",
    "smb3", "smbfs", "9p", "virtiofs", "ceph", "glusterfs", "hugetlbfs", "debugfs", "tracefs", "securityfs", "configfs",
    "mqueue", "efivarfs", "binfmt_misc", "iso9660", "udf", "overlay",
})  # fmt: skip
_ESCAPE = re.compile(r"\\([0-7]{3})")
# Types of partitions that systemd mounts by itself where nobody else says where: the Discoverable Partitions
# Specification.
FOUND_BY_TYPE = {
    UUID("933ac7e1-2eb4-4f13-b844-0e14e2aef915"): "/home", UUID("3b8f8425-20e0-4f3b-907f-1a25a76f98e8"): "/srv",
    UUID("4d21b016-b534-45c2-a9fb-5c16e091fd2d"): "/var", UUID("7ec6f557-3bc5-4aca-b293-16ef5df639d1"): "/var/tmp",
}  # fmt: skip
_MOST = 1000  # lines that are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """device: as it is written. place: where, an absolute path. bind: device is a path of the system itself.

    subvolume: of btrfs, a path or a number; None for its default.
    """

    device: str
    place: str
    bind: bool = False
    subvolume: str | int | None = None


def mounts(read: Callable[[str], str | None], names: Callable[[str], Iterable[str] | None]) -> list[Mount]:
    """The mounts of a system whose files `read` gives, and whose folders `names`; outer ones first. Of two at one place
    the first counts."""
    found = [*_fstab(read(FSTAB) or ""), *_units(read, names)]
    first: dict[str, Mount] = {}
    for mount in found:
        first.setdefault(mount.place, mount)
    return sorted(first.values(), key=lambda mount: mount.place.rstrip("/").count("/"))


def is_inside(path: str, folder: str) -> bool:
    """True for `folder` itself, and all below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _fstab(text: str) -> Iterator[Mount]:
    for line in text.splitlines()[:_MOST]:
        fields = [_ESCAPE.sub(lambda found: chr(int(found[1], 8)), word) for word in line.split()]
        if len(fields) >= 3 and not fields[0].startswith("#"):
            device, place, kind = fields[:3]
            if mount := _mount(device, place, kind, fields[3] if len(fields) > 3 else ""):
                yield mount


def _units(read: Callable[[str], str | None], names: Callable[[str], Iterable[str] | None]) -> Iterator[Mount]:
    """Mount units that somebody put beside /etc/fstab."""
    for name in list(names(UNITS) or ())[:_MOST]:
        if name.endswith(".mount"):
            text = read(f"{UNITS}/{name}") or ""
            said = dict(re.findall(r"^[ \t]*(What|Where|Type|Options)[ \t]*=[ \t]*(.*?)[ \t]*$", text, re.MULTILINE))
            device, place = said.get("What", ""), said.get("Where", "")
            if device and (mount := _mount(device, place, said.get("Type", "auto"), said.get("Options", ""))):
                yield mount


def _mount(device: str, place: str, kind: str, options: str) -> Mount | None:
    """None for what is not of the disk."""
    words = options.split(",")
    bind = "bind" in words or "rbind" in words
    if not place.startswith("/") or (not bind and (kind in _NOT_ON_A_DISK or kind.startswith("fuse."))):
        return None
    if device.startswith("/dev/disk/by-"):
        device = _by(device)
    place = posixpath.normpath(place)
    return Mount(device=device.replace('"', ""), place="/" + place.lstrip("/"), bind=bind, subvolume=_subvolume(words))


def _subvolume(words: Iterable[str]) -> str | int | None:
    for word in words:
        name, _, value = word.partition("=")
        if name == "subvol" and value.strip("/"):
            return value
        if name == "subvol":
            return 5  # the top level
        if name == "subvolid" and re.fullmatch(r"\d{1,18}", value):
            return int(value) or 5
    return None


def _by(device: str) -> str:
    """`/dev/disk/by-uuid/X` as `UUID=X`, and so on."""
    kind, _, value = device.removeprefix("/dev/disk/by-").partition("/")
    known = {"uuid": "UUID", "label": "LABEL", "partuuid": "PARTUUID", "partlabel": "PARTLABEL"}
    unescaped = re.sub(r"\\x([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), value)
    return f"{known[kind]}={unescaped}" if kind in known else device
