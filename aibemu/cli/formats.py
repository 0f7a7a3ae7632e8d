"""The forms of `aibemu validate --format` that other programs read: chosen here, made in `aibemu.reports`.

`human` and `json` are no reports: they are the program's ordinary answer (`App.result`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from aibemu import __version__
from aibemu.redact import Redactor
from aibemu.reports.findings import Report, named_from
from aibemu.repository import base_of
from aibemu.views.screen import Screen

__all__ = ["REPORTS", "WRITERS", "Report", "render"]


def render(name: str, report: Report, redactor: Redactor) -> list[str]:
    """The lines of the report called `name`, one of REPORTS. Files are named from the root of the repository that the
    checked one is in, for so do GitHub and those who read SARIF; in no repository from the current folder. Secrets are
    taken out before the form has its say: it may cut a text, or write a character in another way."""
    here = Path.cwd()
    base = str(base_of(report.file, here, os.environ))
    return REPORTS[name](named_from(masked(report, redactor), str(here), base), base)


def masked(report: Report, redactor: Redactor) -> Report:
    """The report without secrets."""
    return replace(
        report, name=redactor(report.name), findings=redactor(report.findings), suppressed=redactor(report.suppressed)
    )  # fmt: skip


def _sarif(report: Report, base: str) -> list[str]:
    from aibemu.cli.rule_texts import known_or_bare
    from aibemu.reports import sarif

    return sarif.render(report, base, known_or_bare, __version__)


def _junit(report: Report, base: str) -> list[str]:
    from aibemu.reports import junit

    return junit.render(report, base)


def _github(report: Report, base: str) -> list[str]:
    from aibemu.reports import annotations

    return annotations.render(report, base)


# How a line of each is written, so that nothing foreign in it commands anybody and it still means the same.
WRITERS: Mapping[str, Callable[[Screen, str], None]] = {
    "sarif": Screen.json, "junit": Screen.xml, "github": Screen.command,
}  # fmt: skip
REPORTS: Mapping[str, Callable[[Report, str], list[str]]] = {"sarif": _sarif, "junit": _junit, "github": _github}
