"""`aibemu status [RUN]`: all runs, or one of them with its phases, steps and lastRunStatus."""

from __future__ import annotations

from typing import Any

import click

from aibemu.cli.app import App
from aibemu.cli.reader import wait_for_more
from aibemu.cli.runs import elapsed, find_run, run_argument, summarize, warn_if_unknown
from aibemu.events import Kind
from aibemu.reports.failure import failure
from aibemu.reports.summary import RunSummary
from aibemu.reports.timings import timings
from aibemu.reports.waiting import answers, question
from aibemu.runs.record import RecordReader
from aibemu.runs.store import Life, Run, RunStore
from aibemu.text import harmless, short

LOOK_EVERY = 0.5  # seconds
# For programs; null where nobody can tell.
_ALIVE = {Life.BUILDING: True, Life.OVER: False, Life.UNKNOWN: None}


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
        (run.id, summary.shown_state, harmless(summary.template), (summary.started or "")[:19].replace("T", " "),
         elapsed(summary, app.clock), _remark(run, summary))
        for run, summary in runs
    ]  # fmt: skip
    lines = app.table(("RUN", "STATE", "TEMPLATE", "STARTED (UTC)", "TIME", ""), rows) if rows else ["no runs yet"]
    app.result({"runs": [_as_json(run, summary) for run, summary in runs]}, lines)


def _remark(run: Run, summary: RunSummary) -> str:
    if typed := _answers(run, summary):
        return f"waits for an answer: {typed[0][0]}"
    if summary.awaits and run.alive():
        return f"waits for {harmless(summary.awaits)}"
    if not run.readable():
        return summary.message
    return "kept machine" if summary.kept and run.machines.is_dir() else ""


def _answers(run: Run, summary: RunSummary) -> list[tuple[str, str]]:
    """What to type for a run that waits: one that was killed meanwhile does not."""
    return answers(summary) if summary.waiting and run.alive() else []


def _wait(app: App, run: Run) -> None:
    """Until it is over. That it waits for a person is said, for it would wait as long as they do."""
    reader, seen = RecordReader(run.events_file), -1
    warn_if_unknown(app, run)
    while run.alive():
        for event in reader.after(seen):
            seen = event.seq
            if event.kind is Kind.RUN_WAITING:
                title = harmless(str(event.fields.get("title")))
                app.say(f"run {run.id} waits for an answer: {title}; see: aibemu status {run.id}")
        wait_for_more(app, LOOK_EVERY)


def _as_json(run: Run, summary: RunSummary) -> dict[str, Any]:
    typed = [{"command": command, "about": about} for command, about in _answers(run, summary)]
    return summary.as_json() | {
        "id": run.id, "directory": str(run.directory), "alive": _ALIVE[run.life()], "answers": typed,
    }  # fmt: skip


def _lines(app: App, run: Run, summary: RunSummary) -> list[str]:
    lines = [
        f"run        {run.id}",
        f"template   {summary.template} ({summary.file})",
        f"state      {summary.shown_state}",
        f"started    {summary.started}",
        f"time       {elapsed(summary, app.clock)}",
        *([] if summary.dry_run else [f"log        {run.log('customization.log')}"]),
    ]
    if run.life() is Life.UNKNOWN:
        lines.append("alive      cannot be told here: its lock cannot be opened")
    lines += [f"message    {line}" for line in summary.message.splitlines()[:1]]
    lines += [f"kept       {machine.id}: {machine.command}" for machine in summary.kept if run.machines.is_dir()]
    lines += [f"waits      for {summary.awaits}"] if summary.awaits and run.alive() else []
    for step in (summary.current_step,) if summary.current_step else ():
        lines.append(f"now        {step.label or step.id}")
    if typed := _answers(run, summary):
        lines += ["waits      for an answer", "", *question(summary), "", "  type to answer:"]
        width = max(len(command) for command, _ in typed)
        lines += [f"    {command.ljust(width)}  {about}" for command, about in typed]
    lines += [
        f"now        {machine.role} machine: {machine.boot}"
        for machine in summary.machines if machine.boot and machine.state == "started" and not summary.finished
    ]  # fmt: skip
    lines += ["", *timings(summary)] if not summary.finished or summary.error is None else ["", *_ended(summary)]
    if summary.outputs:
        lines.append("")
    for output in summary.outputs:
        what = output.artifact or output.error or ""
        lines.append(f"output     {output.run_output_name}: {output.status} ({short(output.seconds)}) {what}".rstrip())
    return [harmless(line) for line in lines]


def _ended(summary: RunSummary) -> list[str]:
    return [*timings(summary), "", *failure(summary)]
