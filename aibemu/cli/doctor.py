"""`aibemu doctor`: tests this host for real and says how to mend what is wrong. With --evaluator it tests aibemu,
against Azure's own template engine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aibemu.cli.app import App
from aibemu.cli.render import as_json
from aibemu.cli.template_options import VALUES, options, request_of
from aibemu.clock import forever
from aibemu.doctor import examine
from aibemu.errors import HostNotReady, UsageError
from aibemu.hypervisor import Finding, Level
from aibemu.settings import Settings
from aibemu.text import counted, painted

if TYPE_CHECKING:
    from aibemu.submission.evaluator import Comparison, Difference

_MARKS = {Level.OK: "ok", Level.NOTE: "note", Level.WARNING: "warning", Level.ERROR: "ERROR"}
_COLORS = {Level.OK: "32", Level.NOTE: "2", Level.WARNING: "33", Level.ERROR: "31;1"}


# The exit code when aibemu and the engine differ.
DIFFERS = 1
_LONGEST = 300


@click.command("doctor", short_help="Test this host for real.")
@click.option(
    "--evaluator", metavar="FILE", type=click.Path(path_type=Path),
    help="Ask Azure's own template engine about FILE, and tell where aibemu says something else.",
)  # fmt: skip
@options(VALUES)
@click.pass_obj
def command(app: App, /, evaluator: Path | None, **given: Any) -> None:
    """Test programs, drivers, disk space and folders. Ends with 4 when something would stop a build.

    With --evaluator the engine in your own Bicep CLI (`bicep snapshot`) is asked what the deployment template or Bicep
    FILE would deploy, and that is compared with what aibemu makes of it. Ends with 0 when both say the same, with 1
    when something differs, with 4 when there is no `bicep` that can be asked. The other options are for this alone.
    """
    if evaluator is not None:
        _evaluator(app, evaluator, given)
        return
    if used := [name for name, value in given.items() if value]:
        name = {"placeholders": "set", "supplied": "supply"}.get(used[0], used[0])
        raise UsageError(f"--{name} is for --evaluator FILE: without it doctor reads no template")
    findings = examine(app.home, app.clock, os.environ)
    errors = [finding for finding in findings if finding.level is Level.ERROR]
    data = {"findings": [_as_json(finding) for finding in findings], "ready": not errors}
    if not errors:
        app.result(data, [*_all(app, findings), "", "this host is ready"])
        return
    verdict = f"{counted(len(errors), 'problem')} would stop a build"
    if app.output == "json":
        details = [f"{finding.check}: {finding.message}" for finding in errors]
        app.envelope("error", data=data, error=as_json(HostNotReady(verdict, details=details)))
    else:
        app.result(data, [*_all(app, findings), "", verdict])
    sys.exit(HostNotReady.exit_code)


def _as_json(finding: Finding) -> dict[str, Any]:
    """fix: null where nothing needs one."""
    fix = None if finding.level is Level.OK else finding.fix
    return {"check": finding.check, "level": finding.level.value, "message": finding.message, "fix": fix}


def _all(app: App, findings: Sequence[Finding]) -> list[str]:
    return [line for finding in findings for line in _lines(app, finding)]


def _lines(app: App, finding: Finding) -> list[str]:
    mark = (f"{_MARKS[finding.level]:<8}", _COLORS[finding.level] if app.color else "")
    lines: list[str] = [painted(mark, f" {finding.check}: {finding.message}")]
    if finding.fix and finding.level is not Level.OK:
        lines.append(f"         fix: {finding.fix}")
    return lines


def _evaluator(app: App, file: Path, given: dict[str, Any]) -> None:
    from aibemu.submission.evaluator import as_data, compare

    settings = Settings.load(app.home.config)
    request = request_of(file, **given)
    found = compare(request, home=app.home, settings=settings, clock=app.clock, deadline=forever(app.clock))
    app.redactor.learn(found.secrets)
    app.result(app.redactor.document({"file": str(file), **as_data(found)}), _told(file, found, app))
    if found.differences:
        sys.exit(DIFFERS)


def _told(file: Path, found: Comparison, app: App) -> list[str]:
    if found.refused:
        return [f"{file}: both refuse it ({found.bicep}): {app.redactor.text(found.refused)}"]
    lines = [line for one in found.differences for line in _difference(one, app)]
    compared = f"{counted(found.resources, 'resource')} and {counted(found.outputs, 'output')} compared"
    left = f", {counted(found.open, 'value')} left to Azure" if found.open else ""
    verdict = f"{counted(len(found.differences), 'difference')}" if lines else "no difference"
    lines.append(f"{file}: {verdict} ({compared}{left}; {found.bicep})")
    if found.differences:
        lines.append("aibemu is wrong there, or differs on purpose: please report it with the template")
    return lines


def _difference(one: Difference, app: App) -> list[str]:
    azure, ours = (app.redactor.text(_shown(value)) for value in (one.azure, one.aibemu))
    return [one.where or "the template", f"  Azure's engine: {azure}", f"  aibemu:         {ours}"]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
