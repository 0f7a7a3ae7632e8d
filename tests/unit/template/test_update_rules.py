"""What is said of WindowsUpdate's filters, against what a real PowerShell did with them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibemu.arm.diagnostics import Severity
from aibemu.arm.findings import Findings
from aibemu.arm.reader import read
from aibemu.template.rule_context import RuleContext
from aibemu.template.rules.updates import _bad_criteria, check_criteria, check_filters, doubts_of
from aibemu.template.view import NodeView
from tests.public_data import POWERSHELL

CASES: list[dict[str, Any]] = json.loads((POWERSHELL / "filters.json").read_text(encoding="utf-8"))["cases"]
# They install what they say, and something else than most people mean.
MEANT_OTHERWISE = {
    "order-matters", "no-action", "unknown-action", "action-blank", "action-blank-before-colon", "several-results",
    "zero-string",
}  # fmt: skip
# Only who has the updates knows that these fit none.
UNKNOWABLE = {"index-of-case"}


def judged(**step: Any) -> list[tuple[str, Severity, str]]:
    text = json.dumps({"properties": {"customize": [{"type": "WindowsUpdate", **step}]}}, ensure_ascii=False)
    root = read(text, "t.json").root
    assert root is not None
    findings = Findings("t.json")
    context = RuleContext(version="2024-02-01", kinds=frozenset(), findings=findings)
    check_filters(NodeView(root, "ImageTemplate"), context)
    check_criteria(NodeView(root, "ImageTemplate"), context)
    return [(found.id, found.severity, found.message) for found in findings.sorted()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_the_verdict_is_that_of_powershell(case: dict[str, Any]) -> None:
    found = judged(filters=case["filters"])
    ids = {id_ for id_, *_ in found}
    if not case["filters"]:
        assert found == []  # the provisioner then passes none, and all are installed
    elif case["id"] == "divide-by-zero":
        assert ids == {"W89"}  # nobody runs it here; that it does not look at the update is seen
    elif case["refused"] or case["fails"]:
        assert ("E88", Severity.ERROR) in {(id_, severity) for id_, severity, _ in found}, found
    elif case["id"] in MEANT_OTHERWISE or (case["selected"] == [] and case["id"] not in UNKNOWABLE):
        assert ids == {"W89"}
    else:
        assert found == []


@pytest.mark.parametrize(
    ("filters", "word"),
    [
        (["include:$_.KBArticleIDs -contains 'KB5070003'"], "without KB"),
        (["exclude:$_.KbArticleID -contains '5070003'", "include:$true"], "no property 'KbArticleID'"),
        (["exclude:$_.Title -like '*Preview*'"], "nothing is installed"),
        ([" include:$true"], "blank"),
        (["exclude:$_.Title -eq '*Preview*'", "include:$true"], "`*` has a meaning"),
        (["include:$true", "exclude:$_.BrowseOnly"], "never asked"),
        (["exclude:$_.Title -like *Preview*", "include:$true"], "wants a value"),
        (["exclude:$_.Title -like '*a*' or $_.BrowseOnly", "include:$true"], "write `-or`"),
        (["exclude:$_.Title -match '*Preview*'", "include:$true"], "is no regular expression"),
        (["exclude:$_.Title -notmatch '(x'", "include:$true"], "is no regular expression"),
    ],
)
def test_it_says_what_is_wrong(filters: list[str], word: str) -> None:
    assert any(word in message for _, _, message in judged(filters=filters))


def test_patterns_that_net_reads() -> None:
    for pattern in (r"\d{4}-\d\d", "(?<year>20..)", "[^x]+", r"\(KB\d+\)", "a|b"):
        assert judged(filters=[f"include:$_.Title -match '{pattern}'"]) == []


def test_properties_of_something_else_in_a_block() -> None:
    assert judged(filters=["include:$_.Categories | Where-Object { $_.Name -eq 'Security Updates' }"]) == []


@pytest.mark.parametrize(
    "text",
    [
        "IsInstalled=0", "BrowseOnly=0 and IsInstalled=0", "IsInstalled = 0 AND Type='Software'",
        "(IsInstalled=0 and Type='Software') or (IsInstalled=0 and DeploymentAction='*')",
        "IsHidden=0 and IsInstalled=0",
        "CategoryIDs contains 'E6CF1350-C01B-414D-A61F-263D14D133B4'", "UpdateID!='a' and RevisionNumber=1",
    ],
)  # fmt: skip
def test_criteria_that_windows_update_reads(text: str) -> None:
    assert judged(searchCriteria=text) == []


@pytest.mark.parametrize(
    "text", ["IsInstalled=false -and", "Installed=0", "IsInstalled==0", "IsInstalled -eq 0", "everything", "Title='x'"]
)
def test_criteria_that_it_does_not(text: str) -> None:
    assert [id_ for id_, *_ in judged(searchCriteria=text)] == ["W91"]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("expression", [" " * 60_000 + "x", "$_.Title -eq '" + "*" * 60_000])
def test_a_filter_that_means_harm_is_read_in_bounded_time(expression: str) -> None:
    assert list(doubts_of(f"include:{expression}"))


@pytest.mark.timeout(30)
def test_criteria_that_mean_harm_are_read_in_bounded_time() -> None:
    assert _bad_criteria("a" * 30_000)
