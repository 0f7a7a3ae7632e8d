"""`aibemu logs [RUN]`: customization.log as the service writes it, validation.log, the events, one step's lines, what
the machines said on their consoles, or what they asked of Azure's platform."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from aibemu.cli.app import App
from aibemu.cli.console_log import console_lines
from aibemu.cli.platform_log import platform_lines, read_platform
from aibemu.cli.reader import wait_for_more
from aibemu.cli.runs import find_run, is_dry_run, run_argument, summarize, warn_if_unknown
from aibemu.errors import NotFoundError, UsageError
from aibemu.events import Event, Kind
from aibemu.records import open_regular
from aibemu.reports.step_log import Printed, step_lines
from aibemu.reports.summary import StepSummary
from aibemu.runs.record import RecordReader
from aibemu.runs.store import Run

LOOK_EVERY = 0.3  # seconds


@click.command("logs", short_help="What a run said.")
@run_argument
@click.option("--follow", "-f", is_flag=True, help="Go on until the run is over.")
@click.option("--validation", is_flag=True, help="validation.log, of the in-VM validations.")
@click.option("--events", is_flag=True, help="Everything that happened, one JSON object per line.")
@click.option("--platform", is_flag=True, help="What the machines asked of metadata service and wire server.")
@click.option("--console", is_flag=True, help="What the machines said on their serial consoles.")
@click.option("--findings", is_flag=True, help="What in the image is not generalised, for Azure and for a review.")
@click.option("--step", metavar="NAME", help="Only what this step printed: its name, id (c1, v1) or number.")
@click.option("--raw", is_flag=True, help="The bytes of the log as they are: control characters and all.")
@click.pass_obj
def command(
    app: App, run: str | None, follow: bool, validation: bool, events: bool, platform: bool, console: bool,
    findings: bool, step: str | None, raw: bool,
) -> None:  # fmt: skip
    """Print the log of RUN (the newest if left out).

    Control characters are left out, and in a CI system (CI, TF_BUILD or GITHUB_ACTIONS is set) workflow commands are
    made harmless; --raw prints what is in the file.
    """
    _check_options(
        chosen=sum((validation, events, platform, console, findings, step is not None)),
        follows_no_log=follow and (platform or findings),
        raw_no_log=raw and (platform or console or findings or app.output == "json"),
    )
    found = find_run(app, run)
    if (dry := is_dry_run(found)) and not events:
        lists = [name for name, one in (("findings", findings), ("requests", platform)) if one]
        _answer_dry(app, found, lists, step, machine=console or validation)
        return
    if platform or findings:
        _answer_listed(app, found, findings=findings)
        return
    if step is not None:
        lines, path = _step_text(app, found, step, follow), found.events_file
    elif console:
        lines, path = console_lines(app, found, follow=follow), found.console
    else:
        path = found.events_file if events else found.log("validation.log" if validation else "customization.log")
        lines = _follow(app, found, path, "surrogateescape" if raw else "replace") if follow else _lines(path)
    if app.output == "json":
        listed = {"path": str(path), "lines": list(lines)} if step is None else None
        data = listed or _step_json(found, _step_log(app, found, str(step), follow))
        app.result({"run": found.id, "dryRun": dry, **data}, [])
        return
    if raw and not follow and step is None:
        _copy(path)
        return
    _show(app, lines, _raw_line if raw else app.screen.json if events else app.screen.line, at_once=follow)


def _answer_listed(app: App, run: Run, *, findings: bool) -> None:
    if findings:
        seen = [dict(event.fields) for event in run.events() if event.kind is Kind.FINDING]
        app.result({"run": run.id, "dryRun": False, "findings": seen}, finding_lines(seen))
    else:
        asked = list(read_platform(run))
        app.result({"run": run.id, "dryRun": False, "requests": asked}, platform_lines(asked))


def _check_options(*, chosen: int, follows_no_log: bool, raw_no_log: bool) -> None:
    if chosen > 1:
        raise UsageError("--validation, --events, --platform, --console, --findings and --step exclude each other")
    if follows_no_log:
        raise UsageError("only a log can be followed", hint="follow the whole log: aibemu logs --follow")
    if raw_no_log:
        raise UsageError("--raw is for logs as they are in their files")


def _show(app: App, lines: Iterable[str], write: Callable[[str], None], *, at_once: bool) -> None:
    for line in lines:
        write(line)
        if at_once:
            app.screen.flush()


def _copy(path: Path) -> None:
    """All of the file to standard output."""
    sys.stdout.flush()
    if found := open_regular(path):
        with found as stream:
            shutil.copyfileobj(stream, sys.stdout.buffer)


def _raw_line(line: str) -> None:
    """To standard output, as the bytes that it was read from."""
    sys.stdout.flush()
    sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape") + b"\n")


def _answer_dry(app: App, run: Run, lists: Sequence[str], step: str | None, *, machine: bool) -> None:
    """What it told when it was made. machine: what a machine says is asked for, and there was none. lists: what the
    answer of a build would have, besides lines; here they are empty, too."""
    from aibemu.views.words import Narrator

    narrator, told = Narrator(), []
    for event in () if lists or machine else run.events():
        known = (event.step, (event.step or "")[1:], event.fields.get("label"))
        if step is None or (event.kind is Kind.STEP_NOT_RUN and step in known):
            told += [line.text for line in narrator.lines(event)]
    text = f"dry run {run.id}: nothing was run, so there is no log; its record: aibemu logs {run.id} --events"
    empty: dict[str, Any] = {name: [] for name in lists}
    app.result({"run": run.id, "dryRun": True, "lines": told, **empty}, [text, *told])


def finding_lines(findings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A paragraph each: what was found, what Azure does with it, what a review would say, what to do."""
    for one in findings:
        yield f"{one['level']}: {one.get('problem') or one['check']}: {one['message']}"
        for name, key in (("Azure", "azure"), ("review", "review"), ("fix", "fix")):
            if one.get(key):
                yield f"  {name:<7} {one[key]}"
    if not findings:
        yield "nothing was found, or the run did not get as far as generalizing"


