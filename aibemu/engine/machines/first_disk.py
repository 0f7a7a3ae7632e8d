"""The disk of a machine before its first boot: changed where an image would not come up with what machines have here.

The machine's own disk is changed, which is thrown away with it; the image below stays as it is.
"""

from __future__ import annotations

from aibemu.clock import Deadline
from aibemu.disks import Unreadable
from aibemu.engine.services import Services
from aibemu.errors import Expired, HostNotReady, ProvisionFailed
from aibemu.events import Kind
from aibemu.hypervisor import Machine
from aibemu.images import ImageInfo
from aibemu.processes import ToolFailed
from aibemu.systems import GuestSystem


def prepare_disk(
    services: Services, machine: Machine, role: str, system: GuestSystem, info: ImageInfo, deadline: Deadline
) -> None:
    """Let `system` change it, and say what was done. The machine was never started.

    `ProvisionFailed` when it cannot be done: nothing of it has booted then.
    """
    if not services.driver.capabilities().boots_guests:
        return
    began = services.clock.monotonic()
    try:
        done = system.prepare(machine.disk, info, deadline=deadline)
    except (HostNotReady, ToolFailed, Unreadable, Expired) as error:
        deadline.check()
        raise ProvisionFailed(
            f"the {role} machine was not started, for its disk could not be prepared: {error.message}",
            details=error.details, hint=error.hint or system.advice.image, commands=error.commands,
        ) from error  # fmt: skip
    if done is None:
        return
    seconds = services.clock.monotonic() - began
    changes = list(done.changes)
    services.emit(Kind.DISK_PREPARED, machine=machine.id, role=role, changes=changes, seconds=seconds)
    for note in done.notes:
        services.emit(Kind.NOTICE, level="warning", message=f"the disk of the {role} machine: {note}")
