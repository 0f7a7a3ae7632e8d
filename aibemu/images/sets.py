"""`images export` and `images import` of a set: images of one store to another one, on a stick, without a network."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aibemu import files
from aibemu.clock import Deadline
from aibemu.disks import convert
from aibemu.errors import AibemuError, HostNotReady, UsageError
from aibemu.images import BaseImage
from aibemu.images.set_format import (
    BLOCK,
    SetImage,
    blocks_of,
    check_header,
    damaged,
    end_of,
    index_of,
    is_tar,
    padding,
    read_index,
    size_of,
)  # fmt: skip
from aibemu.images.store import ImageStore, check_alias
from aibemu.processes import ToolFailed
from aibemu.reading import Unfit, blocks, in_words, open_file

# (bytes done, bytes in all)
Progress = Callable[[int, int], None]
# What a file on FAT may have; sticks are sold with it.
FAT_LIMIT = (4 << 30) - 1
_FAT = frozenset({"vfat", "msdos"})
_COPIED_AT_ONCE = 1 << 20
# Bytes after which what was written has to be on the stick: so that a cancel is answered soon, and progress is true.
_SYNCED_AT_ONCE = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """size: bytes of the file."""

    path: Path
    size: int
    images: tuple[SetImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """known: it was in the store already, and nothing was copied. aliases: those that mean it now, of the set's."""

    image: BaseImage
    known: bool
    aliases: tuple[str, ...]


def is_set(path: Path) -> bool:
    """Whether the file is a tar archive, and so, if it can be imported at all, a set. False too for what cannot be
    read: who reads it says why."""
    try:
        with open_file(path) as stream:
            return is_tar(stream.read(BLOCK))
    except OSError:
        return False


def export_set(
    path: Path, images: Sequence[BaseImage], store: ImageStore, *, deadline: Deadline, progress: Progress,
    replace: bool = False,
) -> Exported:  # fmt: skip
    """Write `images`, with their aliases, into one new file, all of it or nothing.

    Raises UsageError when `path` cannot be that file or exists (unless `replace`), HostNotReady when its file system
    cannot take it, or an image of the store is damaged.
    """
    aliases = store.aliases()
    chosen = sorted({image.digest: image for image in images}.values(), key=lambda image: image.digest)
    listed = tuple(_listed(image, aliases) for image in chosen)
    index = index_of(listed)
    size = size_of(len(index), listed)
    _check_target(path, replace)
    _remove_left(path)
    _check_room(path, size)
    written = 0

    def put(stream: BinaryIO, data: bytes) -> None:
        nonlocal written
        deadline.check()
        stream.write(data)
        if (written + len(data)) // _SYNCED_AT_ONCE > written // _SYNCED_AT_ONCE:
            stream.flush()
            os.fdatasync(stream.fileno())
        written += len(data)
        progress(written, size)

    with _telling(path), files.replacing(path) as temporary, temporary.open("xb") as stream:
        put(stream, index)
        for image, entry in zip(chosen, listed, strict=True):
            put(stream, entry.header)
            for block in _checked_blocks(image):
                put(stream, block)
            put(stream, padding(image.file_size))
        put(stream, end_of(len(index), listed))
    return Exported(path=path, size=size, images=listed)


