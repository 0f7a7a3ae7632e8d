"""GitHub Actions annotations: one workflow command a finding, shown at the line in the pull request.

GitHub shows the first ten errors, warnings and notices of a step in its summary; all of them stay in the log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from aibemu.reports.findings import Report, advice, below
from aibemu.text import clean

LEVELS: Mapping[str, str] = {"error": "error", "warning": "warning", "note": "notice"}


def render(report: Report, base: str) -> list[str]:
    """A command for each finding; what was suppressed is not shown. base: the folder that files are named from."""
    return [
        command(
            LEVELS[finding["severity"]], advice(finding), file=below(finding["file"], base) or finding["file"],
            line=finding["line"], col=finding["column"], title=finding["id"],
        )
        for finding in report.findings
    ]  # fmt: skip


def command(level: str, message: str, **properties: object) -> str:
    """`::error file=web.json,line=3::message`; level: error, warning or notice."""
    where = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    return f"::{level}{' ' if where else ''}{where}::{_data(message)}"


def _data(text: str) -> str:
    """A line break in a message would start another command. What else it may hold, `Screen.command` looks at."""
    return "%0A".join(clean(line.replace("%", "%25")) for line in re.split(r"\r\n|[\r\n]", text))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
