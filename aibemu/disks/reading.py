"""Opening a disk that is off to read files of its system, by whatever this host has for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from aibemu.clock import Deadline
from aibemu.disks.fstab import mounts
from aibemu.disks.libguestfs import LibguestfsFiles, Unreadable
from aibemu.disks.raw import RawBytes, flat
from aibemu.disks.system_files import SystemFiles, open_system, unnamed
from aibemu.disks.tree import Missed
from aibemu.disks.volumes import volumes
from aibemu.errors import HostNotReady

_MISSING = "guestfish, which reads more, is not installed (libguestfs-tools)"


class OpenFiles(Protocol):
    """What every reader offers; a context manager. Paths are absolute, links are followed as the guest would."""

    def read(self, path: str) -> str | None: ...

    def copy(self, path: str, target: Path, *, most: int) -> bool:
        """Write the bytes of a file to the new file `target`; False if there is no such file, or it has more than
        `most` bytes."""
        ...

    def list(self, path: str) -> list[str] | None: ...

    def exists(self, path: str) -> bool: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class WholeSystem(OpenFiles, Protocol):
    """All that a system mounts, and what of it cannot be looked at.

    missed: what was asked for and could not be looked at, each time that it was met. Whoever gets None looks there.
    """

    missed: list[Missed]

    @property
    def unread(self) -> Sequence[Missed]:
        """Volumes and mounts of the system that are not looked into."""
        ...


def open_files(
    disk: Path, format: str | None, scratch: Path, deadline: Deadline, *, tell: Callable[[str], None] = lambda _: None
) -> WholeSystem | None:
    """Open the system on `disk` (format None: by its content), with all that it mounts: by guestfish where that reads
    more than what is here.

    scratch: a folder for the flat view of a disk in another format. None if nothing here can read it; `tell` is then
    given why, as a sentence for people. Raises HostNotReady when there is no room in scratch or debugfs is missing.
    """
    with ExitStack() as resources:
        raw = resources.enter_context(flat(disk, format, scratch, deadline))
        found = open_system(raw, scratch, deadline)
        if isinstance(found, SystemFiles):
            found.keep(resources.pop_all())
            return _best(found, disk, format, raw, deadline)
        try:
            other = LibguestfsFiles.open_disk(disk, format, deadline)
        except HostNotReady:
            tell(f"{_none(found)}, and {_MISSING}")
        except Unreadable as error:
            tell(f"{_none(found)}, and guestfish cannot read it: {error}")
        else:
            _judge(other, raw, deadline)
            return other
    return None


def _best(found: SystemFiles, disk: Path, format: str | None, raw: Path, deadline: Deadline) -> WholeSystem:
    """`found`, or guestfish where that reads more of the disk."""
    if all(one.for_good for one in found.unread):
        return found
    try:
        other = LibguestfsFiles.open_disk(disk, format, deadline)
        _judge(other, raw, deadline)
    except HostNotReady:
        found.explain(_MISSING)
    except Unreadable as error:
        found.explain(f"guestfish cannot read it: {error}")
    except BaseException:
        found.close()
        raise
    else:
        better, worse = (other, found) if len(other.unread) < len(found.unread) else (found, other)
        worse.close()
        return better
    return found


def _judge(files: LibguestfsFiles, raw: Path, deadline: Deadline) -> None:
    """Find out what of the flat disk `raw` guestfish has not mounted. It is closed where that fails."""
    try:
        disk = RawBytes(raw, deadline)
        with ExitStack() as resources:
            resources.callback(disk.close)
            known = volumes(disk.read, disk.size)
            wanted, mounted = mounts(files.read, files.list), files.mounted()
        unread = [
            Missed(what=mount.place, why="guestfish does not mount it") for mount in wanted
            if not mount.bind and mount.place not in mounted and any(one.is_called(mount.device) for one in known)
        ]  # fmt: skip
        root = next((one for one in known if one.is_called(mounted.get("/", ""))), None)
        files.unread = (*unread, *unnamed(known, wanted, root))
    except BaseException:
        files.close()
        raise


def _none(problems: Sequence[Missed]) -> str:
    if not problems:
        return "no root file system of a Linux was found on it"
    return f"no root file system was found in what is read here ({', '.join(str(one) for one in problems)})"
