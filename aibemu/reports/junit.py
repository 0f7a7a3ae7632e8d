"""JUnit XML: the form in which every CI system shows results, and fails a stage for them.

A finding is a test case. An error is a failure. A warning is a skipped case, because that is what CI systems show in
another colour without failing: a passing case with text in it is never looked at. Notes ask for nothing and are left
out, as is what was suppressed. With nothing to show there is one passing case, for an empty suite counts as broken.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from aibemu.reports.findings import Finding, Report, advice, below

# What XML 1.0 cannot hold, not even escaped.
_INVALID = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report, base: str) -> list[str]:
    """The lines of the document: ASCII, so that no locale can spoil it. base: the folder that files are named from."""
    shown = [finding for finding in report.findings if finding["severity"] != "note"]
    failures = sum(finding["severity"] == "error" for finding in shown)
    counts: dict[str, Any] = {
        "tests": str(len(shown) or 1), "failures": str(failures), "errors": "0", "skipped": str(len(shown) - failures),
    }  # fmt: skip
    suites = ElementTree.Element("testsuites", name="aibemu validate", **counts)
    suite = ElementTree.SubElement(suites, "testsuite", name=_text(report.file), **counts)
    for finding in shown:
        _case(suite, _class(report), finding, base)
    if not shown:
        ElementTree.SubElement(suite, "testcase", classname=_class(report), name=f"{_text(report.file)} is valid")
    ElementTree.indent(suites, " ")
    text: bytes = ElementTree.tostring(suites, encoding="us-ascii", xml_declaration=True)
    return text.decode("ascii").split("\n")


def _case(suite: ElementTree.Element, class_: str, finding: Finding, base: str) -> None:
    """Named by its place, which no other finding of that kind has: cases of one name would be taken for one."""
    file, line, column = str(finding["file"]), finding["line"], finding["column"]
    case = ElementTree.SubElement(
        suite, "testcase", classname=class_, name=_text(f"{finding['id']} {file}:{line}:{column}"),
        file=_text(below(file, base) or file), line=str(line),
    )  # fmt: skip
    error = finding["severity"] == "error"
    message = _text(str(finding["message"]))
    if not error:
        ElementTree.SubElement(case, "skipped", message=message)
        return
    failure = ElementTree.SubElement(case, "failure", type=str(finding["id"]), message=message)
    failure.text = _text("\n".join([f"{file}:{line}:{column}: {finding['path']}".rstrip(": "), advice(finding)]))


def _class(report: Report) -> str:
    """What CI systems group by. A dot in it would make a package of what is before."""
    return f"aibemu.{_text(report.name or report.file).replace('.', '_')}"


def _text(text: str) -> str:
    return _INVALID.sub("\ufffd", text)
