"""Where layers are kept: records by id, and the files they name.

```
layers/  records/<id>.json    what a layer is, with the key to its guest: mode 0600. There is no layer without one
         files/               disk-<hex>.qcow2, .memory, .said (see `aibemu.layers.history`): read only, each written
                              once under a name of its own
         lock                 held while records are made or files deleted
         held                 locked (shared) by each process that freezes a machine or starts one from a layer just now
```

A machine that starts from a layer takes hard links of its disks first, or copies where there are no links, so nothing
that happens here afterwards can hurt it; a disk with a second link is in use. What is published was fsynced; what no
record names is rubbish of a freeze that did not get that far, or of a layer that another one replaced. While any
process freezes or starts a machine, no file is deleted, whoever it belongs to: `held` says so, and the kernel unlocks
it when the process dies. Where files can be linked, those of a machine that is there stay besides.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from aibemu.files import PARTIAL, FileLock, fsync, is_being_written, remove, write_private_json
from aibemu.layers import Layer
from aibemu.records import SHAPE_ERRORS, read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A layer in the store. size: bytes on disk that no other layer has; bytes: how large the same files are, holes
    included. used: when a build last started from it."""

    layer: Layer
    size: int
    bytes: int
    used: datetime
    in_use: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How much the store may hold: bytes on disk, and how long nobody may have used a layer."""

    size: int
    age: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What went: layers, and all bytes on disk that are free now, those of files that were no layer's included."""

    layers: list[Stored]
    freed: int


