"""What a Windows needs on its disk before its first boot here: drivers of this hardware, and no answer file of its own
that Setup would take in place of the one on the stick. Only the machine's own disk is changed, never the image.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.clock import Deadline
from aibemu.disks import Unreadable
from aibemu.systems.findings import Prepared

if TYPE_CHECKING:
    from aibemu.disks.hives import WindowsDisk
    from aibemu.images import ImageInfo

# Seconds, before scaling, for all of it: it takes less than one.
BOUND = 60.0
# Part of the key of layers: another one when more, or something else, is done.
_VERSION = 1
_UNCLOSED = "nothing is changed on it; Windows mends that itself when it boots, and may not come up"


def prepare_disk(disk: Callable[[], AbstractContextManager[Path]], info: ImageInfo, deadline: Deadline) -> Prepared:
    """See `aibemu.systems.GuestSystem.prepare`. All is written, or nothing."""
    from aibemu.disks.hives import open_windows

    with ExitStack() as held:
        file = held.enter_context(disk())
        try:
            windows = held.enter_context(
                open_windows(file, "qcow2", deadline.within(BOUND), writable=True, unclosed=True)
            )
        except Unreadable as error:
            if info.windows is not None:
                raise
            # A person took it as it is; what is known of it was said before.
            return Prepared(notes=(f"nothing was looked at: {error.message}",))
        return _prepare(windows)


def rules() -> str:
    """What is done, as a text that changes when it is something else."""
    from aibemu.images import windows_boot

    return f"first disk {_VERSION}, {windows_boot.rules()}"


def _prepare(windows: WindowsDisk) -> Prepared:
    from aibemu.images import windows_boot
    from aibemu.images.windows_answers import set_aside, waiting

    mended = windows_boot.prepare(windows)
    answers, unknown = waiting(windows)
    changes = [*map(str, mended.changes), *(set_aside(windows, answer) for answer in answers)]
    try:
        windows.check_closed()
    except Unreadable as error:
        # One that is asleep would go on from its memory, on hardware that is not there.
        if windows.asleep or answers or mended.is_needed:
            raise
        return Prepared(notes=(*mended.notes, *unknown, f"{error.message}; {_UNCLOSED}"))
    if changes:
        windows.save()
    return Prepared(changes=tuple(changes), notes=(*mended.notes, *unknown))
