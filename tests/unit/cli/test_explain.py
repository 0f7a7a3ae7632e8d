from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu.arm.diagnostics import Severity
from aibemu.template import catalogue
from aibemu.template.catalogue.model import Example, Rule
from tests.unit.cli.conftest import Said

Aibemu = Callable[..., Said]
PAGE = Path(__file__).parents[3] / "docs" / "rules.md"


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> tuple[Rule, ...]:
    """A small catalogue, whatever the real one holds today."""
    first = Rule(
        id="E20", level=Severity.ERROR, title="both or none of <scriptUri> | inline", why="The service wants _one_.",
        fix="Take `a_b*` out.", bad=Example(text='{"a": 1}\n'),
        good=Example(text="{}", files={"a.sh": "ls\n```\n"}),
    )  # fmt: skip
    second = Rule(
        id="W27", level=Severity.NOTE, title="no checksum", why="w", fix="f", bad=Example(text="{}"),
        good=Example(text="{}"),
    )  # fmt: skip
    monkeypatch.setattr(catalogue, "RULES", (first, second), raising=False)
    known = {rule.id: rule for rule in (first, second)}
    monkeypatch.setattr(catalogue, "find", known.get, raising=False)
    return first, second


def test_an_entry_is_explained(aibemu: Aibemu, rules: tuple[Rule, ...]) -> None:
    said = aibemu("explain", "e20")
    assert said.code == 0
    assert said.out.splitlines() == [
        "E20 (error): both or none of <scriptUri> | inline",
        "",
        "The service wants _one_.",
        "",
        "What to do: Take `a_b*` out.",
        "",
        "wrong:",
        '    {"a": 1}',
        "",
        "right:",
        "    {}",
        "  a.sh:",
        "    ls",
        "    ```",
    ]


def test_without_an_id_all_are_listed(aibemu: Aibemu, rules: tuple[Rule, ...]) -> None:
    assert aibemu("explain").out.splitlines() == [
        "ID   USUALLY  WHAT",
        "E20  error    both or none of <scriptUri> | inline",
        "W27  note     no checksum",
    ]


def test_the_answers_for_programs(aibemu: Aibemu, rules: tuple[Rule, ...]) -> None:
    one = json.loads(aibemu("explain", "E20", "--output", "json").out)
    assert (one["command"], one["status"]) == ("explain", "success")
    assert one["data"] == {
        "id": "E20", "level": "error", "title": "both or none of <scriptUri> | inline",
        "why": "The service wants _one_.", "fix": "Take `a_b*` out.", "bad": {"text": '{"a": 1}\n', "files": {}},
        "good": {"text": "{}", "files": {"a.sh": "ls\n```\n"}}, "url": None,
    }  # fmt: skip
    every = json.loads(aibemu("explain", "--output", "json").out)
    assert [rule["id"] for rule in every["data"]["rules"]] == ["E20", "W27"]


def test_of_shellcheck_we_say_where_to_read_on(aibemu: Aibemu, rules: tuple[Rule, ...]) -> None:
    said = aibemu("explain", "sc2086")
    assert said.code == 0
    assert "See https://www.shellcheck.net/wiki/SC2086" in said.out


def test_an_unknown_id_is_an_error_with_a_suggestion(aibemu: Aibemu, rules: tuple[Rule, ...]) -> None:
    said = aibemu("explain", "E2O")
    assert said.code == 2
    assert "there is no finding 'E2O'" in said.err
    assert "did you mean E20?" in said.err
    assert "aibemu explain" in aibemu("explain", "zzz").err


def test_the_page_has_an_index_and_every_entry(aibemu: Aibemu, rules: tuple[Rule, ...]) -> None:
    lines = aibemu("explain", "--markdown").out.splitlines()
    assert "| [E20](#e20) | error | both or none of \\<scriptUri\\> \\| inline |" in lines
    assert lines[lines.index("## E20") :][:15] == [
        "## E20",
        "",
        "**both or none of \\<scriptUri\\> \\| inline** (error)",
        "",
        "The service wants \\_one\\_.",
        "",
        "**What to do:** Take `a_b*` out.",
        "",
        "Wrong:",
        "",
        "```json",
        '{"a": 1}',
        "```",
        "",
        "Right:",
    ]
    assert lines[lines.index("`a.sh`:") :][:6] == ["`a.sh`:", "", "````sh", "ls", "```", "````"]
    assert "## W27" in lines


def test_markdown_of_one_entry_is_that_entry_alone(aibemu: Aibemu, rules: tuple[Rule, ...]) -> None:
    lines = aibemu("explain", "W27", "--markdown").out.splitlines()
    assert lines[0] == "**no checksum** (note)"
    assert not any(line.startswith("#") for line in lines)


def test_the_page_in_docs_is_what_explain_prints(aibemu: Aibemu) -> None:
    assert PAGE.read_text(encoding="utf-8") == aibemu("explain", "--markdown").out, (
        "the catalogue has changed: aibemu explain --markdown > docs/rules.md"
    )
