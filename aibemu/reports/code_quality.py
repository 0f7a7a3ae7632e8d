"""GitLab's code quality report: findings that a merge request shows at their lines.

The part of Code Climate's format that GitLab reads: description, check_name, fingerprint, severity, location. A note is
`info`, a warning `minor`, an error `major`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from aibemu.reports.findings import Finding, Report, advice, below, fingerprint

LEVELS: Mapping[str, str] = {"error": "major", "warning": "minor", "note": "info"}


def render(report: Report, base: str) -> list[str]:
    """The lines of the document: ASCII, so that no locale can spoil it. What was suppressed is not shown. base: the
    folder that files are named from."""
    seen: Counter[str] = Counter()
    return json.dumps([_issue(finding, base, seen) for finding in report.findings], indent=1).split("\n")


def _issue(finding: Finding, base: str, seen: Counter[str]) -> dict[str, Any]:
    return {
        "description": f"{finding['id']}: {advice(finding)}",
        "check_name": finding["id"],
        "fingerprint": fingerprint(finding, base, seen),
        "severity": LEVELS[finding["severity"]],
        "location": {"path": below(finding["file"], base) or finding["file"], "lines": {"begin": finding["line"]}},
    }