class LayerStore:
    """All layers under one folder, for any number of processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = directory / "files"
        self._records = directory / "records"

    def get(self, layer_id: str, made: Mapping[str, Layer] | None = None) -> Layer | None:
        """The layer with this id whose files are all there; None if there is none. made: layers by id that come first,
        a run's own, which may not be published yet."""
        own = made.get(layer_id) if made else None
        layer = own if own is not None and own.whole else self._known(self._record(layer_id))
        return layer if layer is not None and layer.whole else None

    def layers(self) -> Iterator[Layer]:
        """All of them, in no order; a record that cannot be read is no layer."""
        for record in self._all_records():
            if layer := self._known(record):
                yield layer

    def publish(self, layer: Layer) -> None:
        """Make it everybody's, once its files are safe on the disk. One of the same id before it is replaced."""
        for path in layer.files:
            try:
                path.chmod(0o400)
                fsync(path)
            except FileNotFoundError:  # without what a step said it is as good a layer
                if path not in layer.said.values():
                    raise
        fsync(self.files)
        with self._locked():
            self._records.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private_json(self._record(layer.id), layer.as_json())

    def used(self, layer: Layer, now: datetime) -> None:
        """Note that a build starts from it."""
        with contextlib.suppress(OSError):
            os.utime(self._record(layer.id), (now.timestamp(), now.timestamp()))

    def hold(self) -> FileLock:
        """Keep each file in the store from being deleted, by any process, until the lock that is given is released.

        For as long as files have no record yet (from before a freeze until it is published), and while a machine takes
        its own of a layer's files. May wait for a sweep to end.
        """
        lock = self._held()
        lock.acquire(shared=True)
        return lock

    def forget(self, layer_id: str) -> None:
        """It is no layer any more; its files go with the next `prune`."""
        self._record(layer_id).unlink(missing_ok=True)

    def discard(self, layer: Layer) -> None:
        """`forget` it under the lock, unless somebody has published another one of its id meanwhile."""
        with self._locked():
            known = self._known(self._record(layer.id))
            if known is not None and known.files == layer.files:
                self.forget(layer.id)

    def stored(self) -> list[Stored]:
        """All layers with their sizes, last used first. A disk that several share counts for the oldest of them."""
        return self._measured(self.layers())

    def prune(self, bound: Bound, now: datetime, images: Iterable[str] | None = None) -> Pruned:
        """Forget what is too old or has a file missing, then what was not used for longest until the rest fits; and
        `sweep`.

        images: digests of the base images that there are; layers of others are of no use. What a machine uses stays,
        as do all files while a process `hold`s them: then they go with a later sweep.
        """
        with self._locked():
            gone = self._beyond(bound, now, images)
            for one in gone:
                self.forget(one.layer.id)
            return Pruned(layers=gone, freed=sum(self._sweep().values()))

    def beyond(self, bound: Bound, now: datetime, images: Iterable[str] | None = None) -> list[Stored]:
        """What `prune` would forget."""
        if not self.directory.is_dir():
            return []
        with self._locked():
            return self._beyond(bound, now, images)

    def _beyond(self, bound: Bound, now: datetime, images: Iterable[str] | None) -> list[Stored]:
        known = None if images is None else set(images)

        def useless(one: Stored) -> bool:
            other = known is not None and one.layer.image not in known
            return now - one.used > bound.age or other or not one.layer.whole

        kept = self.stored()
        gone = [one for one in kept if useless(one) and not one.in_use]
        kept = self._measured(one.layer for one in kept if one not in gone)
        while sum(one.size for one in kept) > bound.size:
            victim = next((one for one in reversed(kept) if not one.in_use), None)
            if victim is None:
                break
            gone.append(victim)
            # Its disk may be under others, which then have to count it.
            kept = self._measured(one.layer for one in kept if one is not victim)
        return gone

    def leftovers(self) -> dict[Path, int]:
        """What belongs to no layer, with its bytes on disk: records that are of no layer, and files that no record
        names, but for those that a living process is about to publish. No files while a process `hold`s them.

        OSError when a record cannot be read: its files would be taken for such.
        """
        with self._unless_held() as free:
            return self._leftovers(files=free) if self.directory.is_dir() else {}

    def _leftovers(self, *, files: bool) -> dict[Path, int]:
        named: set[Path] = set()
        found = []
        for record in self._all_records():
            if layer := self._read(record):
                named.update(layer.files)
            else:
                found.append(record)
        if files:
            found += [path for path in self._all_files() if path not in named and not _being_made(path)]
        return {path: _size(path) for path in found}

    def sweep(self, *, wait: bool = True) -> dict[Path, int]:
        """Delete the `leftovers`, under the lock; what went.

        It costs to read the records. wait: for the lock; without, nothing is done while another process has it.
        """
        if not self.directory.is_dir():
            return {}
        lock = FileLock(self.directory / "lock")
        if not lock.acquire(blocking=wait):
            return {}
        try:
            return self._sweep()
        finally:
            lock.release()

    def _sweep(self) -> dict[Path, int]:
        with self._unless_held() as free:
            gone = self._leftovers(files=free)
            for path in gone:
                remove(path)
        return gone

    def _held(self) -> FileLock:
        return FileLock(self.directory / "held")

    @contextlib.contextmanager
    def _unless_held(self) -> Iterator[bool]:
        """Whether no process holds the files; none begins to, inside, if so."""
        lock = self._held()
        try:
            yield self.directory.is_dir() and lock.acquire(blocking=False)
        finally:
            lock.release()

    def _measured(self, layers: Iterable[Layer]) -> list[Stored]:
        counted: set[Path] = set()
        found = []
        for layer in sorted(layers, key=lambda one: one.made):
            own = [path for path in layer.files if path not in counted]
            counted.update(own)
            found.append(
                Stored(
                    layer=layer, size=sum(map(_size, own)), bytes=sum(map(_bytes, own)), in_use=_in_use(layer),
                    used=datetime.fromtimestamp(_mtime(self._record(layer.id)), tz=layer.made.tzinfo),
                )
            )  # fmt: skip
        return sorted(found, key=lambda one: one.used, reverse=True)

    def _all_records(self) -> list[Path]:
        return sorted(path for path in self._records.glob("*.json") if path.is_file())

    def _all_files(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            yield from self.files.iterdir()

    def _record(self, layer_id: str) -> Path:
        return self._records / f"{layer_id}.json"

    def _known(self, record: Path) -> Layer | None:
        """The same as `_read`, and None for a record that cannot be read."""
        with contextlib.suppress(OSError):
            return self._read(record)
        return None

    def _read(self, record: Path) -> Layer | None:
        """The layer that a record is of; None if it is of none."""
        try:
            value = read_json(record)
            layer = None if value is None else Layer.from_json(value, self.files)
        except SHAPE_ERRORS:
            return None
        # Under another name it is somebody's copy: no layer is found or forgotten by it.
        return layer if layer is not None and layer.id == record.stem else None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(self.directory / "lock"):
            yield


def _in_use(layer: Layer) -> bool:
    """Whether a machine has a link of its own disk, the last: it runs on it, or is kept, or made it just now. The disks
    below it are other layers' too."""
    return _links(layer.frozen.disks[-1]) > 1


def _being_made(path: Path) -> bool:
    """Whether a living process will publish it, or go on writing it."""
    if path.name.endswith(PARTIAL):
        return is_being_written(path)
    return _links(path.with_suffix(".qcow2")) > 1


def _links(path: Path) -> int:
    try:
        return path.stat().st_nlink
    except FileNotFoundError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
