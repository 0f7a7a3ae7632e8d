"""`aibemu clean`: delete old runs with all they hold, and free machines that were kept. Runs that build are left alone.

What a template wrote to a place of its own (a VHD's `uri`, images in the local cloud, `--out`) is not touched, nor are
layers; with `--all`, files go that were to be layers of builds that died.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta

import click

from aibemu.cli.app import App
from aibemu.cli.completion import run_ids
from aibemu.cli.confirm import confirm_deletion, yes_option
from aibemu.cli.runs import Sizes, given_age, human_size, sizes_of, summarize
from aibemu.errors import UsageError
from aibemu.files import remove
from aibemu.reports.summary import RunSummary
from aibemu.runs.store import Run, RunStore
from aibemu.text import counted, harmless


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A run that may go."""

    run: Run
    summary: RunSummary
    size: Sizes


@click.command("clean", short_help="Delete old runs and free machines that were kept.")
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=run_ids)
@click.option(
    "--older-than", metavar="AGE", default="7d", show_default=True, help="Only runs that started before; 12h."
)
@click.option("--all", "everything", is_flag=True, help="All runs that are not building.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@yes_option
@click.pass_obj
def command(app: App, runs: tuple[str, ...], older_than: str, everything: bool, dry_run: bool, yes: bool) -> None:
    """Delete the given RUNs, or those that are older than AGE, with their logs and outputs.

    It asks before; where nobody can be asked it needs --yes.
    """
    candidates = _choose(app, runs, None if everything else given_age("--older-than", older_than))
    total = sum((candidate.size for candidate in candidates), Sizes())
    lines = _table(app, candidates)
    verb = "would be freed" if dry_run else "freed"
    layers = everything and not runs
    left = _left_over(app, dry_run=True) if layers else 0
    if not dry_run and (candidates or left):
        what = f"files that belong to no layer ({human_size(left)})"
        if candidates:
            what = f"{counted(len(candidates), 'run')}, outputs included ({human_size(total.on_disk)})"
        words = [*runs] or (["--all"] if everything else ["--older-than", older_than])
        confirm_deletion(app, what, lines, yes=yes, command=f"aibemu clean {shlex.join(words)} --yes")
        candidates = [candidate for candidate in candidates if _delete(app, candidate)]
        total = sum((candidate.size for candidate in candidates), Sizes())
    if lines:
        lines.append(f"{counted(len(candidates), 'run')}, {human_size(total.on_disk)} {verb}")
    # After the runs: a machine that was kept has links of such files.
    left = _left_over(app, dry_run=dry_run) if layers else 0
    if left:
        lines.append(f"files that belong to no layer, {human_size(left)} {verb}")
    data = {
        # What is freed is bytesOnDisk, in which the leftovers are, that are counted on disk only.
        "dryRun": dry_run, "bytes": total.bytes, "bytesOnDisk": total.on_disk + left, "leftovers": left,
        "runs": [
            {"id": candidate.run.id, "dryRun": candidate.summary.dry_run, **candidate.size.as_json()}
            for candidate in candidates
        ],
    }  # fmt: skip
    app.result(data, lines or ["nothing to clean"])


def _choose(app: App, names: tuple[str, ...], age: timedelta | None) -> list[Candidate]:
    store = RunStore(app.home.runs)
    named = [store.get(name) for name in dict.fromkeys(names)]
    for run in named:
        run.check_known()
    if alive := [run.id for run in named if run.alive()]:
        raise UsageError(f"run {alive[0]} is building", hint="stop it first", commands=[f"aibemu cancel {alive[0]}"])
    found = []
    for run in named or store.runs():
        if not named and run.alive():
            continue
        summary = summarize(run)
        if named or age is None or _is_older(summary, age, app):
            found.append(Candidate(run=run, summary=summary, size=sizes_of(run.directory)))
    return found


def _is_older(summary: RunSummary, age: timedelta, app: App) -> bool:
    """A run without a record began nothing worth keeping: it is as old as can be."""
    return not summary.started or app.clock.now() - datetime.fromisoformat(summary.started) >= age


def _left_over(app: App, *, dry_run: bool) -> int:
    """Delete the files of layers that were not finished, if no living process will; the bytes that this frees."""
    from aibemu.layers.store import LayerStore

    store = LayerStore(app.home.layers)
    return sum((store.leftovers() if dry_run else store.sweep()).values())


def _table(app: App, candidates: list[Candidate]) -> list[str]:
    rows = [
        (item.run.id, item.summary.shown_state, harmless(item.summary.template), (item.summary.started or "")[:10],
         human_size(item.size.on_disk), "frees a kept machine" if item.run.machines.is_dir() else "")
        for item in candidates
    ]  # fmt: skip
    return app.table(("RUN", "STATE", "TEMPLATE", "STARTED", "ON DISK", ""), rows) if rows else []


def _delete(app: App, candidate: Candidate) -> bool:
    """Under the run's own lock, so that nothing else takes it up meanwhile."""
    from aibemu.runs.drivers import driver_of
    from aibemu.runs.sweep import destroy_machines

    run, lock = candidate.run, candidate.run.lock
    if not run.directory.is_dir() or not lock.acquire(blocking=False):
        return False
    try:
        for what in destroy_machines(run, driver_of(candidate.summary, app.home) if run.machines.is_dir() else None):
            app.say(f"freed {what}")
        remove(run.directory)
    finally:
        lock.release()
    return True
