"""`aibemu logs [RUN]`: customization.log as the service writes it, validation.log, the events, one step's lines, or
what the machines asked of Azure's platform."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event as Never
from typing import Any

import click

from aibemu.cli.app import App
from aibemu.cli.platform_log import platform_lines, read_platform
from aibemu.cli.runs import find_run, run_argument, summarize
from aibemu.errors import NotFoundError, UsageError
from aibemu.events import Kind
from aibemu.reports.summary import StepSummary
from aibemu.runs.store import Run
from aibemu.text import harmless

LOOK_EVERY = 0.3  # seconds


@click.command("logs", short_help="What a run said.")
@run_argument
@click.option("--follow", "-f", is_flag=True, help="Go on until the run is over.")
@click.option("--validation", is_flag=True, help="validation.log, of the in-VM validations.")
@click.option("--events", is_flag=True, help="Everything that happened, one JSON object per line.")
@click.option("--platform", is_flag=True, help="What the machines asked of metadata service and wire server.")
@click.option("--findings", is_flag=True, help="What in the image is not generalised, for Azure and for a review.")
@click.option("--step", metavar="NAME", help="Only what this step printed: its name, id (c1, v1) or number.")
@click.pass_obj
def command(
    app: App, run: str | None, follow: bool, validation: bool, events: bool, platform: bool, findings: bool,
    step: str | None,
) -> None:  # fmt: skip
    """Print the log of RUN (the newest if left out)."""
    if sum((validation, events, platform, findings, step is not None)) > 1:
        raise UsageError("--validation, --events, --platform, --findings and --step exclude each other")
    if follow and (platform or findings or step is not None):
        raise UsageError("only a log can be followed", hint="follow the whole log: aibemu logs --follow")
    found = find_run(app, run)
    if platform:
        asked = list(read_platform(found))
        app.result({"run": found.id, "requests": asked}, platform_lines(asked))
        return
    if findings:
        seen = [dict(event.fields) for event in found.events() if event.kind is Kind.FINDING]
        app.result({"run": found.id, "findings": seen}, finding_lines(seen))
        return
    if step is not None:
        lines: Iterator[str] = _step_lines(found, step)
        path = found.events_file
    else:
        path = found.events_file if events else found.log("validation.log" if validation else "customization.log")
        lines = _follow(app, found, path) if follow else _lines(path)
    if app.output == "json":
        app.result({"run": found.id, "path": str(path), "lines": list(lines)}, [])
        return
    terminal = sys.stdout.isatty()
    for line in lines:
        # To a terminal nothing that commands it; to a file or a pipe the log as it is.
        print(harmless(line) if terminal else line, flush=follow)


def finding_lines(findings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A paragraph each: what was found, what Azure does with it, what a review would say, what to do."""
    for one in findings:
        yield harmless(f"{one['level']}: {one['check']}: {one['message']}")
        for name, key in (("Azure", "azure"), ("review", "review"), ("fix", "fix")):
            if one.get(key):
                yield harmless(f"  {name:<7} {one[key]}")
    if not findings:
        yield "nothing was found, or the run did not get as far as generalizing"


def _lines(path: Path) -> Iterator[str]:
    """Whole lines; a missing file is one with nothing in it."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as stream:
        for line in stream:
            yield line.removesuffix("\n")


def _follow(app: App, run: Run, path: Path) -> Iterator[str]:
    """What is there, and what comes until nobody builds the run any more."""
    never, place, rest = Never(), 0, b""
    while True:
        alive = run.alive()
        if path.exists():
            with path.open("rb") as stream:
                stream.seek(place)
                *whole, rest = (rest + stream.read()).split(b"\n")
                place = stream.tell()
            for line in whole:
                yield line.decode("utf-8", "replace")
        if not alive:
            break
        app.clock.wait(never, LOOK_EVERY)
    if rest:
        yield rest.decode("utf-8", "replace")


def _step_lines(run: Run, name: str) -> Iterator[str]:
    step = _find_step(summarize(run).steps, name)
    for event in run.events():
        if event.kind is Kind.STEP_OUTPUT and event.step == step.id:
            yield str(event.fields.get("line", ""))


def _find_step(steps: tuple[StepSummary, ...], name: str) -> StepSummary:
    """By id, label (case does not matter), or number among the customizers."""
    wanted = {name.lower(), f"c{name}"}
    for step in steps:
        if step.id in wanted or step.label.lower() == name.lower():
            return step
    known = [f"{step.id}: {step.label}" for step in steps]
    raise NotFoundError(f"the run has no step {json.dumps(name)}", details=known, hint="give one of these")
