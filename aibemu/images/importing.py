"""Taking a disk image file into the store: look into it, store it, name it. The source file is only read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.disks import convert
from aibemu.errors import UsageError
from aibemu.images import BaseImage, Generation, ImageInfo, Provisioning
from aibemu.images.inspect import DiskFacts, inspect
from aibemu.images.store import ImageStore, fingerprint
from aibemu.processes import ToolFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """known: the same file had been imported before and nothing was copied."""

    image: BaseImage
    known: bool
    notes: tuple[str, ...]


def import_image(
    path: Path,
    store: ImageStore,
    *,
    deadline: Deadline,
    say: Callable[[str], None],
    format: str | None = None,
    os_type: str | None = None,
    generation: Generation | None = None,
    provisioning: Provisioning | None = None,
    prefer: Generation | None = None,
    aliases: Sequence[str] = (),
    origin: str | None = None,
    labels: dict[str, str] | None = None,
) -> Imported:
    """Import one stand-alone qcow2, raw, VHD, VHDX or VMDK file.

    os_type, generation and provisioning overrule what the disk shows; `prefer` decides only if it boots both ways.
    Raises UsageError for a file that refers to others or is no disk image, HostNotReady without room on the disk.
    """
    disk = convert.info(path, deadline=deadline, format=format)
    seen = "" if disk.references else fingerprint(path, disk.format, deadline)
    image = store.known_source(seen) if seen else None
    if known := image is not None:
        say(f"{path.name} was imported before: it is image {image.short}")
        notes: tuple[str, ...] = ()
        info = overruled(image.info, os_type, generation, provisioning)
        if info != image.info:
            image = store.describe(image.digest, info)
    else:
        say(f"looking into {path.name} ({disk.format}, {disk.virtual_size / 1024**2:.0f} MiB)")
        _refuse_damaged(path, disk.format, deadline)
        with store.scratch() as work:
            facts = inspect(path, scratch=work, deadline=deadline, format=format)
        notes = facts.notes
        as_seen = _info(facts, prefer, origin or f"import {path.resolve()}")
        info = _recognised(overruled(as_seen, os_type, generation, provisioning), path)
        image = store.add(path, info, deadline=deadline, source_format=format, labels=labels, fingerprint=seen)
    _name(store, image, aliases)
    return Imported(image=image, known=known, notes=notes)


def _recognised(info: ImageInfo, path: Path) -> ImageInfo:
    if not info.os_type:
        raise UsageError(f"no operating system was recognised on {path}", hint="say what it is with --os-type")
    return info


def _name(store: ImageStore, image: BaseImage, aliases: Sequence[str]) -> None:
    for alias in aliases:
        store.set_alias(alias, image.digest)


def _refuse_damaged(path: Path, format: str, deadline: Deadline) -> None:
    """A cut-off download opens and converts without a word: what is missing reads as zeros."""
    try:
        convert.check(path, deadline=deadline, format=format)
    except ToolFailed as error:
        raise UsageError(
            f"{path} is damaged: qemu-img check found errors in it",
            details=error.details[1:6],
            hint="fetch or copy it again, and compare its checksum",
        ) from error


def _info(facts: DiskFacts, prefer: Generation | None, origin: str) -> ImageInfo:
    return ImageInfo(
        os_type=facts.os_type, os_name=facts.os_name,
        generation=prefer if prefer in facts.generations and prefer else facts.generation,
        provisioning=facts.provisioning, generalized=facts.generalized, origin=origin,
    )  # fmt: skip


def overruled(
    info: ImageInfo, os_type: str | None, generation: Generation | None, provisioning: Provisioning | None
) -> ImageInfo:
    """`info` with what a person says in the place of what was seen; None leaves it as it is."""
    return replace(
        info, os_type=os_type or info.os_type, generation=generation or info.generation,
        provisioning=provisioning or info.provisioning,
    )  # fmt: skip
