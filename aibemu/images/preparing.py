"""`images prepare`: a copy of a stored Windows image that boots on the hardware that aibemu gives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from aibemu.clock import Deadline
from aibemu.disks import convert
from aibemu.disks.hives import open_windows
from aibemu.errors import UsageError
from aibemu.images import BaseImage, windows_boot
from aibemu.images.store import ImageStore
from aibemu.images.windows_boot import Mended
from aibemu.images.windows_look import look, with_facts

# The label of a prepared image: the digest of the one that it was made from.
LABEL = "prepared-from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """image: the one to use; the given one when nothing was to change. known: it had been made before."""

    image: BaseImage
    mended: Mended
    known: bool = False


def prepare_image(image: BaseImage, store: ImageStore, *, deadline: Deadline, say: Callable[[str], None]) -> Prepared:
    """Store a copy of `image` in which `windows_boot.prepare` has changed what it does; `image` stays as it is.

    Raises UsageError for an image of another system, `Unreadable` with the reason for one that cannot be prepared,
    HostNotReady without room on the disk.
    """
    if image.info.os_type != "Windows":
        raise UsageError(
            f"image {image.short} is a {image.info.os_type} image, and only Windows images are prepared",
            hint="if it holds Windows: aibemu images describe --os-type Windows; to put the Azure agent into a Linux "
            "image: --agent",
        )
    with open_windows(image.path, "qcow2", deadline) as windows:
        windows.check_closed()
        planned = windows_boot.prepare(windows, change=False)
    if not planned.changes:
        return Prepared(image=image, mended=planned)
    known = store.find_label(LABEL, image.digest)
    if known and not _is_outdated(known, deadline):
        return Prepared(image=known, mended=planned, known=True)
    say(f"copying image {image.short}")
    with store.scratch() as work:
        disk = work / "prepared.qcow2"
        convert.make_overlay(image.path, disk, deadline=deadline)
        with open_windows(disk, "qcow2", deadline, writable=True) as windows:
            done = windows_boot.prepare(windows)
            windows.save()
            facts, _ = look(windows)
        info = replace(with_facts(image.info, facts), origin=f"prepare {image.short}")
        stored = store.add(disk, info, deadline=deadline, source_format="qcow2", labels={LABEL: image.digest})
    return Prepared(image=stored, mended=done)


def _is_outdated(prepared: BaseImage, deadline: Deadline) -> bool:
    """Whether it was made by a version of aibemu that changed less."""
    with open_windows(prepared.path, "qcow2", deadline) as windows:
        return bool(windows_boot.prepare(windows, change=False).changes)