def _lines(path: Path) -> Iterator[str]:
    """Whole lines; a missing file is one with nothing in it."""
    found = open_regular(path)
    if found is None:
        return
    with TextIOWrapper(found, encoding="utf-8", errors="replace", newline="\n") as stream:
        for line in stream:
            yield line.removesuffix("\n")


def _follow(app: App, run: Run, path: Path, errors: str) -> Iterator[str]:
    """What is there, and what comes until nobody builds the run any more."""
    place, rest = 0, b""
    warn_if_unknown(app, run)
    while True:
        alive = run.alive()
        if found := open_regular(path):
            with found as stream:
                stream.seek(place)
                *whole, rest = (rest + stream.read()).split(b"\n")
                place = stream.tell()
            for line in whole:
                yield line.decode("utf-8", errors)
        if not alive:
            break
        wait_for_more(app, LOOK_EVERY)
    if rest:
        yield rest.decode("utf-8", errors)


def _step_log(app: App, run: Run, name: str, follow: bool) -> Iterator[Printed]:
    """Followed, a step may not have begun, but must be planned: a run that has only just been started says so soon."""
    while not (known := summarize(run).steps) and follow and run.alive():
        wait_for_more(app, LOOK_EVERY)
    return step_lines(_coming(app, run) if follow else run.events(), _find_step(known, name))


def _step_text(app: App, run: Run, name: str, follow: bool) -> Iterator[str]:
    return (one.text for one in _step_log(app, run, name, follow))


def _step_json(run: Run, printed: Iterator[Printed]) -> dict[str, Any]:
    """lines: all that it printed. attempts: the same, attempt by attempt, with aibemu's word on each."""
    attempts: dict[int, dict[str, Any]] = {}
    lines = []
    for one in printed:
        attempt = attempts.setdefault(one.attempt, {"attempt": one.attempt, "about": "", "lines": []})
        if one.heading:
            attempt["about"] = one.text
        else:
            attempt["lines"].append(one.text)
            lines.append(one.text)
    return {"run": run.id, "path": str(run.events_file), "lines": lines, "attempts": list(attempts.values())}


def _coming(app: App, run: Run) -> Iterator[Event]:
    """The events so far, and those that come until nobody builds the run any more."""
    record, last = RecordReader(run.events_file), 0
    while True:
        alive = run.alive()
        for event in record.after(last):
            last = event.seq
            yield event
        if not alive:
            return
        wait_for_more(app, LOOK_EVERY)


def _find_step(steps: tuple[StepSummary, ...], name: str) -> StepSummary:
    """By id, label (case does not matter), or number among the customizers."""
    wanted = {name.lower(), f"c{name}"}
    for step in steps:
        if step.id in wanted or step.label.lower() == name.lower():
            return step
    known = [f"{step.id}: {step.label}" for step in steps]
    raise NotFoundError(f"the run has no step {json.dumps(name)}", details=known, hint="give one of these")
