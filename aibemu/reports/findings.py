"""What reports of a checked template are made from: plain data, so that a report knows nothing of templates."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

Finding = Mapping[str, Any]
"""One finding as `--output json` has it: id, severity, message, path, file, line, column, hint, azure."""

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One checked file.

    file: as the user named it. name: the template's, None when there is no telling. valid: the service would take it.
    suppressed: findings that somebody decided to live with, each with the reason.
    """

    file: str
    name: str | None
    valid: bool
    findings: Sequence[Finding] = ()
    suppressed: Sequence[tuple[Finding, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleText:
    """A template, or a part of one, and the files beside it."""

    text: str
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleText:
    """What there is to say about a kind of finding. level: error | warning | note; url: where more is said."""

    id: str
    level: str
    title: str
    why: str = ""
    fix: str = ""
    bad: ExampleText | None = None
    good: ExampleText | None = None
    url: str | None = None


def advice(finding: Finding) -> str:
    """The message, and on a second line what to do."""
    hint = finding.get("hint")
    return f"{finding['message']}\nhint: {hint}" if hint else str(finding["message"])


def is_address(file: str) -> bool:
    """True for the place of a script that was fetched: a URI, no file of this host."""
    return _URI.match(file) is not None


def absolute(file: str, base: str) -> str:
    """The file's absolute path, from its name alone; `base` is the absolute folder that files are named from."""
    return os.path.normpath(os.path.join(base, file))  # noqa: PTH118 - Path does not take `..` out


def named_from(report: Report, here: str, base: str) -> Report:
    """The report with files named from the folder `base`, not `here`; those that are elsewhere by their whole path."""

    def moved(finding: Finding) -> Finding:
        file = str(finding["file"])
        if is_address(file):
            return finding
        path = absolute(file, here)
        return {**finding, "file": below(path, base) or path}

    return replace(
        report, findings=[moved(one) for one in report.findings],
        suppressed=[(moved(one), reason) for one, reason in report.suppressed],
    )  # fmt: skip


def combined(reports: Sequence[Report]) -> Report:
    """One report about all of them, for forms in which a finding says by itself which file it is about."""
    return Report(
        file=reports[0].file if reports else "", name=None, valid=all(one.valid for one in reports),
        findings=[finding for one in reports for finding in one.findings],
        suppressed=[found for one in reports for found in one.suppressed],
    )  # fmt: skip


def below(file: str, base: str) -> str | None:
    """The file's path from `base`; None when it is elsewhere."""
    if is_address(file):
        return None
    path, root = absolute(file, base), base.rstrip("/") + "/"
    return path.removeprefix(root) if path.startswith(root) else None


def fingerprint(finding: Finding, base: str, seen: Counter[str]) -> str:
    """Of 32 hex digits, the same while the finding is: lines, indices, numbers do not count, only which of several
    alike it is."""
    file = below(finding["file"], base) or finding["file"]
    what = re.sub(r"\d+", "", f"{finding['path']}\0{finding['message']}")
    key = f"{finding['id']}\0{file}\0{what}"
    seen[key] += 1
    return sha256(f"{key}\0{seen[key]}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
