"""A PowerShell's own parser is asked where one is installed, and nothing depends on it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu.arm.diagnostics import Diagnostic
from aibemu.clock import forever
from aibemu.submission import checkers
from aibemu.submission import powershell as parser
from aibemu.submission.checkers import check_scripts
from aibemu.template import catalogue
from aibemu.template.scripts.model import Dialect, Script
from tests import judges
from tests.unit.submission.test_checkers import script, shown, tool


def powershell(text: str, number: int = 0) -> Script:
    return script(text, Dialect.POWERSHELL, number)


def places(found: list[Diagnostic]) -> list[tuple[int, int]]:
    return [(d.span.line, d.span.column) for d in found]


@pytest.fixture
def pwsh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one on PATH."""
    program = judges.pwsh()
    if program is None:
        pytest.skip("there is no PowerShell here: put `pwsh` on PATH, or name its folder in AIBEMU_JUDGES_BIN")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(checkers, "TIMEOUT", 120.0)


@pytest.mark.usefixtures("pwsh")
class TestReal:
    def test_what_our_rules_overlook(self) -> None:
        wrong = powershell("Get-Date\n'ö\U0001f600'; $x = 1 -eq\n", number=1)
        found = check_scripts([powershell("Get-Date\n"), wrong])
        assert shown(found) == [("W63", "s1", 2)]
        assert places(found) == [(2, 17)]
        assert "a value expression following the '-eq'" in found[0].message

    def test_what_is_only_in_the_guest_or_in_5_1_is_not_blamed(self) -> None:
        texts = ["using module NotThere\n'a'", "class A { [Nope]$x }", "configuration C { Node a { File f { } } }",
                 "workflow W { sequence { Get-Item a } }"]  # fmt: skip
        assert check_scripts([powershell(text, number) for number, text in enumerate(texts)]) == []

    def test_nothing_is_executed(self, tmp_path: Path) -> None:
        check_scripts([powershell(f"New-Item {tmp_path}/made; $(New-Item {tmp_path}/made)")])
        assert not (tmp_path / "made").exists()


@pytest.mark.usefixtures("pwsh")
class TestNothingIsLoaded:
    """What a PowerShell's parser might load by itself while it parses. Each module here leaves a mark when its code
    runs. PowerShell 7.6.9 runs none of it even where it sees the words; what it is sent has none of them all the same.
    """

    @pytest.fixture
    def mark(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        mark, modules = tmp_path / "mark", tmp_path / "modules"
        run = f"Set-Content -LiteralPath '{mark}' ran\n"
        resources = modules / "Evil/DSCResources/EvilThing"
        resources.mkdir(parents=True)
        (modules / "Evil/Evil.psm1").write_text(
            f"{run}class Thing {{ }}\nfunction Invoke-Evil {{ }}\n[DscResource()] class Res {{ [DscProperty(Key)]"
            "[string]$A; [Res]Get() { return $this } [void]Set() { } [bool]Test() { return $true } }\n"
        )
        (modules / "Evil/Evil.psd1").write_text(
            "@{ RootModule = 'Evil.psm1'; ModuleVersion = '1.0'; FunctionsToExport = '*'; DscResourcesToExport = 'Res' "
            "}"
        )
        (resources / "EvilThing.psm1").write_text(run)
        monkeypatch.setenv("PSModulePath", str(modules))
        return mark

    TEXTS = (
        "using module Evil\n[Thing]::new()", "using module {modules}/Evil/Evil.psm1\n[Thing]$x = 1",
        "USING MODULE Evil", "using <# a #> module Evil", "using `\n module Evil",
        "using module @{{ ModuleName = 'Evil'; ModuleVersion = '1.0' }}", "using namespace System\nusing module Evil",
        "configuration C {{ Import-DscResource -ModuleName Evil; Res r {{ A = 1 }} }}", "Invoke-Evil",
        "$x = {{ configuration C {{ Import-DscResource -ModuleName Evil }} }}", "#requires -Modules Evil\n'a'",
        "Import-Module Evil", "class A : Thing {{ }}", "[Evil.Thing]::new()", "using assembly {modules}/Evil/Evil.dll",
        "& {{ using module Evil }}", "data d -SupportedCommand Invoke-Evil {{ Invoke-Evil }}",
    )  # fmt: skip

    @pytest.mark.parametrize("change", [parser.harmless, str], ids=["as it is sent", "even unchanged"])
    def test_no_code_of_a_module_runs(
        self, mark: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str]
    ) -> None:
        monkeypatch.setattr(parser, "harmless", change)
        monkeypatch.setattr(parser, "_OF_5_1", re.compile("(?!)"))
        texts = [text.format(modules=mark.parent / "modules") for text in self.TEXTS]
        judge = parser.start([powershell(text, number) for number, text in enumerate(texts)])
        assert judge is not None and len(judge.scripts) == len(texts), "each of them is asked about"
        with judge.tool:
            list(judge.findings(forever(), 120.0))
        assert not mark.exists()

    def test_words_that_load_something_are_another_letter(self) -> None:
        text = "Using module X; $using:a\nUSING  namespace System\nu\u017fing x; conFIGuration c # using"
        made = parser.harmless(text)
        assert len(made) == len(text)
        assert made == "Usinq module X; $usinq:a\nUSING  namespace System\nu\u017finq x; conFIGuratiom c # usinq"


