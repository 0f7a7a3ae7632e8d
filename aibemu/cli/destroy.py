"""`aibemu destroy RUN`: end the machines that a run left, with their platforms and keys; logs and outputs stay."""

from __future__ import annotations

import click

from aibemu.cli.app import App
from aibemu.cli.completion import run_ids_with_machines
from aibemu.cli.runs import find_run, summarize
from aibemu.errors import UsageError
from aibemu.files import remove
from aibemu.paths import Home
from aibemu.runs.store import Run


@click.command("destroy", short_help="Destroy the machines that a run kept.")
@click.argument("run", shell_complete=run_ids_with_machines)
@click.pass_obj
def command(app: App, run: str) -> None:
    """Destroy the machines that were kept of RUN, which is over; its logs and outputs stay (`aibemu clean` deletes
    those too)."""
    found = find_run(app, run)
    gone = destroy_kept(app.home, found)
    lines = [f"destroyed {what}" for what in gone] or [f"run {found.id} has no machine: nothing to destroy"]
    app.result({"run": found.id, "destroyed": gone}, lines)


def destroy_kept(home: Home, run: Run) -> list[str]:
    """Destroy what a run that is over left; what is gone now. `UsageError` while somebody builds it."""
    lock = run.lock
    # Under the run's own lock: nobody goes on with it meanwhile.
    if not lock.acquire(blocking=False):
        raise UsageError(f"run {run.id} is building", hint="stop it first", commands=[f"aibemu cancel {run.id}"])
    try:
        return _destroy(home, run)
    finally:
        lock.release()


def _destroy(home: Home, run: Run) -> list[str]:
    """What is gone now, machine by machine. An error of the hypervisor's ends it; the rest is there for another try."""
    from aibemu.runs.drivers import driver_of
    from aibemu.runs.sweep import destroy_machines

    driver = driver_of(summarize(run), home) if run.machines.is_dir() else None
    gone = destroy_machines(run, driver)
    remove(run.work)
    return gone
