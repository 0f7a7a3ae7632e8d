"""Markdown for the summary page of a CI job ($GITHUB_STEP_SUMMARY and its like): findings, and how runs went.

What others wrote (messages, names, a guest's lines) is shown as it is: each character that means something in Markdown
or HTML is written as its entity, which neither reads as markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aibemu.reports.failure import failure
from aibemu.reports.findings import Finding, Report
from aibemu.reports.summary import RunSummary
from aibemu.reports.timings import timings
from aibemu.text import counted

# A page has 1 MiB at GitHub: what is above it fails the upload of the whole page.
ROWS = 200
LONGEST = 500
_MARKUP = re.compile(r"[\\`*_~<>&|#!\[\]()@$:{}+^=-]")
_LEVELS = ("error", "warning")


def findings(reports: Sequence[Report]) -> list[str]:
    """A table of errors and warnings for each checked file; notes and what was suppressed are only counted."""
    return [line for report in reports for line in _file(report)] or ["No image template was checked."]


def run(summary: RunSummary) -> list[str]:
    """How a run ended: its phases and steps with their times, its outputs, its warnings, and why it failed."""
    lines = [f"### {plain(summary.template)}: {plain(summary.shown_state)}", ""]
    if summary.dry_run:
        lines += ["A dry run: nothing was run, nothing was written.", "", *_block(_undone(summary))]
    else:
        lines += _block(timings(summary))
    if summary.error:
        lines += _block(failure(summary))
    made = [output for output in summary.outputs if output.artifact]
    lines += [f"- {plain(output.run_output_name)}: {plain(str(output.artifact))}" for output in made]
    told = [message for level, message in summary.notices if level in _LEVELS]
    lines += [f"- warning: {plain(message)}" for message in told[:ROWS]]
    return [*lines, *([""] if made or told else [])]


def _undone(summary: RunSummary) -> list[str]:
    """What a dry run left undone, in the order of a build."""
    lines: list[str] = []
    for phase in summary.phases:
        lines += [f"{phase.name}: {phase.status}", *(f"  would {piece}" for piece in phase.would)]
        for step in summary.steps:
            if step.phase == phase.name:
                lines += [f"  {step.label or step.id}: {step.status}", *(f"    would {piece}" for piece in step.would)]
        for output in summary.outputs if phase.name == "distribute" else ():
            lines += [f"  {output.run_output_name}: {output.status}", *(f"    would {piece}" for piece in output.would)]
    return lines


def plain(text: str) -> str:
    """The text for a line of Markdown in which nothing of it is markup. Too long a text is cut."""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return "<br>".join(_MARKUP.sub(lambda found: f"&#{ord(found[0])};", line) for line in cut.splitlines())


def _file(report: Report) -> Iterator[str]:
    shown = [finding for finding in report.findings if finding["severity"] in _LEVELS]
    others = len(report.findings) - len(shown)
    more = [counted(others, "note")] if others else []
    more += [f"{len(report.suppressed)} suppressed"] if report.suppressed else []
    yield f"### {plain(report.file)}: {'valid' if report.valid else 'not valid'}"
    yield ""
    if shown:
        yield from ("| | finding | place | |", "|---|---|---|---|")
        yield from (_row(finding) for finding in shown[:ROWS])
        yield ""
    if left := len(shown) - ROWS:
        more = [f"{left} more in the log", *more] if left > 0 else more
    if more:
        yield from (f"{', '.join(more)}", "")


def _row(finding: Finding) -> str:
    place = f"{finding['file']}:{finding['line']}:{finding['column']}"
    hint = f"<br>hint: {plain(finding['hint'])}" if finding.get("hint") else ""
    level, message = finding["severity"], plain(str(finding["message"]))
    return f"| {level} | {plain(str(finding['id']))} | {plain(place)} | {message}{hint} |"


def _block(lines: Sequence[str]) -> list[str]:
    """Lines whose columns count, of any content: indented, as a fence would end where one of them is a fence."""
    shown = [f"    {line}" for text in lines for line in (text.splitlines() or [""])]
    return [*shown[:ROWS], ""] if shown else []
