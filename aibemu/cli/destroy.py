"""`aibemu destroy RUN`: end the machines that a run left, with their platforms and keys; logs and outputs stay."""

from __future__ import annotations

import click

from aibemu.cli.app import App
from aibemu.cli.completion import run_ids_with_machines
from aibemu.cli.runs import find_run


@click.command("destroy", short_help="Destroy the machines that a run kept.")
@click.argument("run", shell_complete=run_ids_with_machines)
@click.pass_obj
def command(app: App, run: str) -> None:
    """Destroy the machines that were kept of RUN, which is over; its logs and outputs stay (`aibemu clean` deletes
    those too)."""
    from aibemu.runs.kept import destroy_kept

    found = find_run(app, run)
    gone = destroy_kept(app.home, found)
    lines = [f"destroyed {what}" for what in gone] or [f"run {found.id} has no machine: nothing to destroy"]
    app.result({"run": found.id, "destroyed": gone}, lines)
