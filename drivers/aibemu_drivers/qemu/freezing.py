"""Freezing a running machine into files, and taking one up from them: QEMU's own migration, to a file and back.

The disk is frozen by putting a new overlay over it: from then on the old one is read only. Memory goes to a file by its
descriptor, so that QEMU's sandbox, which forbids it to start programs, stays as it is. All of it while the guest stands
still, so that disk and memory are of the same moment; 0.3 s for a guest of 1 GiB (facts: host, "Time to SSH").
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from aibemu.clock import Deadline, forever
from aibemu.errors import AibemuError, BuildCancelled, BuildTimedOut, Expired, FreezeFailed, ProvisionFailed
from aibemu.files import link_or_copy, partial_name, remove
from aibemu.hypervisor import Frozen, MachineSpec
from aibemu.reading import open_file
from aibemu_drivers.overlay import stack_overlay
from aibemu_drivers.qemu.arguments import overlay_node
from aibemu_drivers.qemu.monitor import Monitor, NoAnswer

# Seconds for memory to be written or read: 64 GiB on a slow disk. It takes a third of a second for 1 GiB.
MEMORY_BOUND = 600.0
GO_ON_BOUND = 60.0
# The same when the build has ended meanwhile, which must not wait.
PARTING_BOUND = 2.0
# QEMU's words.
NOT_YET, RESET_FIRST = "not finalized yet", "Resetting the Virtual Machine is required"


class MachineLost(ProvisionFailed):
    """It cannot be made to go on, or nobody knows which file is its disk: no build can go on with it."""


def save_memory(monitor: Monitor, target: Path, deadline: Deadline) -> None:
    """Write the memory of a machine that stands still to `target`, its owner's only.

    `FreezeFailed` when it cannot be, and what `deadline` raises at the build's end; either may leave a part of it.
    """
    try:
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as stream:
            monitor.migrate("migrate", stream.fileno(), deadline.within(MEMORY_BOUND, scaled=False))
    except BaseException as error:
        # Else it would end later, and QEMU then stop a guest that runs again.
        monitor.give_up_migration()
        if isinstance(error, OSError | ProvisionFailed | Expired):
            raise _failed("its memory could not be saved", error) from error
        raise


def load_memory(monitor: Monitor, memory: Path, deadline: Deadline) -> None:
    """Fill a QEMU that waits for it (`-incoming defer`).

    `MigrationFailed` when QEMU refuses it, other `ProvisionFailed` when it cannot, and what `deadline` raises at the
    build's end.
    """
    try:
        with open_file(memory) as stream:
            monitor.migrate("migrate-incoming", stream.fileno(), deadline.within(MEMORY_BOUND, scaled=False))
    except OSError as error:
        raise ProvisionFailed(f"the frozen memory {memory} cannot be read: {error.strerror}") from error
    except Expired:
        raise ProvisionFailed(
            f"the frozen memory {memory} was not loaded within {MEMORY_BOUND:.0f} s",
            hint="the host's disk is very slow or busy: try again",
        ) from None


@contextlib.contextmanager
def standing_still(monitor: Monitor, deadline: Deadline) -> Iterator[None]:
    """The guest's CPUs stand still inside. `MachineLost` if they do after it too, unless the build has ended."""
    try:
        monitor.execute("stop", deadline=deadline)  # which also counts when it is answered too late
        yield
    finally:
        go_on(monitor, deadline)


def go_on(monitor: Monitor, deadline: Deadline, how: Callable[[Monitor, Deadline], None] | None = None) -> None:
    """Let a machine that stands still go on; `how`: otherwise than by `proceed`. `MachineLost` if it does not, unless
    the build has ended, which it says then: the machine has had a moment."""
    build, does = replace(deadline, ends=math.inf), how or proceed
    try:
        does(monitor, build.within(GO_ON_BOUND, scaled=False))
    except (BuildCancelled, BuildTimedOut):  # the machine may be kept
        with contextlib.suppress(MachineLost):
            does(monitor, forever().within(PARTING_BOUND))
        raise
    except MachineLost:
        build.check()  # when it has ended, that counts for more
        raise


def proceed(monitor: Monitor, bound: Deadline) -> None:
    """QEMU says that memory is saved a moment before it lets the guest go on, and refuses until then; and so it does
    between hearing of a reset and doing it. `MachineLost` when it goes on refusing."""
    while True:
        try:
            monitor.execute("cont", deadline=bound)
            return
        except ProvisionFailed as error:
            lost = MachineLost(error.message, details=error.details)
            if not any(words in detail for detail in error.details for words in (NOT_YET, RESET_FIRST)):
                raise lost from error
        try:
            bound.sleep(0.002)
        except Expired:
            raise lost from None


def put_overlay(monitor: Monitor, node: str, fresh: Path, deadline: Deadline) -> str:
    """Make the guest write to `fresh`, an empty overlay on the file of `node`, from now on; gives its node's name.

    `MachineLost` when QEMU does not say whether it does; other `ProvisionFailed` when it does not.
    """
    name = f"os-{secrets.token_hex(4)}"
    monitor.execute("blockdev-add", overlay_node(name, fresh) | {"backing": None}, deadline=deadline)
    try:
        monitor.execute("blockdev-snapshot", {"node": node, "overlay": name}, deadline=deadline)
    except NoAnswer as error:
        raise MachineLost(
            f"QEMU did not say which file is the disk of the machine {monitor.machine_id} now", details=error.details
        ) from error
    return name


def collect(disks: list[Path], memory: Path | None, folder: Path, deadline: Deadline) -> Frozen:
    """Give the frozen files their names in `folder`; memory: None where there is none. `FreezeFailed` leaves none of
    them there that was not before, nor does the build's end."""
    target = folder / f"{disks[-1].stem}.memory" if memory else None
    made: list[Path] = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for disk in disks:
            deadline.check()  # where it is a copy, it takes its time
            if not (folder / disk.name).exists():
                link_or_copy(disk, folder / disk.name, check=deadline.check)
                made.append(folder / disk.name)
        if memory and target:
            made.append(target)
            memory.rename(target)
    except (OSError, AibemuError) as error:
        for path in filter(None, (*made, memory)):
            remove(path)
        if isinstance(error, OSError):
            raise _failed(f"it could not be put into {folder}", error) from error
        raise
    return Frozen(disks=tuple(folder / disk.name for disk in disks), memory=target)


def memory_name(disk: Path, folder: Path) -> Path:
    """Where memory is written first: in `folder`, under a name that the sweep of dead processes knows."""
    return folder / partial_name(f"{disk.stem}.memory")


def new_layer_disk(disk: Path, fresh: Path, spec: MachineSpec, deadline: Deadline) -> None:
    """The overlay that the guest will write to; made before it is stopped."""
    try:
        stack_overlay(disk, fresh, spec.disk_bytes, deadline)
    except (ProvisionFailed, Expired) as error:
        raise _failed("a new overlay could not be made", error) from error


def _failed(why: str, error: Exception) -> FreezeFailed:
    details = [error.message, *error.details] if isinstance(error, AibemuError) else [str(error)]
    return FreezeFailed(f"the machine was not frozen: {why}", details=details)
