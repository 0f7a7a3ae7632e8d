"""SARIF 2.1.0: findings for code scanning, with what each rule means.

Built as plain dictionaries; a test holds the result against the official schema. Section numbers are those of the
OASIS standard.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from aibemu.reports.findings import Finding, Report, RuleText, absolute, below, fingerprint, is_address
from aibemu.reports.rules_page import entry

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT = "%SRCROOT%"
# partialFingerprints: a change of how they are made needs another name.
FINGERPRINT = "aibemu/v1"

RuleLookup = Callable[[str], RuleText]


def render(report: Report, base: str, rule: RuleLookup, version: str) -> list[str]:
    """The lines of the log: ASCII, so that no locale can spoil it.

    base: the folder that files are named from. rule: what is known of an id. version: aibemu's.
    """
    return json.dumps(as_log(report, base, rule, version), indent=1, ensure_ascii=True).split("\n")


def as_log(report: Report, base: str, rule: RuleLookup, version: str) -> dict[str, Any]:
    """The log of one run."""
    found = [(finding, None) for finding in report.findings] + list(report.suppressed)
    ids = list(dict.fromkeys(str(finding["id"]) for finding, _ in found))
    seen: Counter[str] = Counter()
    run = {
        "tool": {"driver": {"name": "aibemu", "version": version, "rules": [_rule(rule(id_)) for id_ in ids]}},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {ROOT: {"uri": _file_uri(base.rstrip("/") + "/")}},
        "results": [_result(finding, reason, base, ids.index(str(finding["id"])), seen) for finding, reason in found],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: RuleText) -> dict[str, Any]:
    """A reportingDescriptor (3.49)."""
    text = " ".join(part for part in (rule.why, rule.fix) if part) or rule.title
    value: dict[str, Any] = {
        "id": rule.id,
        "name": "".join(word[:1].upper() + word[1:] for word in re.findall(r"\w+", rule.title)) or rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why or rule.title},
        "help": {"text": text, "markdown": "\n".join(entry(rule))},
        "defaultConfiguration": {"level": rule.level},
    }
    return value | ({"helpUri": rule.url} if rule.url else {})


def _result(finding: Finding, reason: str | None, base: str, index: int, seen: Counter[str]) -> dict[str, Any]:
    """A result (3.27). Either all results of a run say whether they are suppressed, or none (3.27.23)."""
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": _artifact(str(finding["file"]), base),
            "region": {"startLine": finding["line"], "startColumn": finding["column"]},
        }
    }
    if finding["path"]:
        location["logicalLocations"] = [{"fullyQualifiedName": finding["path"], "kind": "element"}]
    return {
        "ruleId": finding["id"],
        "ruleIndex": index,
        "level": finding["severity"],
        "message": {"text": _message(finding)},
        "locations": [location],
        "partialFingerprints": {FINGERPRINT: fingerprint(finding, base, seen)},
        "suppressions": [{"kind": "external", "justification": reason}] if reason is not None else [],
    }


def _message(finding: Finding) -> str:
    """Braces stay single: doubling is for messages with arguments, and readers show others as they are."""
    message, hint = str(finding["message"]), finding.get("hint")
    return f"{message} (hint: {hint})" if hint else message


def _artifact(file: str, base: str) -> dict[str, str]:
    """An artifactLocation (3.4): below the base relative to it, else a URI of its own."""
    if is_address(file):
        return {"uri": quote(file, safe=":/?#[]@!$&'()*+,;=%~")}
    relative = below(file, base)
    if relative is not None:
        return {"uri": quote(os.fsencode(relative), safe="/"), "uriBaseId": ROOT}
    return {"uri": _file_uri(absolute(file, base))}


def _file_uri(path: str) -> str:
    return f"file://{quote(os.fsencode(path), safe='/')}"
