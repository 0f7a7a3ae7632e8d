"""JUnit XML of the builds of one call: a suite for each template, as `run_junit` makes it of a run.

A build that was stopped because another one failed is skipped: it says nothing about its template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from aibemu.reports.junit import xml_text
from aibemu.reports.run_junit import add_suite, finished
from aibemu.reports.summary import RunSummary


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


def render(builds: Sequence[Built]) -> list[str]:
    """The lines of the document: ASCII, so that no locale can spoil it. Texts must be without secrets."""
    suites = ElementTree.Element("testsuites", name="aibemu run")
    for build in builds:
        if build.summary:
            add_suite(suites, build.summary, name=build.name, stopped=build.skipped)
        else:
            _not_begun(suites, build)
    return finished(suites)


def _not_begun(suites: ElementTree.Element, build: Built) -> None:
    """A suite with one case."""
    name, error = xml_text(build.name), build.error or {}
    suite = ElementTree.SubElement(suites, "testsuite", name=name)
    case = ElementTree.SubElement(suite, "testcase", classname=f"aibemu.{name.replace('.', '_')}", name="run")
    file, _, place = str(error.get("span") or "").rpartition(":")[0].rpartition(":")
    case.attrib |= {"file": xml_text(file), "line": place} if file and place.isdigit() else {}
    if build.skipped:
        ElementTree.SubElement(case, "skipped", message=xml_text(build.skipped))
    elif error:
        message = str(error.get("message") or "")
        more = [*(error.get("details") or ()), *([f"hint: {error['hint']}"] if error.get("hint") else [])]
        failure = ElementTree.SubElement(case, "failure", message=xml_text(message))
        failure.text = xml_text("\n".join([message, *map(str, more)]))
