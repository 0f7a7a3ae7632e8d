"""Freezing a running machine into files, and taking one up from them: QEMU's own migration, to a file and back.

The disk is frozen by putting a new overlay over it: from then on the old one is read only. Memory goes to a file by its
descriptor, so that QEMU's sandbox, which forbids it to start programs, stays as it is. All of it while the guest stands
still, so that disk and memory are of the same moment; 0.3 s for a guest of 1 GiB (facts: host, "Time to SSH").
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from aibemu.clock import Deadline, forever
from aibemu.errors import AibemuError, Expired, FreezeFailed, ProvisionFailed
from aibemu.files import PARTIAL, link_or_copy, remove
from aibemu.hypervisor import Frozen, MachineSpec
from aibemu_drivers.overlay import stack_overlay
from aibemu_drivers.qemu.arguments import overlay_node
from aibemu_drivers.qemu.monitor import Monitor

# Seconds for memory to be written or read: 64 GiB on a slow disk. It takes a third of a second for 1 GiB.
MEMORY_BOUND = 600.0
GO_ON_BOUND = 60.0
# QEMU's words.
NOT_YET = "not finalized yet"


def save_memory(monitor: Monitor, target: Path) -> None:
    """Write the memory of a machine that stands still to `target`, its owner's only; `FreezeFailed` leaves no file."""
    try:
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as stream:
            monitor.migrate("migrate", stream.fileno(), forever().within(MEMORY_BOUND))
    except (OSError, ProvisionFailed, Expired) as error:
        target.unlink(missing_ok=True)
        raise _failed("its memory could not be saved", error) from error


def load_memory(monitor: Monitor, frozen: Frozen, deadline: Deadline) -> None:
    """Fill a QEMU that waits for it (`-incoming defer`). `ProvisionFailed` or `Expired` if it cannot."""
    try:
        with frozen.memory.open("rb") as stream:
            monitor.migrate("migrate-incoming", stream.fileno(), deadline)
    except OSError as error:
        raise ProvisionFailed(f"the frozen memory {frozen.memory} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def standing_still(monitor: Monitor) -> Iterator[None]:
    """The guest's CPUs stand still inside."""
    monitor.execute("stop")
    try:
        yield
    finally:
        _go_on(monitor)


class StandsStill(ProvisionFailed):
    """The machine could not be made to go on: it is lost."""


def _go_on(monitor: Monitor) -> None:
    """QEMU says that memory is saved a moment before it lets the guest go on, and refuses until then."""
    bound = forever().within(GO_ON_BOUND)
    while True:
        try:
            monitor.execute("cont")
            return
        except ProvisionFailed as error:
            if bound.remaining() == 0 or not any(NOT_YET in detail for detail in error.details):
                raise StandsStill(error.message, details=error.details) from error
        bound.sleep(0.002)


def put_overlay(monitor: Monitor, node: str, fresh: Path) -> str:
    """Make the guest write to `fresh`, an empty overlay on the file of `node`, from now on; gives its node's name."""
    name = f"os-{secrets.token_hex(4)}"
    monitor.execute("blockdev-add", overlay_node(name, fresh) | {"backing": None})
    monitor.execute("blockdev-snapshot", {"node": node, "overlay": name})
    return name


def collect(disks: list[Path], memory: Path, folder: Path) -> Frozen:
    """Give the frozen files their names in `folder`. `FreezeFailed` leaves none of them there that was not before."""
    target = folder / f"{disks[-1].stem}.memory"
    made: list[Path] = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for disk in disks:
            if not (folder / disk.name).exists():
                link_or_copy(disk, folder / disk.name)
                made.append(folder / disk.name)
        made.append(target)
        memory.rename(target)
    except OSError as error:
        for path in (*made, memory):
            remove(path)
        raise _failed(f"it could not be put into {folder}", error) from error
    return Frozen(disks=tuple(folder / disk.name for disk in disks), memory=target)


def memory_name(disk: Path, folder: Path) -> Path:
    """Where memory is written first: in `folder`, under a name that the sweep of dead processes knows."""
    return folder / f".{disk.stem}.memory.{os.getpid()}.{secrets.token_hex(3)}{PARTIAL}"


def new_layer_disk(disk: Path, fresh: Path, spec: MachineSpec) -> None:
    """The overlay that the guest will write to; made before it is stopped."""
    try:
        stack_overlay(disk, fresh, spec.disk_bytes)
    except ProvisionFailed as error:
        raise _failed("a new overlay could not be made", error) from error


def _failed(why: str, error: Exception) -> FreezeFailed:
    details = [error.message, *error.details] if isinstance(error, AibemuError) else [str(error)]
    return FreezeFailed(f"the machine was not frozen: {why}", details=details)
