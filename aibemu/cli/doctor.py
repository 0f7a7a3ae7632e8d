"""`aibemu doctor`: tests this host for real and says how to mend what is wrong."""

from __future__ import annotations

import os
import sys

import click

from aibemu.cli.app import App
from aibemu.doctor import examine
from aibemu.hypervisor import Finding, Level

_MARKS = {Level.OK: "ok", Level.NOTE: "note", Level.WARNING: "warning", Level.ERROR: "ERROR"}
_COLORS = {Level.OK: "32", Level.NOTE: "2", Level.WARNING: "33", Level.ERROR: "31;1"}


@click.command("doctor", short_help="Test this host for real.")
@click.pass_obj
def command(app: App) -> None:
    """Test programs, drivers, disk space and folders. Ends with 4 when something would stop a build."""
    findings = examine(app.home, app.clock, os.environ)
    errors = sum(finding.level is Level.ERROR for finding in findings)
    data = [
        {"check": f.check, "level": f.level.value, "message": f.message, "fix": f.fix} for f in findings
    ]  # fmt: skip
    lines = [line for finding in findings for line in _lines(app, finding)]
    verdict = f"{errors} problems would stop a build" if errors else "this host is ready"
    app.result({"findings": data, "ready": not errors}, [*lines, "", verdict], status="error" if errors else "success")
    if errors:
        sys.exit(4)


def _lines(app: App, finding: Finding) -> list[str]:
    mark = f"{_MARKS[finding.level]:<8}"
    if app.color:
        mark = f"\x1b[{_COLORS[finding.level]}m{mark}\x1b[0m"
    lines = [f"{mark} {finding.check}: {finding.message}"]
    if finding.fix and finding.level is not Level.OK:
        lines.append(f"         fix: {finding.fix}")
    return lines
