"""JUnit XML: the form in which every CI system shows results, and fails a stage for them.

A finding is a test case. An error is a failure. A warning is a skipped case, because that is what CI systems show in
another colour without failing: a passing case with text in it is never looked at. Notes ask for nothing and are left
out, as is what was suppressed. With nothing to show there is one passing case, for an empty suite counts as broken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from aibemu.reports.findings import Finding, Report, advice, below

COUNTS = ("tests", "failures", "errors", "skipped")
# What XML 1.0 cannot hold, not even escaped.
_INVALID = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(reports: Sequence[Report], base: str) -> list[str]:
    """The lines of the document: ASCII, so that no locale can spoil it. A file is a suite. base: the folder that files
    are named from."""
    suites = ElementTree.Element("testsuites", name="aibemu validate")
    for report in reports:
        _suite(suites, report, base)
    totals = {name: sum(int(suite.get(name, "0")) for suite in suites) for name in COUNTS}
    suites.attrib |= {name: str(total) for name, total in totals.items()}
    return lines_of(suites)


def lines_of(document: ElementTree.Element) -> list[str]:
    """The document as lines of ASCII."""
    ElementTree.indent(document, " ")
    text: bytes = ElementTree.tostring(document, encoding="us-ascii", xml_declaration=True)
    return text.decode("ascii").split("\n")


def _suite(suites: ElementTree.Element, report: Report, base: str) -> None:
    shown = [finding for finding in report.findings if finding["severity"] != "note"]
    failures = sum(finding["severity"] == "error" for finding in shown)
    counts = (len(shown) or 1, failures, 0, len(shown) - failures)
    counted: dict[str, Any] = {name: str(count) for name, count in zip(COUNTS, counts, strict=True)}
    suite = ElementTree.SubElement(suites, "testsuite", name=xml_text(report.file), **counted)
    for finding in shown:
        _case(suite, _class(report), finding, base)
    if not shown:
        ElementTree.SubElement(suite, "testcase", classname=_class(report), name=f"{xml_text(report.file)} is valid")


def _case(suite: ElementTree.Element, class_: str, finding: Finding, base: str) -> None:
    """Named by its place, which no other finding of that kind has: cases of one name would be taken for one."""
    file, line, column = str(finding["file"]), finding["line"], finding["column"]
    case = ElementTree.SubElement(
        suite, "testcase", classname=class_, name=xml_text(f"{finding['id']} {file}:{line}:{column}"),
        file=xml_text(below(file, base) or file), line=str(line),
    )  # fmt: skip
    error = finding["severity"] == "error"
    message = xml_text(str(finding["message"]))
    if not error:
        ElementTree.SubElement(case, "skipped", message=message)
        return
    failure = ElementTree.SubElement(case, "failure", type=str(finding["id"]), message=message)
    failure.text = xml_text("\n".join([f"{file}:{line}:{column}: {finding['path']}".rstrip(": "), advice(finding)]))


def _class(report: Report) -> str:
    """What CI systems group by. A dot in it would make a package of what is before."""
    return f"aibemu.{xml_text(report.name or report.file).replace('.', '_')}"


def xml_text(text: str) -> str:
    """The text without what XML cannot hold."""
    return _INVALID.sub("\ufffd", text)
