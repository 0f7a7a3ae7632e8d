"""What readers of file systems have in common: files by number, as the file system itself names them.

A reader knows nothing of paths: `aibemu.disks.tree` goes along a path, name by name, from one file system to the next.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

Read: TypeAlias = Callable[[int, int], bytes]
# A file of one file system: whatever its reader takes to find it again.
N = TypeVar("N")

FILE, FOLDER, LINK, DEVICE = "file", "folder", "link", "device"
# Bytes that are read at once at most: a length from a disk may be anything.
LARGEST = 256 << 20


class Nodes(Protocol[N]):
    """One file system that does not change meanwhile; for one thread. Questions raise `Unreadable` for what cannot be
    read, and what the deadline of the reader does."""

    def root(self) -> N: ...

    def kind(self, node: N) -> str:
        """FILE, FOLDER, LINK, or DEVICE for all that has no content."""
        ...

    def size(self, node: N) -> int:
        """Bytes of a file."""
        ...

    def link(self, node: N) -> str:
        """Where a symbolic link leads, as it says it."""
        ...

    def content(self, node: N, most: int) -> bytes:
        """The first bytes of a file, `most` at most."""
        ...

    def entries(self, node: N) -> dict[str, N]:
        """What is in a folder by name, without . and ..; nothing for what is no folder."""
        ...


def kind_of(mode: int) -> str:
    """By the mode of an inode."""
    if stat.S_ISREG(mode):
        return FILE
    if stat.S_ISDIR(mode):
        return FOLDER
    return LINK if stat.S_ISLNK(mode) else DEVICE


def decoded(name: bytes) -> str:
    """A name as Python has names of files: whatever bytes it has, they can be had back."""
    return name.decode("utf-8", "surrogateescape")
