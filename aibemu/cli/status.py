"""`aibemu status [RUN]`: all runs, or one of them with its phases, steps and lastRunStatus."""

from __future__ import annotations

from threading import Event as Never
from typing import Any

import click

from aibemu.cli.app import App
from aibemu.cli.runs import elapsed, find_run, run_argument, summarize
from aibemu.reports.failure import failure
from aibemu.reports.summary import RunSummary
from aibemu.reports.timings import timings
from aibemu.runs.store import Run, RunStore
from aibemu.text import harmless, short

LOOK_EVERY = 0.5  # seconds


@click.command("status", short_help="Runs: what they are doing, how they ended.")
@run_argument
@click.option("--watch", is_flag=True, help="Wait until the run (the newest if none is given) is over.")
@click.pass_obj
def command(app: App, run: str | None, watch: bool) -> None:
    """List the runs, newest first; or show RUN, with why it failed."""
    if run is None and not watch:
        _list(app)
        return
    found = find_run(app, run)
    if watch:
        _wait(app, found)
    summary = summarize(found)
    app.result(_as_json(found, summary), _lines(app, found, summary))


def _list(app: App) -> None:
    runs = [(run, summarize(run)) for run in RunStore(app.home.runs).runs()]
    rows = [
        (run.id, _state(summary), harmless(summary.template), (summary.started or "")[:19].replace("T", " "),
         elapsed(summary, app.clock), "kept machine" if summary.kept and run.machines.is_dir() else "")
        for run, summary in runs
    ]  # fmt: skip
    lines = app.table(("RUN", "STATE", "TEMPLATE", "STARTED (UTC)", "TIME", ""), rows) if rows else ["no runs yet"]
    app.result({"runs": [_as_json(run, summary) for run, summary in runs]}, lines)


def _wait(app: App, run: Run) -> None:
    never = Never()
    while run.alive():
        app.clock.wait(never, LOOK_EVERY)


def _state(summary: RunSummary) -> str:
    return f"{summary.state} ({summary.sub_state})" if summary.sub_state and not summary.finished else summary.state


def _as_json(run: Run, summary: RunSummary) -> dict[str, Any]:
    return summary.as_json() | {"id": run.id, "directory": str(run.directory), "alive": run.alive()}


def _lines(app: App, run: Run, summary: RunSummary) -> list[str]:
    lines = [
        f"run        {run.id}",
        f"template   {summary.template} ({summary.file})",
        f"state      {_state(summary)}",
        f"started    {summary.started}",
        f"time       {elapsed(summary, app.clock)}",
        f"log        {run.log('customization.log')}",
    ]
    lines += [f"message    {line}" for line in summary.message.splitlines()[:1]]
    lines += [f"kept       {machine.id}: {machine.command}" for machine in summary.kept if run.machines.is_dir()]
    for step in (summary.current_step,) if summary.current_step else ():
        lines.append(f"now        {step.label or step.id}")
    lines += ["", *timings(summary)] if not summary.finished or summary.error is None else ["", *_ended(summary)]
    if summary.outputs:
        lines.append("")
    for output in summary.outputs:
        what = output.artifact or output.error or ""
        lines.append(f"output     {output.run_output_name}: {output.status} ({short(output.seconds)}) {what}".rstrip())
    return [harmless(line) for line in lines]


def _ended(summary: RunSummary) -> list[str]:
    return [*timings(summary), "", *failure(summary)]
