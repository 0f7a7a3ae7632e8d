"""Sealing: what must be changed on the disk of a generalised machine while it is off, before anybody takes it.

The changes go into an overlay of their own, which takes the disk's place when all of them are made: what fails half-way
changes nothing. The build then goes on with the disk as the guest left it, and a warning says so. It fails only when
the disk is no image at all.
"""

from __future__ import annotations

from pathlib import Path

from aibemu.disks.convert import make_overlay
from aibemu.disks.libguestfs import Unreadable
from aibemu.engine.machines.boot import Booted
from aibemu.engine.state import BuildState
from aibemu.errors import AibemuError, Expired, HostNotReady
from aibemu.events import Kind
from aibemu.files import make_folder, remove
from aibemu.processes import ToolFailed
from aibemu.systems.findings import Sealed


def seal(state: BuildState, build: Booted) -> Sealed | None:
    """Let `state.disk` be the sealed disk of a machine that is off. What was done, and what the disk says; None where
    nothing was, for its system needs none, or it could not be done."""
    if not build.system.seals_disks:
        return None
    assert state.disk is not None
    folder = state.services.run.work / build.role  # removed with the machine
    sealed = folder / "sealed.qcow2"
    clock = state.services.clock
    began = clock.monotonic()
    try:
        make_folder(folder, mode=0o700)
        remove(sealed)
        make_overlay(state.disk, sealed, deadline=state.deadline)
        done = build.system.seal(sealed, build.identity.user, deadline=state.deadline)
    except (HostNotReady, ToolFailed, Unreadable, Expired, OSError) as error:
        state.deadline.check()
        _not_sealed(state, sealed, error)
        return None
    except BaseException:
        remove(sealed)
        raise
    if done.changes:
        state.disk = sealed
    else:
        remove(sealed)
    state.emit(
        Kind.DISK_SEALED, machine=build.machine.id, changes=list(done.changes), seconds=clock.monotonic() - began
    )  # fmt: skip
    for note in done.notes:
        state.emit(Kind.NOTICE, level="warning", message=f"the disk of the image: {note}")
    return done


def _not_sealed(state: BuildState, sealed: Path, error: AibemuError | OSError) -> None:
    remove(sealed)
    why = error.message if isinstance(error, AibemuError) else str(error)
    hint = f" ({error.hint})" if isinstance(error, AibemuError) and error.hint else ""
    state.emit(
        Kind.NOTICE, level="warning",
        message=f"the image was left as the guest left it: {why}{hint}; what that means: docs/windows.md, After the "
        "capture",
    )  # fmt: skip
