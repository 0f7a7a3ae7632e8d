"""`aibemu cancel [RUN]`: stop a build from another terminal, and wait until it has cleaned up."""

from __future__ import annotations

from threading import Event as Never

import click

from aibemu.cli.app import App
from aibemu.cli.runs import called, find_run, run_argument, summarize
from aibemu.errors import BuildError, UsageError
from aibemu.events import RunState
from aibemu.runs.store import Life, Run, RunStore

BOUND = 10.0  # seconds within which a cancelled run must be over
LOOK_EVERY = 0.1


class StillRunning(BuildError):
    """It was asked to stop and is not over yet."""

    code = "STILL_CANCELING"
    retryable = True


@click.command("cancel", short_help="Stop a run that is building.")
@run_argument
@click.pass_obj
def command(app: App, run: str | None) -> None:
    """Cancel RUN (the one that is building, if there is just one)."""
    found = find_run(app, run) if run is not None else _only_one(app)
    if not found.alive():
        state = summarize(found).shown_state
        raise UsageError(f"run {found.id} is not building: it is {state}", hint="aibemu status lists all runs")
    found.request_cancel()
    app.say(f"canceling {called(found)}")
    if not _over(app, found):
        raise StillRunning(
            f"run {found.id} has not ended within {BOUND:g} seconds",
            hint="it was asked to stop and still may; look again, or end its process",
            commands=[f"aibemu status {found.id}"],
        )
    summary = summarize(found)
    lines = [f"{called(found)}: {summary.state}"]
    if summary.state == RunState.CANCELED.value and not summary.dry_run:
        lines.append(f"go on with it, from what it had done: aibemu resume {found.id}")
    app.result({"run": found.id, "dryRun": summary.dry_run, "lastRunStatus": summary.last_run_status()}, lines)


def _only_one(app: App) -> Run:
    alive = [run for run in RunStore(app.home.runs).runs() if run.life() is Life.BUILDING]
    if len(alive) == 1:
        return alive[0]
    if not alive:
        raise UsageError("no run is building", hint="aibemu status lists all runs")
    raise UsageError(f"{len(alive)} runs are building", details=[run.id for run in alive], hint="say which")


def _over(app: App, run: Run) -> bool:
    never, ends = Never(), app.clock.monotonic() + BOUND
    while run.alive():
        if app.clock.monotonic() >= ends:
            return False
        app.clock.wait(never, LOOK_EVERY)
    return True
