"""A PowerShell step fails and its machine is kept: what a person does then works as with Linux."""

from __future__ import annotations

import pytest

from aibemu.clock import Deadline
from aibemu.engine.asking import Answer, Question
from tests.scenarios.windows.workshop import Workshop, template

FAILING = ["Set-Content C:\\before.txt 'made before'", "Write-Output 'it starts'", "throw 'no such package'"]
MENDED = [
    "if ((Get-Content C:\\first.txt).Count -ne 1) { throw 'this is the machine of before' }",
    "Write-Output 'mended'",
]


def _template(second: list[str]) -> dict[str, object]:
    return template([
        {"type": "PowerShell", "name": "First", "inline": ["Add-Content C:\\first.txt 'once'"]},
        {"type": "PowerShell", "name": "Second", "inline": second},
    ])  # fmt: skip


def test_a_failed_step_is_looked_at_and_mended_in_the_kept_machine(windows: Workshop) -> None:
    windows.write("windows.json", _template(FAILING))
    screen = windows.aibemu("run", "windows.json", "--on-error", "keep", exit=1)
    run = windows.run.id
    assert "Second" in screen and "no such package" in screen and "Script exited with non-zero exit status: 1" in screen
    assert f"aibemu shell {run}" in screen and f"aibemu resume {run}" in screen
    assert windows.statuses() == {"First": "ok", "Second": "failed"}
    assert "no such package" in windows.aibemu("logs", run)

    # exec: words for cmd, one word for PowerShell, an exit code, standard input.
    assert "made before" in windows.aibemu("exec", run, "--", "cmd", "/c", "type", "C:\\before.txt")
    windows.aibemu("exec", run, "--", "Set-Content C:\\asked.txt yes; exit 7", exit=7)
    assert "yes" in windows.aibemu("exec", run, "--", "Get-Content C:\\asked.txt")

    lines = ("$name = 'typed'", 'Write-Output "it was $name"', "Get-Content C:\\first.txt", "")
    typed = windows.type("shell", run, stdin="\n".join(lines))
    assert typed.returncode == 0, typed.stderr
    assert "it was typed" in typed.stdout and "once" in typed.stdout

    windows.write("windows.json", _template(MENDED))
    windows.aibemu("resume", run, "--yes")
    assert windows.run.id != run, "no step of it restarts the machine, so there is no layer: it is built anew"
    assert windows.statuses() == {"First": "ok", "Second": "ok", "deprovision script": "ok"}
    assert windows.left() == [], "the kept machine is gone"


def test_a_kept_machine_is_destroyed(windows: Workshop) -> None:
    (windows.work / "page.html").touch()
    page = {"type": "File", "name": "Page", "sourceUri": "page.html", "destination": "C:\\no such folder\\page.html"}
    windows.write("windows.json", template([page]))
    windows.aibemu("run", "windows.json", "--on-error", "keep", exit=1)
    assert windows.left() != []
    windows.aibemu("destroy", windows.run.id, "--yes")
    assert windows.left() == []


def test_a_person_who_is_asked_looks_into_the_machine_and_mends_the_template(
    windows: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--on-error ask`: the machine waits meanwhile; then all runs again, on a new one."""
    asked: list[Question] = []

    def person(question: Question, deadline: Deadline) -> Answer:
        asked.append(question)
        seen = windows.type("exec", windows.run.id, "--", "cmd", "/c", "type", "C:\\before.txt")
        assert (seen.returncode, seen.stdout.strip()) == (0, "made before"), seen.stderr
        windows.write("windows.json", _template(MENDED))
        return Answer.RETRY

    monkeypatch.setattr("aibemu.cli.prompt.Prompter", lambda *_, **__: person)
    windows.write("windows.json", _template(FAILING))
    windows.aibemu("run", "windows.json", "--on-error", "ask")
    (question,) = asked
    assert "Second failed" in question.title and question.role == "build"
    assert Answer.RETRY in question.choices
    assert windows.statuses() == {"First": "ok", "Second": "ok", "deprovision script": "ok"}
    assert windows.log().count("azure-arm: it starts") == 1 and "mended" in windows.log()
    assert windows.left() == []
