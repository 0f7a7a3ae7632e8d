"""Ending what a run that is over left: its machines, their platforms and keys."""

from __future__ import annotations

from aibemu.errors import UsageError
from aibemu.files import remove
from aibemu.paths import Home
from aibemu.reports.fold import fold
from aibemu.runs.drivers import driver_of
from aibemu.runs.store import Run
from aibemu.runs.sweep import destroy_machines


def check_over(run: Run) -> None:
    """Raise `UsageError` while somebody builds it, `HostNotReady` when that cannot be told."""
    run.check_known()
    if run.alive():
        raise _building(run)


def destroy_kept(home: Home, run: Run) -> list[str]:
    """Destroy what a run that is over left; what is gone now, machine by machine. `UsageError` while somebody builds
    it. An error of the hypervisor's ends it; the rest is there for another try."""
    lock = run.lock
    # Under the run's own lock: nobody goes on with it meanwhile.
    if not lock.acquire(blocking=False):
        raise _building(run)
    try:
        driver = driver_of(fold(run.events()), home) if run.machines.is_dir() else None
        gone = destroy_machines(run, driver)
        remove(run.work)
        return gone
    finally:
        lock.release()


def _building(run: Run) -> UsageError:
    return UsageError(f"run {run.id} is building", hint="stop it first", commands=[f"aibemu cancel {run.id}"])
