"""Reading files out of a disk image without booting or mounting it: `debugfs` on the ext file system at its offset,
started once and asked many times.

`GuestFiles.open_disk` finds the root file system by its content. qcow2 and other formats are first laid out as a sparse
raw file in a scratch folder, so an overlay with backing files works too. Needs no root (facts: guest-platform 4, host).
"""

from __future__ import annotations

import contextlib
import posixpath
import secrets
from pathlib import Path
from types import TracebackType

from aibemu.clock import Deadline
from aibemu.disks import convert
from aibemu.disks.debugfs import ENTRY, FAST_LINK, SIZE, TYPE, Debugfs
from aibemu.disks.debugfs import DebugfsFailed as DebugfsFailed
from aibemu.disks.partitions import EXT, Partition, file_system, partitions

_MAX_LINKS = 16


class GuestFiles:
    """The root file system of a disk that does not change meanwhile; for one thread.

    A context manager: leaving it ends debugfs and deletes the scratch file. All questions raise `HostNotReady` when
    debugfs is missing, `DebugfsFailed`, and what the deadline does.
    """

    def __init__(self, raw: Path, offset: int, *, deadline: Deadline, temporary: Path | None = None) -> None:
        self.raw = raw
        self.offset = offset
        self._temporary = temporary
        self._debugfs = Debugfs(raw, offset, deadline=deadline)

    @classmethod
    def open_disk(cls, disk: Path, format: str | None, scratch: Path, deadline: Deadline) -> GuestFiles | None:
        """Open the root file system of `disk` (format None: by its content); None if there is no readable one.

        scratch: a folder for the raw view. Raises HostNotReady when it has no room or debugfs is missing.
        """
        facts = convert.info(disk, deadline=deadline, format=format)
        temporary: Path | None = None
        raw = disk
        if not facts.flat:
            scratch.mkdir(parents=True, exist_ok=True)
            convert.ensure_space(scratch, convert.needed(facts, deadline=deadline), "looking into the image")
            temporary = raw = scratch / f"view.{secrets.token_hex(4)}.partial"
        try:
            if temporary:
                convert.to_raw(facts, temporary, deadline=deadline)
            if found := find_root(raw, deadline):
                return cls(raw, found.start, deadline=deadline, temporary=temporary)
        except BaseException:
            if temporary:
                temporary.unlink(missing_ok=True)
            raise
        if temporary:
            temporary.unlink(missing_ok=True)
        return None

    def close(self) -> None:
        self._debugfs.close()
        if self._temporary:
            with contextlib.suppress(FileNotFoundError):
                self._temporary.unlink()

    def __enter__(self) -> GuestFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, path: str) -> str | None:
        """The text of the file at the absolute `path`, symbolic links followed; None if there is no such file."""
        real = self._resolve(path)
        if real is None or self._stat(real)[0] != "regular":
            return None
        return self._ask(f"cat {_quote(real)}")

    def copy(self, path: str, target: Path, *, most: int) -> bool:
        """Write the bytes of the file at `path` to the new file `target`; False if there is no such file, or it has
        more than `most` bytes."""
        real, words = self._resolve(path), str(target.absolute())
        if real is None or self._stat(real)[0] != "regular" or '"' in words:
            return False
        size = SIZE.search(self._ask(f"stat {_quote(real)}"))
        if size is None or int(size[1]) > most:
            return False
        self._ask(f"dump {_quote(real)} {_quote(words)}")
        return target.exists()

    def list(self, path: str) -> list[str] | None:
        """Sorted names in the folder `path`, without . and ..; None if there is no such folder."""
        real = self._resolve(path)
        if real is None or self._stat(real)[0] != "directory":
            return None
        entries = ENTRY.findall(self._ask(f"ls -p {_quote(real)}"))
        return sorted(name for inode, _, _, _, name, _ in entries if inode != "0" and name not in (".", ".."))

    def exists(self, path: str) -> bool:
        """True if there is anything at `path`, a dangling link excepted."""
        return self._resolve(path) is not None

    def _resolve(self, path: str) -> str | None:
        """`path` with links at its end followed, as the guest would from its own root; None if it leads nowhere.

        Links in the middle of a path debugfs follows itself.
        """
        for _ in range(_MAX_LINKS):
            kind, link = self._stat(path)
            if kind != "symlink":
                return path if kind else None
            path = posixpath.join(posixpath.dirname(path), link)
        return None

    def _stat(self, path: str) -> tuple[str, str]:
        """(kind, target of a symbolic link); kind is "" when there is nothing."""
        if "\n" in path or '"' in path:
            return "", ""  # debugfs cannot be asked for such a name
        text = self._ask(f"stat {_quote(path)}")
        kind = TYPE.search(text)
        if not kind or kind[1] != "symlink":
            return (kind[1] if kind else ""), ""
        fast = FAST_LINK.search(text)
        # A target of 60 bytes or more is the content of the link's own block.
        return "symlink", fast[1] if fast else self._ask(f"cat {_quote(path)}")

    def _ask(self, command: str) -> str:
        return self._debugfs.ask(command).decode(errors="replace")


def find_root(raw: Path, deadline: Deadline) -> Partition | None:
    """The ext partition of a raw disk that holds /etc/os-release or /etc/passwd; the whole disk if it has no table."""
    for candidate in partitions(raw).candidates:
        if file_system(raw, candidate.start) != EXT:
            continue
        with GuestFiles(raw, candidate.start, deadline=deadline) as files:
            if files.exists("/etc/os-release") or files.exists("/etc/passwd"):
                return candidate
    return None


def _quote(path: str) -> str:
    return f'"{path}"'
