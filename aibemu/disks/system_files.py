"""The system on a disk that is off: which of its volumes is the root, and what it mounts where.

All is read from the disk's bytes: XFS, btrfs and LVM here, ext by debugfs, FAT by mtools. What of the disk is not read
is in `unread`: somebody who looks for traces has not proven anything before that is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aibemu.clock import Deadline
from aibemu.disks import Unreadable
from aibemu.disks.btrfs import BtrfsFiles
from aibemu.disks.debugfs import Debugfs, ExtFiles
from aibemu.disks.fat_files import FatFiles
from aibemu.disks.fstab import FOUND_BY_TYPE, Mount, is_inside, mounts
from aibemu.disks.nodes import Nodes
from aibemu.disks.partitions import BTRFS, EXT, FAT, LUKS, XFS, table_of
from aibemu.disks.raw import RawBytes, in_one_piece
from aibemu.disks.tree import Missed, Tree
from aibemu.disks.volumes import Volume, volumes
from aibemu.disks.xfs import XfsFiles
from aibemu.errors import HostNotReady

# Bytes at the beginning of a partition: one that has nothing in them was never used.
_BEGINNING = 1 << 20


class SystemFiles(Tree):
    """See `Tree`; a context manager, for one thread. unread: mounts and volumes that cannot be looked into.

    volume: the one with the root file system. free: bytes at the end of the disk that no partition has.
    """

    def __init__(
        self, root: Nodes[Any], volume: Volume, placed: _Placed, unread: Sequence[Missed], resources: ExitStack, *,
        free: int,
    ) -> None:  # fmt: skip
        super().__init__(root, placed.mounts, binds=placed.binds, closed=placed.closed)
        self.volume = volume
        self.free = free
        self.unread = tuple(unread)
        self._resources = resources

    def close(self) -> None:
        self._resources.close()

    def keep(self, resources: ExitStack) -> None:
        """Close these too, when it is closed: what is only a copy of the disk is removed."""
        self._resources.push(resources)

    def explain(self, why: str) -> None:
        """Say of what is not looked into what was tried besides."""
        self.unread = tuple(one if one.for_good else one.because(why) for one in self.unread)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_system(raw: Path, scratch: Path, deadline: Deadline) -> SystemFiles | tuple[Missed, ...]:
    """The system on the flat disk `raw`; where no root file system is found, what could not be looked into.

    scratch: a folder for copies of volumes that are in several pieces. Raises `HostNotReady` when debugfs is missing or
    there is no room in it, `DebugfsFailed`, and what the deadline does.
    """
    with ExitStack() as resources:
        disk = RawBytes(raw, deadline)
        resources.callback(disk.close)
        opening = _Opening(raw, volumes(disk.read, disk.size), scratch, deadline, resources)
        if (root := opening.root()) is None:
            return tuple(opening.problems())
        volume, files, wanted = root
        placed = _Placed(opening, volume, files, wanted)
        unread = [*_unfinished("/", volume, files), *placed.unread, *unnamed(opening.volumes, wanted, volume)]
        end = max(part.start + part.size for part in table_of(disk.read, disk.size).candidates)
        return SystemFiles(files, volume, placed, unread, resources.pop_all(), free=max(0, disk.size - end))


class _Opening:
    """The volumes of one disk, each opened once."""

    def __init__(
        self, raw: Path, found: Sequence[Volume], scratch: Path, deadline: Deadline, resources: ExitStack
    ) -> None:
        self.volumes = found
        self._raw = raw
        self._scratch = scratch
        self._deadline = deadline
        self._resources = resources
        self._opened: dict[str, Nodes[Any] | Unreadable] = {}

    def files_of(self, volume: Volume) -> Nodes[Any]:
        """Its files; of btrfs the default subvolume. Raises `Unreadable`."""
        if volume.title not in self._opened:
            try:
                self._opened[volume.title] = self._open(volume)
            except Unreadable as error:
                self._opened[volume.title] = error
        found = self._opened[volume.title]
        if isinstance(found, Unreadable):
            raise found
        return found

    def _open(self, volume: Volume) -> Nodes[Any]:
        if volume.problem:
            raise Unreadable(volume.problem)
        if volume.kind == XFS:
            return XfsFiles(volume.read)
        if volume.kind == BTRFS:
            return BtrfsFiles(volume.read)
        if volume.kind not in (EXT, FAT):
            raise Unreadable("it has no file system that is read here")
        path, at = self._enter(in_one_piece(self._raw, volume.pieces, self._scratch, self._deadline))
        if volume.kind == FAT:
            return FatFiles(path, at, deadline=self._deadline)
        debugfs = Debugfs(path, at, deadline=self._deadline)
        self._resources.callback(debugfs.close)
        return ExtFiles(debugfs)

    def _enter(self, context: AbstractContextManager[tuple[Path, int]]) -> tuple[Path, int]:
        return self._resources.enter_context(context)

    def root(self) -> tuple[Volume, Nodes[Any], list[Mount]] | None:
        """The root file system and what its system mounts; of several the first that says so itself, else the first."""
        found: list[tuple[Volume, Nodes[Any], list[Mount]]] = []
        for volume in self.volumes:
            if volume.kind not in (EXT, XFS, BTRFS):
                continue
            for files in self._views(volume):
                tree = Tree(files)
                if {"passwd", "os-release"}.isdisjoint(tree.list("/etc") or ()):
                    continue
                wanted = mounts(tree.read, tree.list)
                own = next((mount for mount in wanted if mount.place == "/" and volume.is_called(mount.device)), None)
                if own is None:
                    found.append((volume, files, wanted))
                    continue
                try:
                    return volume, _seen_from(files, own.subvolume), wanted
                except Unreadable:
                    found.append((volume, files, wanted))
        return next(iter(found), None)

    def _views(self, volume: Volume) -> Iterator[Nodes[Any]]:
        """The file system, of btrfs each of its subvolumes."""
        try:
            files = self.files_of(volume)
            yield files
            if isinstance(files, BtrfsFiles):
                yield from (files.seen_from(number) for number in files.subvolumes() if number != files.default())
        except (Unreadable, HostNotReady):
            return

    def problems(self) -> Iterator[Missed]:
        """What cannot be opened, and why."""
        for volume in self.volumes:
            if not volume.is_system or _is_empty(volume):
                continue
            try:
                self.files_of(volume)
            except Unreadable as error:
                yield Missed(what=volume.title, why=error.message)


class _Placed:
    """What is mounted where: for `Tree`. unread: what cannot be."""

    def __init__(self, opening: _Opening, root: Volume, files: Nodes[Any], wanted: Iterable[Mount]) -> None:
        self.mounts: dict[str, Nodes[Any]] = {}
        self.binds: dict[str, str] = {}
        self.closed: dict[str, str] = {}
        self.unread: list[Missed] = []
        for mount in wanted:
            if mount.bind:
                if not is_inside(mount.device, mount.place):
                    self.binds[mount.place] = mount.device
            elif mount.place != "/":
                self._place(opening, mount, mount.place)
        for volume in opening.volumes:
            place = FOUND_BY_TYPE.get(volume.partition.kind) if volume.partition and volume.partition.kind else None
            if place and place not in {*self.mounts, *self.closed}:
                self._put(opening, volume, None, place)

    def _place(self, opening: _Opening, mount: Mount, place: str) -> None:
        for volume in opening.volumes:
            if volume.is_called(mount.device):
                self._put(opening, volume, mount.subvolume, place)
                return
        # It is on another disk, which is not part of the image.

    def _put(self, opening: _Opening, volume: Volume, subvolume: str | int | None, place: str) -> None:
        try:
            files = opening.files_of(volume)
            self.mounts[place] = _seen_from(files, subvolume)
            self.unread += _unfinished(place, volume, files)
        except (Unreadable, HostNotReady) as error:
            self.closed[place] = f"{volume.title}: {error.message}"
            self.unread.append(Missed(what=place, why=self.closed[place], for_good=volume.kind == LUKS))


def unnamed(found: Iterable[Volume], wanted: Iterable[Mount], root: Volume | None) -> Iterator[Missed]:
    """Volumes that may hold files, and that the system does not mount by any of its own files."""
    devices = [mount.device for mount in wanted]
    for volume in found:
        part = volume.partition
        if volume == root or not volume.is_system or (part and (part.efi or part.kind in FOUND_BY_TYPE)):
            continue
        if not any(volume.is_called(device) for device in devices) and not _is_empty(volume):
            why = volume.problem or "/etc/fstab does not name it"
            yield Missed(what=volume.title, why=why, for_good=True)


def _unfinished(place: str, volume: Volume, files: Nodes[Any]) -> Iterator[Missed]:
    """What is read of it may be older than what the system wrote last. guestfish, where it is there, has Linux replay
    the journal on a copy."""
    try:
        if volume.has_open_journal or (isinstance(files, XfsFiles | BtrfsFiles) and files.unfinished):
            why = f"{volume.title}: its last changes are in its journal only, for the machine did not shut down"
            yield Missed(what=place, why=why)
    except Unreadable as error:
        yield Missed(what=place, why=f"{volume.title}: {error.message}")


def _seen_from(files: Nodes[Any], subvolume: str | int | None) -> Nodes[Any]:
    return files if subvolume is None or not isinstance(files, BtrfsFiles) else files.seen_from(subvolume)


def _is_empty(volume: Volume) -> bool:
    return volume.kind is None and bool(volume.pieces) and not volume.read(0, _BEGINNING).strip(b"\0")
