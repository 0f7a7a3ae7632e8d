"""Annotations of GitHub Actions and Azure Pipelines: one command a finding.

GitHub shows them at the line in the pull request: the first ten errors, warnings and notices of a step in its summary;
all of them stay in the log. Azure Pipelines shows them in the summary of the run.
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


def render_azure(report: Report, base: str) -> list[str]:
    """A `task.logissue` for each error and warning: Azure Pipelines has no notices."""
    return [
        azure_command(
            finding["severity"], advice(finding), sourcepath=below(finding["file"], base) or finding["file"],
            linenumber=finding["line"], columnnumber=finding["column"], code=finding["id"],
        )
        for finding in report.findings if finding["severity"] in {"error", "warning"}
    ]  # fmt: skip


def azure_command(level: str, message: str, **properties: object) -> str:
    """`##vso[task.logissue type=error;sourcepath=web.json;linenumber=3]message`; level: error or warning. The escapes
    are those of Microsoft's azure-pipelines-task-lib."""
    where = "".join(f"{name}={_azure(str(value), closing=True)};" for name, value in properties.items())
    return f"##vso[task.logissue type={level};{where}]{_azure(message)}"


def _azure(text: str, *, closing: bool = False) -> str:
    made = "%0A".join(clean(line.replace("%", "%AZP25")) for line in re.split(r"\r\n|[\r\n]", text))
    return made.replace("]", "%5D").replace(";", "%3B") if closing else made


def command(level: str, message: str, **properties: object) -> str:
    """`::error file=web.json,line=3::message`; level: error, warning or notice."""
    where = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    return f"::{level}{' ' if where else ''}{where}::{_data(message)}"


def _data(text: str) -> str:
    """A line break in a message would start another command. What else it may hold, `Screen.command` looks at."""
    return "%0A".join(clean(line.replace("%", "%25")) for line in re.split(r"\r\n|[\r\n]", text))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
