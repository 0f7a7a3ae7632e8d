"""JUnit XML of runs: each step, validator and output is a test case, so that CI systems show which one failed.

A run is a suite. What failed is a failure, with the last lines that it printed; what was not run, or left out, is a
skipped case that says why. A run that failed at none of them, as in its boot, has one more case, for the phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from aibemu.reports.failure import explanation
from aibemu.reports.junit import COUNTS, lines_of, xml_text
from aibemu.reports.summary import OutputSummary, RunSummary, StepSummary

_DONE = {"ok", "cached"}


def render(summaries: Sequence[RunSummary]) -> list[str]:
    """The lines of the document, in ASCII."""
    suites = ElementTree.Element("testsuites", name="aibemu run")
    for summary in summaries:
        add_suite(suites, summary, name=f"{summary.template} ({summary.noun})")
    return finished(suites)


def finished(suites: ElementTree.Element) -> list[str]:
    """The lines of the document, once each suite has its cases: they are counted now."""
    for suite in suites:
        counts = {
            "tests": len(suite), "failures": len(suite.findall("testcase/failure")), "errors": 0,
            "skipped": len(suite.findall("testcase/skipped")),
        }  # fmt: skip
        suite.attrib |= {name: str(count) for name, count in counts.items()}
    totals = {name: sum(int(suite.get(name, "0")) for suite in suites) for name in COUNTS}
    suites.attrib |= {name: str(total) for name, total in totals.items()}
    return lines_of(suites)


def add_suite(suites: ElementTree.Element, summary: RunSummary, *, name: str, stopped: str = "") -> None:
    """The suite of a run. stopped: why it says nothing about its template, if it does not: then it is skipped where it
    ended."""
    suite = ElementTree.SubElement(suites, "testsuite", name=xml_text(name), time=f"{summary.seconds or 0:.3f}")
    suite.attrib |= {"timestamp": summary.started[:19]} if summary.started else {}
    for step in summary.steps:
        _step(suite, summary, step)
    for output in summary.outputs:
        _output(suite, summary, output)
    if stopped:
        _skipped(_case(suite, summary, "run", "run", None), stopped, ())
    elif summary.error and suite.find("testcase/failure") is None:
        phase = next((phase.name for phase in summary.phases if phase.status == "failed"), "run")
        message = str(summary.error.get("message"))
        _failed(_case(suite, summary, phase, phase, None), message, "\n".join(explanation(summary)))
    if len(suite) == 0:
        _case(suite, summary, "run", summary.shown_state, summary.seconds)


def _step(suite: ElementTree.Element, summary: RunSummary, step: StepSummary) -> None:
    case = _case(suite, summary, step.phase or "customize", step.label or step.id, step.total_seconds)
    file, _, place = (step.span or "").partition(":")
    case.attrib |= {"file": xml_text(file), "line": place.partition(":")[0]} if place else {}
    if step.status == "failed":
        _failed(case, str(step.error or "failed"), "\n".join(explanation(summary)))
    elif step.status not in _DONE:
        _skipped(case, step.status, step.would)


def _output(suite: ElementTree.Element, summary: RunSummary, output: OutputSummary) -> None:
    case = _case(suite, summary, "distribute", output.run_output_name, output.seconds)
    if output.status == "failed":
        _failed(case, str(output.error or "failed"), "")
    elif output.status not in _DONE:
        _skipped(case, output.status, output.would)


def _case(
    suite: ElementTree.Element, summary: RunSummary, phase: str, name: str, seconds: float | None
) -> ElementTree.Element:
    class_ = f"aibemu.{summary.template.replace('.', '_')}.{phase}"
    more: dict[str, Any] = {"time": f"{seconds:.3f}"} if seconds is not None else {}
    return ElementTree.SubElement(suite, "testcase", classname=xml_text(class_), name=xml_text(name), **more)


def _failed(case: ElementTree.Element, message: str, text: str) -> None:
    failure = ElementTree.SubElement(case, "failure", message=xml_text(message))
    failure.text = xml_text(text)


def _skipped(case: ElementTree.Element, status: str, would: Sequence[str]) -> None:
    skipped = ElementTree.SubElement(case, "skipped", message=xml_text(status or "not run"))
    if would:
        skipped.text = xml_text("\n".join(f"would {piece}" for piece in would))
