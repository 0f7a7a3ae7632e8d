"""`aibemu resume RUN`: go on with a run that failed, from the layer before what failed; or answer one that waits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aibemu.cli.app import App
from aibemu.cli.runs import find_run, run_argument, summarize
from aibemu.engine.asking import Answer
from aibemu.errors import ProvisionFailed, UsageError
from aibemu.events import Kind, RunState
from aibemu.files import read_json, write_bytes
from aibemu.paths import Home
from aibemu.runs.store import Run

if TYPE_CHECKING:
    from aibemu.engine.preparing.host import Continued


@click.command("resume", short_help="Go on with a run that failed, or that waits for an answer.")
@run_argument
@click.option("--skip", is_flag=True, help="Go on without the step that failed.")
@click.pass_obj
def command(app: App, /, run: str | None, skip: bool) -> None:
    """Build the template of RUN once more, as it is now, from the layer before the step that failed.

    The steps before it are not run again, as long as nothing about them has changed. A machine that was kept is
    destroyed. A run that waits in another terminal, after a failure or a pause, goes on there.
    """
    found = find_run(app, run)
    if found.alive():
        _answer(app, found, skip=skip)
        return
    _refuse_finished(found)
    from aibemu.cli.run import build
    from aibemu.engine.api import JobOptions
    from aibemu.engine.request_file import options_from_json

    try:
        value = read_json(found.request_file)
        fields = options_from_json(value)
        folder = Path(value["cwd"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"run {found.id} cannot be resumed: what was typed to start it is not known any more",
            hint="start it anew with `aibemu run`: steps that did not change come from the cache",
            details=[str(error)] if str(error) else [],
        ) from None
    if not Path(fields["template"].file).exists():
        raise UsageError(f"run {found.id} cannot be resumed: its template {fields['template'].file} is gone")
    if folder.is_dir():
        os.chdir(folder)  # relative names are as they were typed
    continued = _continued(app.home, found, skip=skip)
    build(
        app,
        JobOptions(
            **fields, resumes=found.id, own=_lineage(found), continues=continued, begin=lambda: _let_go(app, found)
        ),
    )  # fmt: skip


def _refuse_finished(run: Run) -> None:
    if summarize(run).state == RunState.SUCCEEDED.value:
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
    write_bytes(run.answer_file, wanted.value.encode())
    app.result({"run": run.id, "answer": wanted.value}, [f"run {run.id}: {wanted.value}"])


def _lineage(run: Run) -> frozenset[str]:
    """Ids of the run and of those that it continued, as far as they are there."""
    found = {run.id}
    while earlier := next((e.fields.get("resumes") for e in run.events() if e.kind is Kind.RUN_STARTED), None):
        run = Run(run.directory.with_name(Path(str(earlier)).name))
        if run.id in found:
            break
        found.add(run.id)
    return frozenset(found)


def _continued(home: Home, run: Run, *, skip: bool) -> Continued:
    from aibemu.engine.preparing.host import Continued
    from aibemu.reports.fold import fold

    events = list(run.events())
    plans = [event.fields for event in events if event.kind in (Kind.RUN_STARTED, Kind.RUN_RETRIED)]
    last: Mapping[str, Any] = plans[-1] if plans else {}
    steps = tuple(last.get("steps") or ())
    failed = fold(events).failed_step
    if skip and (failed is None or failed.id not in [step["id"] for step in steps]):
        raise UsageError(f"no customizer of run {run.id} failed: there is nothing to skip")
    sizes = [event.fields["memory_mib"] for event in events if event.kind is Kind.MACHINE_STARTED]
    return Continued(
        steps=steps, skipped=tuple(last.get("skipped") or ()), failed=failed.id if skip and failed else None,
        host_mib=int((plans[0].get("host") or {}).get("memory_mib", 0)) if plans else 0,
        machine_mib=int(sizes[-1]) if sizes else 0, alive=bool(sizes) and _still_runs(home, run),
    )  # fmt: skip


def _still_runs(home: Home, run: Run) -> bool:
    from aibemu.hypervisor import MachineState
    from aibemu.runs.drivers import driver_of

    driver = driver_of(summarize(run), home)
    if driver is None or not run.machines.is_dir():
        return False
    for folder in run.machines.iterdir():
        with suppress(ProvisionFailed):  # a record that cannot be read is of none; ending it says so
            machine = driver.find(folder)
            if machine is not None and machine.state() is MachineState.RUNNING:
                return True
    return False


def _let_go(app: App, run: Run) -> None:
    """A kept machine takes memory, and what it was kept for is over."""
    from aibemu.cli.destroy import destroy_kept

    for what in destroy_kept(app.home, run):
        app.say(f"destroyed {what}")
