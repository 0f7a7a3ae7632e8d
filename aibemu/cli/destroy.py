"""`aibemu destroy RUN`: end the machines that a run left, with their platforms and keys; logs and outputs stay."""

from __future__ import annotations

import click

from aibemu.cli.app import App
from aibemu.cli.completion import run_ids_with_machines
from aibemu.cli.confirm import confirm_machines, yes_option
from aibemu.cli.runs import called, find_run, is_dry_run


@click.command("destroy", short_help="Destroy the machines that a run kept.")
@click.argument("run", shell_complete=run_ids_with_machines)
@yes_option
@click.pass_obj
def command(app: App, run: str, yes: bool) -> None:
    """Destroy the machines that were kept of RUN, which is over; its logs and outputs stay (`aibemu clean` deletes
    those too). It asks before; where nobody can be asked it needs --yes."""
    from aibemu.runs.kept import check_over, destroy_kept

    found = find_run(app, run)
    check_over(found)
    confirm_machines(app, found, yes=yes, command=f"aibemu destroy {found.id} --yes")
    gone = destroy_kept(app.home, found)
    lines = [f"destroyed {what}" for what in gone] or [f"{called(found)} has no machine: nothing to destroy"]
    app.result({"run": found.id, "dryRun": is_dry_run(found), "destroyed": gone}, lines)