def import_set(
    path: Path, store: ImageStore, *, deadline: Deadline, progress: Progress, limit: int, force: bool = False,
    renamed: Sequence[str] = (),
) -> list[Arrived]:  # fmt: skip
    """Take all images of a set, and their aliases; what is in the store already is not copied.

    Every image is copied beside the store and checked before the first one is in it. renamed: `OLD=NEW` for an alias of
    the set, or a name for the only image of a set instead of those it has there. limit: bytes that an image may have.
    Raises UsageError for a set that is damaged or hostile, and when an alias means another image here, unless `force`;
    HostNotReady without room on the disk, or when the file cannot be read to its end.
    """
    with _reading(path), open_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        listed = read_index(stream, path, size=size, limit=limit)
        names = _names(listed, renamed)
        _check_names(store, names, force)
        missing = [image for image in listed if store.find(image.digest) is None]
        store.root.mkdir(parents=True, exist_ok=True)
        wanted = sum(image.file_size for image in missing)
        convert.ensure_space(store.root, wanted, f"the images of {path.name}")
        with store.scratch() as work:
            for image in listed:
                deadline.check()
                check_header(stream, path, image)
                if image in missing:
                    _copy(stream, path, image, work, deadline, lambda: progress(stream.tell(), size))
                else:
                    stream.seek(image.file_size + -image.file_size % BLOCK, os.SEEK_CUR)
            for image in missing:
                _check_disk(work / image.digest, path, image, deadline)
            for image in missing:
                store.adopt(work / image.digest, image.digest, image.virtual_size, image.info)
    return [_arrived(store, image, names[image.digest], image not in missing) for image in listed]


def _arrived(store: ImageStore, image: SetImage, names: Sequence[str], known: bool) -> Arrived:
    found = store.aliases()
    for name in names:
        if found.get(name) != image.digest:
            store.set_alias(name, image.digest)
    return Arrived(image=store.get(image.digest), known=known, aliases=tuple(names))


def _listed(image: BaseImage, aliases: Mapping[str, str]) -> SetImage:
    return SetImage(
        digest=image.digest, file_size=image.file_size, virtual_size=image.virtual_size, info=image.info,
        aliases=tuple(name for name, digest in aliases.items() if digest == image.digest),
    )  # fmt: skip


def _check_target(path: Path, replace: bool) -> None:
    if not path.parent.is_dir():
        raise UsageError(
            f"the folder {path.parent} is not there",
            hint="if it is a stick, mount it first: the file would be written to this computer's own disk",
        )
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path} is not a regular file", hint="name a new file, on a stick that is mounted")
    if path.exists() and not replace:
        raise UsageError(f"{path} is there already", hint="to replace it: --force")


def _remove_left(path: Path) -> None:
    """What an export that was killed, or whose stick was pulled out, has left there."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{files.PARTIAL}"):
        if files.is_left(left):
            left.unlink(missing_ok=True)


def _check_room(path: Path, size: int) -> None:
    kind = files.file_system(path.parent)
    if kind in _FAT and size > FAT_LIMIT:
        raise too_large_for(path, size, f" ({kind}: less than 4 GiB)")
    free = os.statvfs(path.parent)
    room = free.f_bavail * free.f_frsize
    if room < size:
        raise HostNotReady(
            f"{path.parent} has {in_words(room)} free, and {path.name} will have {in_words(size)}",
            hint="free some space there, take another stick, or name fewer images",
        )


def too_large_for(path: Path, size: int, why: str = "") -> HostNotReady:
    """The error for a file system that has no files as large as that."""
    return HostNotReady(
        f"{path} will have {in_words(size)}, more than a file on that file system may have{why}",
        hint="format the stick as exFAT or ext4, or export each image to a file of its own: "
        "aibemu images export FILE NAME",
    )


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """What goes wrong while `path` is written, in words about `path`."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise HostNotReady(
                f"{path} would be larger than a file on that file system may be; nothing is left there",
                hint="format the stick as exFAT or ext4, or export fewer images at a time",
            ) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HostNotReady(
                f"there is no room left for {path}; nothing is left there", hint="free some space there"
            ) from error
        raise HostNotReady(
            f"{path} could not be written: {error.strerror or error}", hint="is the stick still there, and writable?"
        ) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What goes wrong while `path` is read, in words about `path`; of the store's own disk others tell."""
    try:
        yield
    except Unfit:
        raise
    except OSError as error:
        if error.errno not in (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE):
            raise
        raise HostNotReady(
            f"{path} could not be read to its end: {error.strerror}; nothing was imported",
            hint="is the stick still there? copy the file to this computer's disk first, and import it from there",
        ) from error


