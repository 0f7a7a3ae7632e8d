"""`aibemu doctor`: tests this host for real and says how to mend what is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from aibemu.cli.app import App
from aibemu.cli.render import as_json
from aibemu.doctor import examine
from aibemu.errors import HostNotReady
from aibemu.hypervisor import Finding, Level
from aibemu.text import counted, painted

_MARKS = {Level.OK: "ok", Level.NOTE: "note", Level.WARNING: "warning", Level.ERROR: "ERROR"}
_COLORS = {Level.OK: "32", Level.NOTE: "2", Level.WARNING: "33", Level.ERROR: "31;1"}


@click.command("doctor", short_help="Test this host for real.")
@click.pass_obj
def command(app: App) -> None:
    """Test programs, drivers, disk space and folders. Ends with 4 when something would stop a build."""
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
