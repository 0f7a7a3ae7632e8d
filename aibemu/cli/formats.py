"""The forms of `aibemu validate --format` that other programs read: chosen here, made in `aibemu.reports`.

`human` and `json` are no reports: they are the program's ordinary answer (`App.result`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from aibemu import __version__
from aibemu.errors import UsageError
from aibemu.files import replacing
from aibemu.redact import Redactor
from aibemu.reports.findings import Report, combined, named_from
from aibemu.repository import base_of
from aibemu.views.screen import Screen

__all__ = ["REPORTS", "WRITERS", "Report", "Wanted", "render", "report_files", "save"]

Wanted = Sequence[tuple[str, Path]]
"""Reports that are wanted as files: (name, path)."""


def report_files(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> Wanted:
    """The values of an option `--report FORMAT=PATH`. `UsageError` for what is none."""
    found = []
    for text in value:
        name, _, path = text.partition("=")
        if name not in REPORTS or not path:
            raise UsageError(
                f"--report {text!r} is not FORMAT=PATH", hint=f"FORMAT is one of: {', '.join(REPORTS)}"
            )  # fmt: skip
        found.append((name, Path(path)))
    return found


def render(name: str, reports: Report | Sequence[Report], redactor: Redactor) -> list[str]:
    """The lines of the report called `name`, one of REPORTS. Files are named from the root of the repository that the
    first checked one is in, for so do GitHub and those who read SARIF; in no repository from the current folder.
    Secrets are taken out before the form has its say: it may cut a text, or write a character in another way."""
    given = [reports] if isinstance(reports, Report) else list(reports)
    here = Path.cwd()
    base = str(base_of(given[0].file, here, os.environ)) if given else str(here)
    return REPORTS[name]([named_from(masked(one, redactor), str(here), base) for one in given], base)


def save(name: str, path: Path, reports: Sequence[Report], redactor: Redactor) -> None:
    """The same as a file, at once and whole; folders that are missing are made. `UsageError` where it cannot be."""
    try:
        with replacing(path, sync=False) as part, part.open("w", encoding="utf-8") as stream:
            screen = Screen(stream=stream)
            for line in render(name, reports, redactor):
                WRITERS[name](screen, line)
    except OSError as error:
        raise UsageError(f"--report {name}: {path} cannot be written: {error.strerror or error}") from None


def masked(report: Report, redactor: Redactor) -> Report:
    """The report without secrets."""
    return replace(
        report, name=redactor(report.name), findings=redactor(report.findings), suppressed=redactor(report.suppressed)
    )  # fmt: skip


def _sarif(reports: Sequence[Report], base: str) -> list[str]:
    from aibemu.cli.rule_texts import known_or_bare
    from aibemu.reports import sarif

    return sarif.render(combined(reports), base, known_or_bare, __version__)


def _junit(reports: Sequence[Report], base: str) -> list[str]:
    from aibemu.reports import junit

    return junit.render(reports, base)


def _github(reports: Sequence[Report], base: str) -> list[str]:
    from aibemu.reports import annotations

    return annotations.render(combined(reports), base)


def _azure(reports: Sequence[Report], base: str) -> list[str]:
    from aibemu.reports import annotations

    return annotations.render_azure(combined(reports), base)


def _gitlab(reports: Sequence[Report], base: str) -> list[str]:
    from aibemu.reports import code_quality

    return code_quality.render(combined(reports), base)


def _markdown(reports: Sequence[Report], base: str) -> list[str]:
    from aibemu.reports import markdown

    return markdown.findings(reports)


# How a line of each is written, so that nothing foreign in it commands anybody and it still means the same.
WRITERS: Mapping[str, Callable[[Screen, str], None]] = {
    "sarif": Screen.json, "junit": Screen.xml, "github": Screen.command, "azure": Screen.command,
    "gitlab": Screen.json, "markdown": Screen.line,
}  # fmt: skip
REPORTS: Mapping[str, Callable[[Sequence[Report], str], list[str]]] = {
    "sarif": _sarif, "junit": _junit, "github": _github, "gitlab": _gitlab, "azure": _azure, "markdown": _markdown,
}  # fmt: skip
