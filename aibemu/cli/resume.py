"""`aibemu resume RUN`: go on with a run that failed, from the layer before what failed; or answer one that waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aibemu.cli.app import App
from aibemu.cli.confirm import confirm_machines, yes_option
from aibemu.cli.runs import find_run, run_argument, summarize
from aibemu.engine.asking import Answer, Pauses
from aibemu.errors import UsageError
from aibemu.events import Kind, RunState
from aibemu.runs.store import Run

if TYPE_CHECKING:
    from aibemu.engine.preparing.options import Continued


_NOT_TAKEN = "the build goes on from a layer, or from the beginning: what was changed in these machines is not in it"


@click.command("resume", short_help="Go on with a run that failed, or that waits for an answer.")
@run_argument
@click.option("--skip", is_flag=True, help="Go on without the step that failed.")
@yes_option
@click.pass_obj
def command(app: App, /, run: str | None, skip: bool, yes: bool) -> None:
    """Build the template of RUN once more, as it is now, from the layer before the step that failed.

    The steps before it are not run again, as long as nothing about them has changed. A machine that was kept is
    destroyed: it asks before; where nobody can be asked it needs --yes. A run that waits in another terminal, after a
    failure or a pause, goes on there.
    """
    found = find_run(app, run)
    found.check_known()
    if found.alive():
        _answer(app, found, skip=skip)
        return
    _refuse_finished(found)
    from aibemu.cli.drivers import check_driver
    from aibemu.cli.request_file import read_request
    from aibemu.cli.run import build, on_error_of
    from aibemu.settings import Settings

    settings = Settings.load(app.home.config)
    options = read_request(found, settings)
    check_driver(options.driver.name)
    continued = replace(
        options, on_error=on_error_of(app, None), pauses=Pauses(), continues=_continued(found, skip=skip)
    )  # fmt: skip
    words = f"{found.id}{' --skip' if skip else ''} --yes"
    confirm_machines(app, found, yes=yes, command=f"aibemu resume {words}", known=[_NOT_TAKEN])
    build(app, continued, settings)


def _refuse_finished(run: Run) -> None:
    summary = summarize(run)
    if summary.dry_run:
        raise UsageError(
            f"run {run.id} is a dry run: nothing was run, so there is nothing to go on with",
            hint="build its template with `aibemu run`, or name another run", commands=["aibemu status"],
        )  # fmt: skip
    if summary.state == RunState.SUCCEEDED.value:
        raise UsageError(
            f"run {run.id} succeeded: there is nothing to go on with, or to skip",
            hint="`aibemu run` builds its template again: steps that did not change come from the cache",
        )


def _answer(app: App, run: Run, *, skip: bool) -> None:
    waiting: list[str] | None = None
    for event in run.events():
        if event.kind is Kind.RUN_WAITING:
            waiting = list(event.fields["choices"])
        elif event.kind is Kind.RUN_ANSWERED:
            waiting = None
    if waiting is None:
        raise UsageError(
            f"run {run.id} is building and waits for nobody",
            hint="see what it does",
            commands=[f"aibemu logs {run.id}"],
        )
    wanted = Answer.SKIP if skip else next(one for one in (Answer.GO_ON, Answer.RETRY) if one.value in waiting)
    if wanted.value not in waiting:
        raise UsageError(f"run {run.id} cannot {wanted.value} now", details=[f"it may: {', '.join(waiting)}"])
    run.answer(wanted.value)
    app.result({"run": run.id, "answer": wanted.value}, [f"run {run.id}: {wanted.value}"])


def _lineage(run: Run) -> frozenset[str]:
    """Ids of the run and of those that it continued, as far as they are there."""
    found = {run.id}
    while (started := run.started()) and (earlier := started.fields.get("resumes")):
        run = Run(run.directory.with_name(Path(str(earlier)).name))
        if run.id in found:
            break
        found.add(run.id)
    return frozenset(found)


def _continued(run: Run, *, skip: bool) -> Continued:
    from aibemu.engine.preparing.options import Continued
    from aibemu.reports.fold import fold

    events = list(run.events())
    plans = [event.fields for event in events if event.kind in (Kind.RUN_STARTED, Kind.RUN_RETRIED)]
    last: Mapping[str, Any] = plans[-1] if plans else {}
    steps = tuple(last.get("steps") or ())
    failed = fold(events).failed_step
    if skip and (failed is None or failed.id not in [step["id"] for step in steps]):
        raise UsageError(f"no customizer of run {run.id} failed: there is nothing to skip")
    return Continued(
        run=run.id, lineage=_lineage(run), steps=steps, skipped=tuple(last.get("skipped") or ()),
        failed=failed.id if skip and failed else None,
    )  # fmt: skip