def test_what_our_reader_gave_up_is_not_asked_about(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(alone, "pwsh", "cat > /dev/null; echo 0 UnexpectedToken 3 YQ==")
    assert check_scripts([powershell("a" * ((1 << 20) + 1))]) == []
    monkeypatch.setattr(parser, "_MOST", 10)
    assert check_scripts([powershell("a" * 11)]) == []
    assert len(check_scripts([powershell("a b"), powershell("a" * 11, 1)])) == 1


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing but what a stand-in needs."""
    for name in ("sh", "sleep", "cat"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_without_one_nothing_more_is_said(alone: Path) -> None:
    assert check_scripts([powershell("$x = @(1, 2,)")]) == []


def test_what_our_rules_find_is_not_said_twice(alone: Path) -> None:
    tool(alone, "pwsh", "cat > /dev/null; echo 0 UnexpectedToken 3 YQ==")
    assert check_scripts([powershell("if (")]) == []
    assert shown(check_scripts([powershell("a b")])) == [("W63", "s0", 1)]


@pytest.mark.parametrize("answer", ["echo no json", "exit 3", "echo 7 UnexpectedToken 3 YQ==", "echo 0 Bad x YQ=="])
def test_one_that_answers_nonsense(alone: Path, answer: str) -> None:
    tool(alone, "pwsh", answer)
    assert check_scripts([powershell("a b")]) == []


def test_one_that_does_not_end(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkers, "TIMEOUT", 0.2)
    tool(alone, "pwsh", "exec sleep 60")
    assert check_scripts([powershell("a b")]) == []


@pytest.mark.timeout(30)
def test_blank_lines_without_end_are_read_in_bounded_time() -> None:
    assert parser._OF_5_1.search("\n" * 60_000 + "  workflow x {") is not None


def test_the_right_examples_of_the_rules_are_read_by_a_real_one(pwsh: None) -> None:
    """Advice does no harm: what we tell people to write is PowerShell."""
    texts = []
    for rule in catalogue.RULES:
        if rule.good.system == "windows" and not rule.good.whole:
            steps = json.loads(rule.good.text).get("properties", {}).get("customize", ())
            texts += ["\n".join(step["inline"]) + "\n" for step in steps if "inline" in step]
    assert len(texts) >= 12
    found = check_scripts([powershell(text, number) for number, text in enumerate(texts)])
    assert [(one.id, one.message) for one in found] == []
