"""`aibemu destroy RUN`: end the machines that a run left, with their platforms and keys; logs and outputs stay."""

from __future__ import annotations

import click

from aibemu.cli.app import App
from aibemu.cli.completion import run_ids_with_machines
from aibemu.cli.confirm import confirm_deletion, yes_option
from aibemu.cli.runs import find_run


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
    if found.machines.is_dir():
        names = [f"{found.id}-{folder.name}" for folder in sorted(found.machines.iterdir())]
        what = f"the machines of run {found.id}, with what is on their disks"
        confirm_deletion(app, what, names, yes=yes, command=f"aibemu destroy {found.id} --yes")
    gone = destroy_kept(app.home, found)
    lines = [f"destroyed {what}" for what in gone] or [f"run {found.id} has no machine: nothing to destroy"]
    app.result({"run": found.id, "destroyed": gone}, lines)
