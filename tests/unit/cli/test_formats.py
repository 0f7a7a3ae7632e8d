from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aibemu import __version__
from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.cli.diagnostics import as_data
from aibemu.cli.formats import Report, render
from aibemu.errors import Span
from aibemu.redact import Redactor


def found(id_: str, severity: Severity, file: Path) -> Diagnostic:
    return Diagnostic(id=id_, severity=severity, message="wrong", span=Span(file=str(file), line=2, column=3))


def test_every_report_can_be_made_of_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = found("Z99", Severity.ERROR, tmp_path / "web.json")
    (warning,) = as_data([found("SC2086", Severity.WARNING, Path("a.sh"))])
    shown = Report(
        file="web.json", name=None, valid=False, findings=as_data([error]), suppressed=[(warning, "it is known")]
    )
    assert render("github", shown, Redactor()) == ["::error file=web.json,line=2,col=3,title=Z99::wrong"]
    assert any('file="web.json"' in line for line in render("junit", shown, Redactor()))
    (run,) = json.loads("\n".join(render("sarif", shown, Redactor())))["runs"]
    driver = run["tool"]["driver"]
    assert driver["version"] == __version__
    assert [rule["id"] for rule in driver["rules"]] == ["Z99", "SC2086"]
    assert driver["rules"][1]["helpUri"] == "https://www.shellcheck.net/wiki/SC2086"
    assert [result["suppressions"] != [] for result in run["results"]] == [False, True]


def test_files_are_named_from_the_root_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    folder = tmp_path / "images" / "web"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    findings = as_data([
        found("Z99", Severity.ERROR, Path("web.json")), found("W1", Severity.WARNING, folder / "a.sh"),
        found("W2", Severity.WARNING, Path("/elsewhere/b.sh")),
        found("W3", Severity.WARNING, Path("https://example.org/c.sh")),
    ])  # fmt: skip
    findings[-1]["file"] = "https://example.org/c.sh"
    report = Report(file="web.json", name=None, valid=False, findings=findings, suppressed=[(findings[1], "known")])
    names = ["images/web/web.json", "images/web/a.sh", "/elsewhere/b.sh", "https%3A//example.org/c.sh"]
    lines = render("github", report, Redactor())
    assert [line.partition("file=")[2].partition(",line=2,col=3,")[0] for line in lines] == names
    (run,) = json.loads("\n".join(render("sarif", report, Redactor())))["runs"]
    places = [one["locations"][0]["physicalLocation"]["artifactLocation"] for one in run["results"]]
    assert [place["uri"] for place in places[:2]] == names[:2] and places[0]["uriBaseId"] == "%SRCROOT%"
    assert run["originalUriBaseIds"]["%SRCROOT%"]["uri"] == f"file://{tmp_path}/"
    assert (places[2], places[3]) == ({"uri": "file:///elsewhere/b.sh"}, {"uri": "https://example.org/c.sh"})
    assert places[4] == places[1]
    assert any(f'file="{names[0]}"' in line for line in render("junit", report, Redactor()))


def test_no_report_is_imported_before_it_is_wanted() -> None:
    program = "import sys, aibemu.cli.formats; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    unwanted = {"aibemu.reports.sarif", "aibemu.reports.junit", "aibemu.template.catalogue", "xml.etree.ElementTree"}
    assert not unwanted & set(done.stdout.split())
