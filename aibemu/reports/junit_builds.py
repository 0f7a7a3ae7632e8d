"""JUnit XML of builds: a suite for each template, a case for each step and output, and one for what else ended a build.

What was not run, because something before it failed or in a dry run, is skipped. A build that was stopped because
another one failed is skipped too: it says nothing about its template.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from aibemu.reports.junit import lines_of, xml_text
from aibemu.reports.summary import RunSummary

_PASSED = frozenset({"ok", "cached"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One template of the call."""

    # What the template is called, or its file where that is not known.
    name: str
    # None when it was not begun.
    summary: RunSummary | None = None
    # As `error_record` gives it; None when it succeeded.
    error: Mapping[str, Any] | None = None
    # Why it says nothing about its template, if it does not: it was stopped, or never begun, because of another one.
    skipped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    name: str
    seconds: float = 0.0
    # `FILE:LINE:COLUMN` or "".
    span: str = ""
    failure: str | None = None
    text: str = ""
    skipped: str | None = None


def render(builds: Sequence[Built]) -> list[str]:
    """The lines of the document: ASCII, so that no locale can spoil it. Texts must be without secrets."""
    root = ElementTree.Element("testsuites", name="aibemu run")
    everything: list[_Case] = []
    for build in builds:
        cases = list(_cases(build))
        everything += cases
        suite = ElementTree.SubElement(root, "testsuite", {"name": xml_text(build.name), **_counts(cases)})
        for case in cases:
            _add(suite, f"aibemu.{xml_text(build.name).replace('.', '_')}", case)
    root.attrib |= _counts(everything)
    return lines_of(root)


def _cases(build: Built) -> Iterator[_Case]:
    failed = False
    for case in _of_summary(build.summary) if build.summary else ():
        failed = failed or case.failure is not None
        yield case
    error = build.error or {}
    message = str(error.get("message") or "")
    if build.skipped:
        yield _Case(name="build", skipped=build.skipped)
    elif not failed:
        more = [*(error.get("details") or ()), *([f"hint: {error['hint']}"] if error.get("hint") else [])]
        yield _Case(
            name="build", failure=message if error else None, text="\n".join([message, *more]) if error else "",
            span=str(error.get("span") or ""),
        )  # fmt: skip


def _of_summary(summary: RunSummary) -> Iterator[_Case]:
    for step in summary.steps:
        if step.role == "hidden" and step.status != "failed":
            continue
        over, failed = step.status in _PASSED, step.status == "failed"
        yield _Case(
            name=f"{step.role} {step.id}: {step.label or step.kind}", span=step.span, seconds=step.seconds or 0.0,
            failure=(step.error or "it failed") if failed else None, text="\n".join(step.last_lines) if failed else "",
            skipped=None if over or failed else step.status,
        )  # fmt: skip
    for output in summary.outputs:
        over, failed = output.status == "ok", output.status == "failed"
        yield _Case(
            name=f"output {output.run_output_name}", seconds=output.seconds or 0.0,
            failure=(output.error or "it failed") if failed else None,
            skipped=None if over or failed else output.status,
        )  # fmt: skip


def _counts(cases: Sequence[_Case]) -> dict[str, str]:
    return {
        "tests": str(len(cases)), "failures": str(sum(case.failure is not None for case in cases)), "errors": "0",
        "skipped": str(sum(case.skipped is not None for case in cases)),
        "time": f"{sum(case.seconds for case in cases):.3f}",
    }  # fmt: skip


def _add(suite: ElementTree.Element, class_: str, case: _Case) -> None:
    file, _, place = case.span.rpartition(":")[0].rpartition(":")
    where = {"file": xml_text(file), "line": place} if file and place.isdigit() else {}
    what = {"classname": class_, "name": xml_text(case.name), "time": f"{case.seconds:.3f}"}
    made = ElementTree.SubElement(suite, "testcase", what | where)
    if case.failure is not None:
        failure = ElementTree.SubElement(made, "failure", message=xml_text(case.failure))
        failure.text = xml_text(case.text or case.failure)
    elif case.skipped is not None:
        ElementTree.SubElement(made, "skipped", message=xml_text(case.skipped))