def _checked_blocks(image: BaseImage) -> Iterator[bytes]:
    """The bytes of a stored image; an error at the end when they are no longer what they were."""
    digest = hashlib.sha256()
    try:
        with open_file(image.path) as stream:
            for block in blocks(stream, image.path, limit=image.file_size):
                digest.update(block)
                yield block
    except OSError as error:
        raise _bad(image, error.strerror or str(error)) from error
    if digest.hexdigest() != image.digest:
        raise _bad(image, "its bytes changed since it was stored")


def _bad(image: BaseImage, why: str) -> AibemuError:
    return HostNotReady(
        f"image {image.short} cannot be exported: {why}",
        hint="remove it, and build or import it again",
        commands=[f"aibemu images remove {image.short}"],
    )


def _names(listed: Sequence[SetImage], renamed: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """digest -> the aliases that it shall have here."""
    changes = dict(entry.split("=", 1) for entry in renamed if "=" in entry)
    own = tuple(entry for entry in renamed if "=" not in entry)
    for name in (*changes.values(), *own):
        check_alias(name)
    if own and len(listed) > 1:
        raise UsageError(
            f"the set has {len(listed)} images, and --alias {own[0]} does not say which one",
            hint="rename an alias of the set: --alias OLD=NEW",
        )
    there = {alias for image in listed for alias in image.aliases}
    if unknown := [name for name in changes if name not in there]:
        raise UsageError(f"the set has no alias {unknown[0]}", details=sorted(there))
    names = {image.digest: own or tuple(changes.get(name, name) for name in image.aliases) for image in listed}
    every = [name.lower() for found in names.values() for name in found]
    if len(set(every)) < len(every):
        raise UsageError("two images of the set would have the same alias", hint="give each another one")
    return names


def _check_names(store: ImageStore, names: Mapping[str, Sequence[str]], force: bool) -> None:
    here = {name.lower(): digest for name, digest in store.aliases().items()}
    taken = [
        (name, here[name.lower()]) for digest, found in names.items() for name in found
        if here.get(name.lower(), digest) != digest
    ]  # fmt: skip
    if taken and not force:
        raise UsageError(
            f"the alias {taken[0][0]} is another image here"
            + (f", and so are {len(taken) - 1} more" if taken[1:] else ""),
            details=[f"{name} is {digest[:12]}" for name, digest in taken],
            hint="to let it mean the image of the set: --force; to give that one another name: --alias OLD=NEW",
        )


def _copy(
    stream: BinaryIO, path: Path, image: SetImage, work: Path, deadline: Deadline, copied: Callable[[], None]
) -> None:
    """Into the work folder, synced, if its digest is right."""
    digest = hashlib.sha256()
    target = work / image.digest
    with target.open("xb") as writer:
        for block in blocks_of(stream, path, image, block=_COPIED_AT_ONCE):
            deadline.check()
            digest.update(block)
            writer.write(block)
            copied()
    if digest.hexdigest() != image.digest:
        raise damaged(path, f"image {image.short} in it has other bytes than when it was exported")
    convert.flush(target, deadline=deadline)


def _check_disk(disk: Path, path: Path, image: SetImage, deadline: Deadline) -> None:
    """The digest says that it is what was exported, not that what was exported is an image: anybody can make a set."""
    try:
        virtual_size, references = _look(disk, deadline)
    except (UsageError, ToolFailed) as error:
        raise damaged(path, f"image {image.short} in it is no sound qcow2 image") from error
    if references:
        raise UsageError(
            f"image {image.short} of {path} refers to other files of this host, and none that aibemu exports does; "
            "nothing was imported",
            details=references,
            hint="do not use this file: somebody made it by hand",
        )
    if virtual_size != image.virtual_size:
        raise damaged(path, f"the disk of image {image.short} has {virtual_size} bytes, not {image.virtual_size}")


def _look(disk: Path, deadline: Deadline) -> tuple[int, tuple[str, ...]]:
    """(bytes of the disk, other files that it refers to); no tool has a reason to open these."""
    _, references, _ = convert.probe(disk)
    if references:
        return 0, references
    found = convert.info(disk, deadline=deadline, format="qcow2")
    convert.check(disk, deadline=deadline)
    return found.virtual_size, found.references
