"""Taking a disk image file into the store: look into it, store it, name it. The source file is only read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

from aibemu.clock import Deadline
from aibemu.disks import convert
from aibemu.disks.partitions import partitions
from aibemu.disks.standalone import check_alone
from aibemu.errors import UsageError
from aibemu.images import BaseImage, Generation, ImageInfo, Provisioning
from aibemu.images.inspect import DiskFacts, inspect
from aibemu.images.store import ImageStore, check_aliases, fingerprint
from aibemu.images.windows_look import refreshed
from aibemu.processes import ToolFailed
from aibemu.reading import in_words

Ask = Callable[[str], str | None]

# Bytes that a disk may have, unless the settings say something else.
LARGEST = 256 << 30


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
    limit: int = LARGEST,
    ask: Ask = lambda question: None,
    source: str | None = None,
) -> Imported:
    """Import one stand-alone qcow2, raw, VHD, VHDX or VMDK file.

    os_type, generation and provisioning overrule what the disk shows; `prefer` decides only if it boots both ways. ask:
    of a person, what a disk holds that does not show it; None when nobody can say. source: what the store is to know it
    by, instead of its bytes. Raises UsageError for a bad alias, for a file that has more than `limit` bytes, refers to
    others, is no disk image or cannot be looked into; HostNotReady without room on the disk.
    """
    check_aliases(aliases)
    disk = _opened(path, deadline, format, limit)
    seen = source or fingerprint(path, disk.format, deadline)
    said = Options(os_type=os_type, generation=generation, provisioning=provisioning, aliases=aliases)
    if known := imported_before(seen, path.name, store, deadline=deadline, say=say, **said):
        return known
    say(f"looking into {path.name} ({disk.format}, {disk.virtual_size / 1024**2:.0f} MiB)")
    facts = _looked_into(path, store, disk.format, deadline, format)
    os_type, notes = _system(path, facts, os_type, ask)
    if generation and generation not in facts.generations:
        notes += (f"it is taken as generation {generation}, as was said, and nothing on its disk boots as that",)
    info = overruled(_info(facts, prefer, origin or f"import {path.resolve()}"), os_type, generation, provisioning)
    image = store.add(path, info, deadline=deadline, source_format=format, labels=labels, fingerprint=seen)
    _name(store, image, aliases)
    return Imported(image=image, known=False, notes=notes)


class Options(TypedDict, total=False):
    """What may be said of a disk, as `import_image` takes it."""

    format: str | None
    os_type: str | None
    generation: Generation | None
    provisioning: Provisioning | None
    prefer: Generation | None
    aliases: Sequence[str]
    origin: str | None
    labels: dict[str, str] | None
    limit: int
    ask: Ask


def imported_before(
    source: str, name: str, store: ImageStore, *, deadline: Deadline, say: Callable[[str], None],
    **options: Unpack[Options],
) -> Imported | None:  # fmt: skip
    """The image that was made of `source` before, as `import_image` gives it; None if there is none. name: of the
    file, for people."""
    image = store.known_source(source)
    if image is None:
        return None
    say(f"{name} was imported before: it is image {image.short}")
    os_type, generation = options.get("os_type"), options.get("generation")
    info = overruled(_never_looked(image, store, deadline), os_type, generation, options.get("provisioning"))
    image = _described(image, store, info)
    _name(store, image, options.get("aliases", ()))
    return Imported(image=image, known=True, notes=())


def _opened(path: Path, deadline: Deadline, format: str | None, limit: int) -> convert.DiskInfo:
    """What the file is, unless it refers to others, or is too large: a sparse file takes no room, but hours to be
    read."""
    disk = convert.info(path, deadline=deadline, format=format)
    check_alone(path, disk.references)
    for what, size in (("file", path.stat().st_size), ("disk in it", disk.virtual_size)):
        if size > limit:
            raise UsageError(
                f"{path}: the {what} has {in_words(size)}, more than the {in_words(limit)} that are taken",
                details=[f"on this host's disk it takes {in_words(disk.allocated)}"],
                hint="the setting image_size is the largest that is taken",
            )
    return disk


def _looked_into(path: Path, store: ImageStore, found: str, deadline: Deadline, format: str | None) -> DiskFacts:
    _refuse_damaged(path, found, deadline, said=format is not None)
    with store.scratch() as work:
        return inspect(path, scratch=work, deadline=deadline, format=format)


def _system(path: Path, facts: DiskFacts, said: str | None, ask: Ask) -> tuple[str | None, tuple[str, ...]]:
    """(the system that a person says, None if the disk shows it; notes). UsageError when nobody knows it."""
    if facts.os_type and not facts.unread:
        return said, facts.notes
    why = facts.unread or "no operating system was recognised"
    said = said or ask(f"{path.name}: {why}. What does it hold, Linux or Windows?")
    if said:
        return said, (f"nothing is known of what is on it: {why}",)
    if facts.os_type:
        raise UsageError(
            f"the {facts.os_type} on {path} cannot be read: {facts.unread}",
            hint=f"to take it as it is, unread: --os-type {facts.os_type}",
        )
    raise UsageError(
        f"no operating system was recognised on {path}",
        details=[facts.unread] if facts.unread else [], hint="say what it is with --os-type",
    )  # fmt: skip


def _never_looked(image: BaseImage, store: ImageStore, deadline: Deadline) -> ImageInfo:
    """What is known of a stored image, and what an earlier version did not read."""
    return image.info if image.info.looked_at else looked_again(image, store, deadline)


def looked_again(image: BaseImage, store: ImageStore, deadline: Deadline) -> ImageInfo:
    """What is known of a stored image, with what its disk says now. Its generation stays what it was said to be."""
    info = image.info
    if info.os_type == "Windows":
        return refreshed(info, image.path, deadline)
    with store.scratch() as work:
        facts = inspect(image.path, scratch=work, deadline=deadline, format="qcow2")
    if facts.linux is None:
        return info
    return replace(
        info, os_name=facts.os_name, generalized=facts.generalized, linux=facts.linux, generations=facts.generations
    )  # fmt: skip


def _name(store: ImageStore, image: BaseImage, aliases: Sequence[str]) -> None:
    for alias in aliases:
        store.set_alias(alias, image.digest)


def _described(image: BaseImage, store: ImageStore, info: ImageInfo) -> BaseImage:
    return image if info == image.info else store.describe(image.digest, info)


def _refuse_damaged(path: Path, format: str, deadline: Deadline, *, said: bool) -> None:
    """A cut-off download opens and converts without a word: what is missing reads as zeros. said: a person named the
    format."""
    if (format != "raw" or not said) and convert.is_cut_off(path, format):
        raise UsageError(
            f"{path} is damaged: a VHD ends with a footer, and this file does not",
            hint="fetch or copy it again, and compare its checksum; if it is a raw disk: --format raw",
        )
    if format == "raw" and not said and (ends := _behind_its_end(path)):
        raise UsageError(
            f"{path} is cut off: a partition of it ends at byte {ends}, and the file has {path.stat().st_size}",
            hint="fetch or copy it again, and compare its checksum; to take what is there: --format raw",
        )
    try:
        convert.check(path, deadline=deadline, format=format)
    except ToolFailed as error:
        raise UsageError(
            f"{path} is damaged: qemu-img check found errors in it",
            details=error.details[1:6],
            hint="fetch or copy it again, and compare its checksum",
        ) from error


def _behind_its_end(path: Path) -> int:
    """Where the last partition of a raw disk ends, if that is behind the end of its file; else 0. A fixed VHD without
    its end is a raw disk to whoever looks at it."""
    table = partitions(path)
    ends = max((part.start + (part.size or 0) for part in table.partitions), default=0)
    return ends if ends > table.size else 0


def _info(facts: DiskFacts, prefer: Generation | None, origin: str) -> ImageInfo:
    return ImageInfo(
        os_type=facts.os_type, os_name=facts.os_name,
        generation=prefer if prefer in facts.generations and prefer else facts.generation,
        provisioning=facts.provisioning, generalized=facts.generalized, origin=origin, windows=facts.windows,
        linux=facts.linux, generations=facts.generations,
    )  # fmt: skip


def overruled(
    info: ImageInfo, os_type: str | None, generation: Generation | None, provisioning: Provisioning | None
) -> ImageInfo:
    """`info` with what a person says in the place of what was seen; None leaves it as it is."""
    named = os_type if os_type and not info.os_type else info.os_name
    return replace(
        info, os_type=os_type or info.os_type, os_name=named, generation=generation or info.generation,
        provisioning=provisioning or info.provisioning, windows=info.windows if os_type != "Linux" else None,
        linux=info.linux if os_type != "Windows" else None,
    )  # fmt: skip
