"""`aibemu report`: a run for CI systems."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

from tests.unit.cli.conftest import FAILED


def test_a_run_is_a_suite_with_a_case_for_each_step_and_output(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    said = aibemu("report", "--format", "junit", run.id)
    assert said.code == 0
    (suite,) = ElementTree.fromstring(said.out)
    assert suite.get("name") == f"demo (run {run.id})"
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "2", "failures": "1", "errors": "0", "skipped": "0",
    }  # fmt: skip
    step, output = suite
    assert (step.get("classname"), step.get("name")) == ("aibemu.demo.customize", "Install")
    assert (step.get("file"), step.get("line"), step.get("time")) == ("t.json", "4", "1.000")
    (failure,) = step
    assert failure.get("message") == FAILED
    assert "mkdir: cannot create directory: Permission denied" in str(failure.text)
    assert (output.get("classname"), output.get("name"), len(output)) == ("aibemu.demo.distribute", "out", 0)


def test_a_run_that_failed_at_no_step_has_a_case_that_says_so(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    events = run.events_file.read_text().replace('"status":"failed"', '"status":"ok"')
    run.events_file.write_text(events.replace('"status": "failed"', '"status": "ok"').replace("CUSTOMIZER_FAILED", "X"))
    (suite,) = ElementTree.fromstring(aibemu("report", "--format", "junit", run.id).out)
    assert [case.get("name") for case in suite] == ["Install", "out", "run"]
    assert f"customizer Install failed: {FAILED}" in ElementTree.tostring(suite[2], encoding="unicode")


def test_a_page_tells_times_failure_and_outputs(aibemu: Any, make_run: Any) -> None:
    make_run()
    said = aibemu("report")
    lines = said.out.splitlines()
    assert lines[0] == "### demo: Failed"
    assert any(line.startswith("      Install") and line.endswith("failed") for line in lines)
    assert "    FAILED in phase customize after 2.0s: Install" in lines
    assert "- out: file&#58;///disk.vhd" in lines
    assert "\x1b" not in said.out


def test_programs_get_the_text_of_a_report(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    data = json.loads(aibemu("--output", "json", "report", run.id, "--format", "junit").out)["data"]
    assert (data["run"], data["format"]) == (run.id, "junit")
    assert ElementTree.fromstring(data["text"])[0].get("failures") == "1"


def test_a_report_of_nothing(aibemu: Any, home: Any) -> None:
    said = aibemu("report")
    assert said.code == 2
    assert "there are no runs yet" in said.err
