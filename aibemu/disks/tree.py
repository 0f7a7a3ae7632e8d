"""The files of a whole system that is off: several file systems, put together as the system itself mounts them.

Paths are gone along name by name, so that a link leads where it leads in the guest, into another file system too. What
cannot be read is not taken for what is not there: it is in `missed`.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibemu.disks import Unreadable
from aibemu.disks.nodes import FILE, FOLDER, LINK, Nodes
from aibemu.files import write_bytes

# Bytes of a file that are read, which are more than a list of modules or of packages has.
MOST = 16 << 20
# As Linux has it: links on the way along one path.
_MOST_LINKS = 40
_LONGEST = 4096
_KEPT = 256  # folders


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A path, or a volume, that was not looked at, and why. for_good: another reader could not look at it either."""

    what: str
    why: str
    for_good: bool = False

    def because(self, why: str) -> Missed:
        """The same, with another reason besides."""
        return Missed(what=self.what, why=f"{self.why}; {why}", for_good=self.for_good)

    def __str__(self) -> str:
        return f"{self.what} ({self.why})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a path leads: a node of one file system."""

    path: str
    files: Nodes[Any]
    node: Any


class Tree:
    """Several file systems as one; for one thread. Paths are absolute."""

    def __init__(
        self, root: Nodes[Any], mounts: Mapping[str, Nodes[Any]] | None = None, *,
        binds: Mapping[str, str] | None = None, closed: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """mounts: by the path at which they are. binds: path -> path of the same tree that is there, too. closed: paths
        where there is something that is not read here -> why."""
        self._root = root
        self._mounts = dict(mounts or {})
        self._binds = dict(binds or {})
        self._closed = dict(closed or {})
        # Each time that it is met: whoever counts them before and after a question knows whether it was answered.
        self.missed: list[Missed] = []
        self._entries = functools.lru_cache(maxsize=_KEPT)(lambda place: dict(place.files.entries(place.node)))
        self._found: dict[str, _Place | None] = {"/": _Place(path="/", files=root, node=root.root())}

    def read(self, path: str) -> str | None:
        """The text of the file at `path`, at most `MOST` bytes of it; None if there is none, or it is in `missed`."""
        try:
            place = self._go(path)
            if place is None or place.files.kind(place.node) != FILE:
                return None
            return place.files.content(place.node, MOST).decode(errors="replace")
        except Unreadable as error:
            self._miss(path, error)
            return None

    def copy(self, path: str, target: Path, *, most: int) -> bool:
        """Write the bytes of the file at `path` to the new file `target`; False if there is no such file, it has more
        than `most` bytes, or it is in `missed`."""
        try:
            place = self._go(path)
            if place is None or place.files.kind(place.node) != FILE or place.files.size(place.node) > most:
                return False
            content = place.files.content(place.node, most)
        except Unreadable as error:
            self._miss(path, error)
            return False
        write_bytes(target, content)
        return True

    def list(self, path: str) -> list[str] | None:
        """Sorted names in the folder `path`; None if there is no such folder, or it is in `missed`."""
        try:
            place = self._go(path)
            if place is None or place.files.kind(place.node) != FOLDER:
                return None
            return sorted({*self._entries(place), *self._within(place.path)})
        except Unreadable as error:
            self._miss(path, error)
            return None

    def exists(self, path: str) -> bool:
        """True if there is anything at `path`, a dangling link excepted."""
        try:
            return self._go(path) is not None
        except Unreadable as error:
            self._miss(path, error)
            return False

    def _within(self, path: str) -> Iterator[str]:
        """What is mounted in the folder `path`: an empty folder of its name is made for it where there is none."""
        for mounted in (*self._mounts, *self._binds, *self._closed):
            folder, name = posixpath.split(mounted)
            if folder == path:
                yield name

    def _miss(self, path: str, error: Unreadable) -> None:
        self.missed.append(error.missed if isinstance(error, _Closed) else Missed(what=path, why=error.message))

    def _go(self, path: str) -> _Place | None:
        """Where `path` leads, links followed; None if it leads nowhere. Raises `Unreadable`."""
        left, links = _names(path), 0
        at = self._start(left)
        while left and at is not None:
            name = left.pop(0)
            if name == "..":
                at = self._go(posixpath.dirname(at.path))
                continue
            folder, there = at, posixpath.join(at.path, name)
            if (target := self._binds.get(there)) is None:
                at = self._step(folder, name, there)
                if at is None or at.files.kind(at.node) != LINK:
                    continue
                target = at.files.link(at.node)
            links += 1
            if links > _MOST_LINKS or len(target) > _LONGEST:
                return None
            left[:0] = _names(target)
            at = self._found["/"] if target.startswith("/") else folder
        return at

    def _start(self, names: MutableSequence[str]) -> _Place | None:
        """The innermost mount on the way; what leads to it is taken from `names`. So what is mounted in a place that is
        not read can be read all the same."""
        for count in range(len(names), 0, -1):
            path = "/" + "/".join(names[:count])
            if path in self._mounts:
                del names[:count]
                return self._mounted(path)
        return self._found["/"]

    def _mounted(self, path: str) -> _Place:
        files = self._mounts[path]
        found = self._found[path] = _Place(path=path, files=files, node=files.root())
        return found

    def _step(self, at: _Place, name: str, path: str) -> _Place | None:
        """What is called `name` in the folder `at`: a link is not followed."""
        if path not in self._found:
            if path in self._closed:
                raise _Closed(Missed(what=path, why=self._closed[path]))
            if path in self._mounts:
                return self._mounted(path)
            node = self._entries(at).get(name)
            self._found[path] = None if node is None else _Place(path=path, files=at.files, node=node)
        return self._found[path]


class _Closed(Unreadable):
    """The path leads through something that is not read here."""

    def __init__(self, missed: Missed) -> None:
        super().__init__(str(missed))
        self.missed = missed


def unlike(missed: Iterable[Missed]) -> list[Missed]:
    """Each of them once."""
    return list(dict.fromkeys(missed))


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]
