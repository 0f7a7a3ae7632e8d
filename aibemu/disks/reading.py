"""Opening a disk that is off to read files of its root file system, by whatever this host has for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from aibemu.clock import Deadline
from aibemu.disks.guestfs import GuestFiles
from aibemu.disks.libguestfs import LibguestfsFiles, Unreadable
from aibemu.errors import HostNotReady


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


def open_files(
    disk: Path, format: str | None, scratch: Path, deadline: Deadline, *, tell: Callable[[str], None] = lambda _: None
) -> OpenFiles | None:
    """Open the root file system of `disk` (format None: by its content): ext by debugfs, others by guestfish.

    scratch: a folder for the raw view that debugfs needs. None if nothing here can read it; `tell` is then given why,
    as a sentence for people. Raises HostNotReady when there is no room in scratch or debugfs is missing.
    """
    if files := GuestFiles.open_disk(disk, format, scratch, deadline):
        return files
    try:
        return LibguestfsFiles.open_disk(disk, format, deadline)
    except HostNotReady:
        tell("its root file system is not ext, and guestfish, which reads others, is not installed (libguestfs-tools)")
    except Unreadable as error:
        tell(f"its root file system is not ext, and guestfish cannot read it: {error}")
    return None
