"""The shell's own syntax check and shellcheck, for real, and programs that fail."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.arm.nodes import Node, NodeKind
from aibemu.errors import Span
from aibemu.processes import RunningTool
from aibemu.submission import checkers
from aibemu.submission.checkers import check_scripts
from aibemu.template.scripts.model import Chunk, Dialect, Script
from aibemu.template.view import NodeView


def script(text: str, dialect: Dialect = Dialect.SH, number: int = 0) -> Script:
    def place(offset: int) -> Span:
        before = text[:offset]
        return Span(file=f"s{number}", line=before.count("\n") + 1, column=offset - (before.rfind("\n") + 1) + 1)

    step = NodeView(Node(NodeKind.OBJECT, place(0)), f"customize[{number}]")
    return Script(
        dialect=dialect, text=text, chunks=[Chunk(start=0, place=place)], step=step, inline=True, root=False,
        first=False, before_capture=True,
    )  # fmt: skip


def shown(found: list[Diagnostic]) -> list[tuple[str, str, int]]:
    return [(d.id, d.span.file, d.span.line) for d in found]


def tool(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with the shells and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "dash", "bash", "sleep", "cat"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.parametrize("dialect", [Dialect.SH, Dialect.BASH])
def test_syntax_errors_have_their_line(alone: Path, dialect: Dialect) -> None:
    found = check_scripts([script("echo a\nif true; then\necho b\nelse fi\n", dialect)])
    assert shown(found) == [("W31", "s0", 4)]
    assert found[0].severity is Severity.WARNING


def test_each_script_is_checked_in_its_own_dialect(alone: Path) -> None:
    texts = "x=(1 2)\n"
    assert [d.id for d in check_scripts([script(texts, Dialect.SH)])] == ["W31"]
    assert check_scripts([script(texts, Dialect.BASH)]) == []
    assert check_scripts([script("if (", Dialect.POWERSHELL)]) == []


def test_nothing_is_executed(alone: Path, tmp_path: Path) -> None:
    check_scripts([script(f"echo x > {tmp_path}/made\n$(touch {tmp_path}/made)\n")])
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed (./test.sh installs it)")
class TestShellcheck:
    def test_its_findings_have_their_places(self) -> None:
        found = check_scripts([script("true\n"), script('echo a\ncd /x\nread x\nrm -rf "$x/"*\n', number=1)])
        assert ("SC2115", "s1", 4) in shown(found)
        assert "SC2164" not in {d.id for d in found}  # inline text is run with -e
        assert all(d.hint and d.hint.endswith(d.id) for d in found if d.id.startswith("SC"))

    def test_what_is_only_in_the_guest_or_said_better_is_left_out(self) -> None:
        assert check_scripts([script(". /etc/os-release\necho $PACKER_BUILD_NAME\n[[ -f /x ]]\n")]) == []

    def test_one_broken_script_is_one_finding(self) -> None:
        assert [d.id for d in check_scripts([script("if true; then\n")])] == ["W31"]


@pytest.mark.parametrize("answer", ["echo no json", "exit 3", "echo '{}'", "echo '[]'"])
def test_a_shellcheck_that_answers_nonsense(alone: Path, answer: str) -> None:
    tool(alone, "shellcheck", answer)
    assert check_scripts([script("true\n")]) == []


def test_a_program_that_does_not_end(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkers, "TIMEOUT", 0.2)
    tool(alone, "shellcheck", "exec sleep 60")
    ((found),) = check_scripts([script("true\n")])
    assert found.severity is Severity.NOTE
    assert "did not end" in found.message


def test_without_any_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_scripts([script("if\n")]) == []


def test_texts_are_kept_from_others(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    tool(
        alone,
        "shellcheck",
        f'for f; do :; done; ls -ld "$f" "${{f%/*}}" > {tmp_path}/modes; cat "$f" >> {tmp_path}/modes',
    )
    (alone / "ls").symlink_to("/bin/ls")
    check_scripts([script("echo secret\n")])
    lines = (tmp_path / "modes").read_text().splitlines()
    assert any(line.startswith("drwx------") for line in lines)
    assert not list(folder.iterdir())


def test_thousands_of_scripts_are_not_thousands_of_processes(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkers, "AT_ONCE", 2)
    monkeypatch.setattr(checkers, "MOST", 5)
    running: list[int] = []
    most: list[int] = []

    class Counted(RunningTool):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            running.append(1)
            most.append(len(running))

        def finish(self, *arguments: Any, **more: Any) -> Any:
            done = super().finish(*arguments, **more)
            running.pop()
            return done

    monkeypatch.setattr(checkers, "RunningTool", Counted)
    found = check_scripts([script("fi\n", number=number) for number in range(9)])
    assert [(d.span.file, d.severity) for d in found if d.severity is Severity.WARNING] == [
        (f"s{number}", Severity.WARNING) for number in range(5)
    ]
    assert [(d.span.file, d.message.partition(",")[0]) for d in found if d.severity is Severity.NOTE] == [
        ("s5", "4 more scripts")
    ]
    assert len(most) == 5 and max(most) == 2
