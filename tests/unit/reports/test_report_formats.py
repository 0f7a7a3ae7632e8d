"""SARIF, JUnit and GitHub annotations: what a reader of each gets, whatever a template holds."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.reports import annotations as github
from aibemu.reports import code_quality, junit, markdown, sarif
from aibemu.reports.findings import ExampleText, Report, RuleText, below

BASE = "/work/repo"
STEP = "ImageTemplate.properties.customize[0]"
RULE = RuleText(
    id="E20", level="error", title="both or none of scriptUri and inline", why="The service wants one.",
    fix="Take one out.", bad=ExampleText(text="{}"), good=ExampleText(text='{"a": 1}', files={"a.sh": "ls\n"}),
)  # fmt: skip


def finding(**changes: Any) -> dict[str, Any]:
    return {
        "id": "E20", "severity": "error", "message": "step 2 has both", "path": STEP, "file": "t/web 1.json",
        "line": 12, "column": 3, "hint": "take one out", **changes,
    }  # fmt: skip


def report(*findings: dict[str, Any], **more: Any) -> Report:
    valid = all(found["severity"] != "error" for found in findings)
    return Report(file="t/web 1.json", name="web", valid=valid, findings=findings, **more)


def rule(id_: str) -> RuleText:
    return RULE if id_ == RULE.id else RuleText(id=id_, level="warning", title=id_, url=f"https://me.example/{id_}")


def log(shown: Report) -> Any:
    return json.loads("\n".join(sarif.render(shown, BASE, rule, "1.2.3")))


def results(*findings: dict[str, Any], **more: Any) -> Any:
    return log(report(*findings, **more))["runs"][0]["results"]


def suite(shown: Report) -> ElementTree.Element:
    (found,) = ElementTree.fromstring("\n".join(junit.render([shown], BASE)))
    return found


NOTE = finding(id="W27", severity="note", path="", hint=None)
WARNING = finding(id="SC2086", severity="warning", file="/elsewhere/ä.sh")
ALL = report(finding(), WARNING, NOTE, suppressed=[(finding(id="W28", severity="warning"), "we know")])
TEXT = st.text(st.characters(), max_size=20)
ANY = st.builds(
    finding, severity=st.sampled_from(["error", "warning", "note"]), message=TEXT, path=TEXT, hint=st.none() | TEXT,
    file=st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20), line=st.integers(1, 9),
    column=st.integers(1, 9),
)  # fmt: skip


# SARIF


@pytest.fixture(scope="module")
def official() -> Any:
    """The validator of the official schema."""
    if not (path := os.environ.get("AIBEMU_SARIF_SCHEMA")):
        pytest.skip("AIBEMU_SARIF_SCHEMA is not set: ./test.sh fetches the official schema of SARIF 2.1.0 and sets it")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(Path(path).read_text(encoding="utf-8"))
    return jsonschema.validators.validator_for(schema)(schema)


@pytest.mark.parametrize("shown", [ALL, report(), report(NOTE)], ids=["all", "nothing", "a note"])
def test_sarif_is_valid_by_the_official_schema(official: Any, shown: Report) -> None:
    official.validate(log(shown))


@given(st.lists(ANY, max_size=4))
def test_sarif_of_anything_is_valid_by_the_official_schema(official: Any, found: list[dict[str, Any]]) -> None:
    official.validate(log(report(*found)))


def test_sarif_says_what_was_found_and_where() -> None:
    (result,) = results(finding())
    assert (result["ruleId"], result["level"]) == ("E20", "error")
    assert result["message"]["text"] == "step 2 has both (hint: take one out)"
    (location,) = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "t/web%201.json", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 12, "startColumn": 3},
    }
    assert location["logicalLocations"] == [{"fullyQualifiedName": STEP, "kind": "element"}]
    run = log(ALL)["runs"][0]
    assert run["columnKind"] == "unicodeCodePoints"
    assert run["originalUriBaseIds"] == {"%SRCROOT%": {"uri": "file:///work/repo/"}}


def test_sarif_has_the_rules_that_occur_and_no_others() -> None:
    run = log(ALL)["runs"][0]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("aibemu", "1.2.3")
    assert [rule["id"] for rule in driver["rules"]] == ["E20", "SC2086", "W27", "W28"]
    assert [result["ruleId"] for result in run["results"]] == [
        driver["rules"][result["ruleIndex"]]["id"] for result in run["results"]
    ]


def test_sarif_explains_the_rule() -> None:
    first, second, *_ = log(ALL)["runs"][0]["tool"]["driver"]["rules"]
    assert first["name"] == "BothOrNoneOfScriptUriAndInline"
    assert first["shortDescription"]["text"] == RULE.title
    assert first["fullDescription"]["text"] == "The service wants one."
    assert first["defaultConfiguration"] == {"level": "error"}
    assert first["help"]["text"] == "The service wants one. Take one out."
    assert "```json\n{}\n```" in first["help"]["markdown"]
    assert second["helpUri"] == "https://me.example/SC2086"


@pytest.mark.parametrize(
    ("file", "uri", "relative"),
    [
        ("web.json", "web.json", True),
        ("./a/../web.json", "web.json", True),
        ("/work/repo/web.json", "web.json", True),
        ("100%#?.json", "100%25%23%3F.json", True),
        ("ü.json", "%C3%BC.json", True),
        ("bad\udcff.json", "bad%FF.json", True),
        ("a:b.json", "a%3Ab.json", True),
        ("../web.json", "file:///work/web.json", False),
        ("/work/repository/web.json", "file:///work/repository/web.json", False),
        ("https://me.example/a b.sh?sig=x%20y", "https://me.example/a%20b.sh?sig=x%20y", False),
    ],
)
def test_sarif_names_files_by_uri(file: str, uri: str, relative: bool) -> None:
    (result,) = results(finding(file=file))
    artifact = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert artifact == {"uri": uri} | ({"uriBaseId": "%SRCROOT%"} if relative else {})


def fingerprints(*findings: dict[str, Any]) -> list[str]:
    return [result["partialFingerprints"]["aibemu/v1"] for result in results(*findings)]


def test_fingerprints_do_not_move_with_lines_and_indices() -> None:
    moved = finding(line=99, column=1, path=STEP.replace("0", "7"), message="step 9 has both")
    assert fingerprints(finding()) == fingerprints(moved)


def test_fingerprints_tell_findings_apart() -> None:
    found = fingerprints(
        finding(), finding(line=13), finding(id="E21"), finding(message="else"), finding(path="ImageTemplate"),
        finding(file="b.json"),
    )  # fmt: skip
    assert len(set(found)) == 6


def test_sarif_keeps_what_was_suppressed_with_the_reason() -> None:
    *shown, last = log(ALL)["runs"][0]["results"]
    assert last["suppressions"] == [{"kind": "external", "justification": "we know"}]
    assert all(result["suppressions"] == [] for result in shown)


# JUnit


def test_junit_fails_for_errors_and_skips_warnings() -> None:
    found = suite(ALL)
    counts = {"tests": "2", "failures": "1", "errors": "0", "skipped": "1", "name": "t/web 1.json"}
    assert found.attrib == counts
    error, warning = found
    assert error.attrib["name"] == "E20 t/web 1.json:12:3"
    assert (error.attrib["classname"], error.attrib["file"], error.attrib["line"]) == (
        "aibemu.web", "t/web 1.json", "12",
    )  # fmt: skip
    (failure,) = error
    assert (failure.tag, failure.attrib) == ("failure", {"type": "E20", "message": "step 2 has both"})
    assert failure.text == f"t/web 1.json:12:3: {STEP}\nstep 2 has both\nhint: take one out"
    (skipped,) = warning
    assert (skipped.tag, skipped.attrib) == ("skipped", {"message": "step 2 has both"})


@pytest.mark.parametrize("shown", [report(), report(NOTE)], ids=["nothing", "a note"])
def test_junit_of_a_clean_template_is_one_passing_case(shown: Report) -> None:
    found = suite(shown)
    assert (found.attrib["tests"], found.attrib["failures"], found.attrib["skipped"]) == ("1", "0", "0")
    (case,) = found
    assert case.attrib == {"classname": "aibemu.web", "name": "t/web 1.json is valid"}
    assert len(case) == 0


def test_junit_groups_by_the_template_or_the_file_without_making_packages_of_dots() -> None:
    (case,) = suite(Report(file="a/web.v2.json", name=None, valid=True))
    assert case.attrib["classname"] == "aibemu.a/web_v2_json"


def test_junit_holds_no_character_that_xml_cannot() -> None:
    (case,) = suite(report(finding(message="a\x00\x1b[2J\ud800<&>\"'\n]]>ü", file="b\x01.json")))
    assert case[0].attrib["message"] == "a\ufffd\ufffd[2J\ufffd<&>\"'\n]]>ü"
    assert case.attrib["name"] == "E20 b\ufffd.json:12:3"


@given(st.lists(ANY, max_size=4))
def test_junit_of_anything_is_xml_with_true_counts(found: list[dict[str, Any]]) -> None:
    shown = suite(report(*found))
    assert int(shown.attrib["tests"]) == len(shown)
    assert int(shown.attrib["failures"]) == len(shown.findall("testcase/failure"))
    assert int(shown.attrib["skipped"]) == len(shown.findall("testcase/skipped"))


# GitHub


def test_annotations_name_place_rule_and_advice() -> None:
    assert github.render(ALL, BASE) == [
        "::error file=t/web 1.json,line=12,col=3,title=E20::step 2 has both%0Ahint: take one out",
        "::warning file=/elsewhere/ä.sh,line=12,col=3,title=SC2086::step 2 has both%0Ahint: take one out",
        "::notice file=t/web 1.json,line=12,col=3,title=W27::step 2 has both",
    ]


def test_annotations_name_files_from_the_current_folder() -> None:
    (line,) = github.render(report(finding(file="/work/repo/a,b:c.json", hint=None)), BASE)
    assert line.startswith("::error file=a%2Cb%3Ac.json,line=12")


@given(st.lists(ANY, max_size=4))
def test_an_annotation_is_one_command_on_one_line(found: list[dict[str, Any]]) -> None:
    lines = github.render(report(*found), BASE)
    assert len(lines) == len(found)
    for line in lines:
        assert re.fullmatch(r"::(error|warning|notice) file=[^,:\r\n]*,line=\d,col=\d,title=E20::[^\r\n\x1b]*", line)


# places


def test_what_is_below_the_base() -> None:
    assert below("a/b.json", "/") == "a/b.json"
    assert below("../b.json", "/a") is None
    assert below("https://me.example/b.sh", "/a") is None


def test_azure_pipelines_gets_issues_and_no_notices() -> None:
    assert github.render_azure(ALL, BASE) == [
        "##vso[task.logissue type=error;sourcepath=t/web 1.json;linenumber=12;columnnumber=3;code=E20;]"
        "step 2 has both%0Ahint: take one out",
        "##vso[task.logissue type=warning;sourcepath=/elsewhere/ä.sh;linenumber=12;columnnumber=3;code=SC2086;]"
        "step 2 has both%0Ahint: take one out",
    ]


def test_nothing_ends_an_issue_of_azure_pipelines_early() -> None:
    evil = "a]b;c%0Ad\r\n##vso[task.setvariable variable=PATH]x"
    (line,) = github.render_azure(report(finding(file="a;b]c.json", message=evil, hint=None)), BASE)
    head, _, message = line.partition(";]")
    assert head.count("]") == 0 and "sourcepath=a%3Bb%5Dc.json;linenumber" in head
    assert message == "a]b;c%AZP250Ad%0A##vso[task.setvariable variable=PATH]x"
    assert "\n" not in line


def test_gitlab_gets_the_part_of_code_climate_that_it_reads() -> None:
    found = json.loads("\n".join(code_quality.render(ALL, BASE)))
    assert [(one["check_name"], one["severity"]) for one in found] == [
        ("E20", "major"), ("SC2086", "minor"), ("W27", "info"),
    ]  # fmt: skip
    assert found[0]["location"] == {"path": "t/web 1.json", "lines": {"begin": 12}}
    assert found[0]["description"] == "E20: step 2 has both\nhint: take one out"
    twice = json.loads("\n".join(code_quality.render(report(finding(), finding(line=13)), BASE)))
    assert len({one["fingerprint"] for one in twice}) == 2


def test_a_page_has_a_table_of_errors_and_warnings() -> None:
    assert markdown.findings([ALL, Report(file="good.json", name="good", valid=True)]) == [
        "### t/web 1.json: not valid",
        "",
        "| | finding | place | |",
        "|---|---|---|---|",
        "| error | E20 | t/web 1.json&#58;12&#58;3 | step 2 has both<br>hint: take one out |",
        "| warning | SC2086 | /elsewhere/ä.sh&#58;12&#58;3 | step 2 has both<br>hint: take one out |",
        "",
        "1 note, 1 suppressed",
        "",
        "### good.json: valid",
        "",
    ]


@given(TEXT)
def test_nothing_of_others_is_markup_on_a_page(text: str) -> None:
    shown = markdown.plain(f"<img src=x> | [a](b) `c` *d* @e #1\n- {text}")
    assert not re.search(r"[<>|`*@\[\]_~]", shown.replace("<br>", ""))
    assert "\n" not in shown


def test_a_page_is_never_too_long() -> None:
    lines = markdown.findings([report(*[finding(line=n, message="x" * 9000) for n in range(1, 1000)])])
    assert sum(map(len, lines)) < 250_000
    assert "799 more in the log" in lines


def test_several_files_are_suites_of_one_document() -> None:
    good = Report(file="good.json", name="good", valid=True)
    document = ElementTree.fromstring("\n".join(junit.render([ALL, good], BASE)))
    assert [one.get("name") for one in document] == ["t/web 1.json", "good.json"]
    assert {key: document.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "1", "errors": "0", "skipped": "1",
    }  # fmt: skip
