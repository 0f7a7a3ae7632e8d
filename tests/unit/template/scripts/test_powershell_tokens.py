"""The tokens of PowerShell against what the real parser said of the same texts."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.template.scripts import powershell_tokens
from aibemu.template.scripts.powershell_model import Kind
from aibemu.template.scripts.powershell_parts import calls_of, mistakes_of
from aibemu.template.scripts.powershell_tokens import tokens_of
from tests.public_data import POWERSHELL

CASES: list[dict[str, Any]] = json.loads((POWERSHELL / "parse.json").read_text(encoding="utf-8"))["cases"]
# `a & b` is refused by 5.1 as documented; 7 takes it, so that the recording holds no error for these.
AMPERSAND = {"commands/call-curl", "commands/redirect-amp-file", "mistakes/xml-escaped-quotes",
             "mistakes/xml-escaped-greater", "mistakes/xml-escaped-lower"}  # fmt: skip


def mistakes(text: str) -> list[str]:
    return [mistake.what for mistake in mistakes_of(tokens_of(text))]


@pytest.mark.parametrize("case", [c for c in CASES if not c["refused"]], ids=lambda case: case["id"])
def test_what_powershell_reads_is_not_blamed(case: dict[str, Any]) -> None:
    found = mistakes(case["text"])
    if case["id"] in AMPERSAND:
        assert "`&`" in found[0]
    elif case.get("refused_by_5_1"):
        assert all("PowerShell 7" in what for what in found)
    else:
        assert found == []


def test_what_only_the_grammar_refuses_is_never_blamed() -> None:
    blamed = {c["id"] for c in CASES if c["verdict"] == "grammar_only" and mistakes(c["text"])}
    only_7 = {c["id"] for c in CASES if c.get("refused_by_5_1")}
    assert blamed - only_7 <= AMPERSAND


def test_most_of_what_people_get_wrong_is_found() -> None:
    refused = [c for c in CASES if c["refused"]]
    found = [c["id"] for c in refused if mistakes(c["text"])]
    assert len(found) >= 68, (len(found), len(refused))
    usual = {f"mistakes/{name}" for name in (
        "unclosed-brace", "unclosed-brace-deep", "unclosed-parenthesis", "unclosed-double-quote",
        "unclosed-single-quote", "unclosed-here", "unclosed-subexpression", "unclosed-hash", "stray-brace",
        "stray-parenthesis",
        "apostrophe-in-single", "apostrophe-in-bare", "placeholder-angle", "bash-if", "bash-for", "bash-while",
        "inline-split-block", "inline-split-here", "not-equals-angle", "empty-pipe-end",
    )}  # fmt: skip
    assert usual <= set(found)
    assert {"strings/variable-colon", "control/else-if-two-words", "control/if-less", "characters/mojibake-dash",
            "commands/call-quoted-no-ampersand", "operators/operator-unknown"} <= set(found)  # fmt: skip


def test_what_only_7_knows_is_found() -> None:
    only_7 = [c["id"] for c in CASES if c.get("refused_by_5_1") and not c["refused"]]
    missed = [id_ for id_ in only_7 if not mistakes(next(c["text"] for c in CASES if c["id"] == id_))]
    # Rare in scripts; a `?` may belong to the name of a variable.
    assert set(missed) == {"lines/method-generic", "control/clean-block", "functions/enum-typed",
                           "operators/ternary-no-blanks"}  # fmt: skip


def test_the_place_is_that_of_the_parser() -> None:
    same = 0
    for case in CASES:
        found = mistakes_of(tokens_of(case["text"])) if case["refused"] else []
        if found:
            before = case["text"][: found[0].at]
            same += case["line"] == before.count("\n") + 1
    assert same >= 60


@pytest.mark.parametrize("case", [c for c in CASES if not c["refused"]], ids=lambda case: case["id"])
def test_commands_with_a_usual_name_are_all_seen(case: dict[str, Any]) -> None:
    mine = [call.name for call in calls_of(tokens_of(case["text"]))]
    theirs = [re.split(r"[\\/]", name)[-1].lower().removesuffix(".exe") for name in case["commands"] if name]
    usual = [name for name in theirs if re.fullmatch(r"[a-z]+-[a-z]+", name)]
    missing = [name for name in usual if name not in mine]
    # Inside of strings nothing is looked for; a backtick that is followed by a blank ends no line.
    inside = {"strings/here-subexpression", "strings/nested-subexpression"}
    assert missing == [] or case["id"] in inside


def test_arguments_are_what_stands_together() -> None:
    (call,) = calls_of(tokens_of("Remove-Item -Path \"$env:windir\\Temp\\*\" 'a b' C:\\x[1] -Force # no\n"))
    assert call.arguments == ("-Path", "$env:windir\\Temp\\*", "a b", "C:\\x[1]", "-Force")
    assert [c.name for c in calls_of(tokens_of("& 'C:\\Program Files\\x\\Setup.exe' /S; . .\\y.ps1"))] == [
        "setup",
        "y.ps1",
    ]
    assert [c.name for c in calls_of(tokens_of("$x = if ($a) { Get-Item b } else { @{ Path = Get-Date } }"))] == [
        "get-item", "get-date"
    ]  # fmt: skip


def test_strings_and_comments() -> None:
    text = "'it''s' \"a `\" \"\" $(Get-Item \"x\") ${a b}\" # c'\n<# d\n\" #> @'\n'x\n'@"
    kinds = [token.kind for token in tokens_of(text).tokens]
    assert kinds == [Kind.STRING, Kind.STRING, Kind.COMMENT, Kind.END, Kind.COMMENT, Kind.STRING]


def test_what_is_very_long_is_not_judged() -> None:
    text = "'" + "a" * (1 << 20)
    assert mistakes(text) == []
    assert mistakes(text[:1000]) != []


def test_what_is_nested_too_deeply_is_not_judged() -> None:
    text = '"$(' * 200 + ')"' * 200
    assert not tokens_of(text).whole
    assert mistakes(text) == []


def test_what_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the thread's own time, which stands still while others have the processor."""
    now = iter([0.0, *(second / 10 for second in range(1000))])
    monkeypatch.setattr(powershell_tokens, "thread_time", lambda: next(now))
    found = tokens_of("if(1){}" * 20_000)
    assert found.given_up == "reading it takes too long" and not found.whole
    assert 0 < len(found.tokens) < 10_000 and mistakes_of(found) == []
    now = iter([0.0, *(second / 10 for second in range(1000))])
    assert tokens_of('"$(' + "if(1){}" * 20_000 + ')"').given_up, "in a string too"


@pytest.mark.parametrize(
    "text",
    [
        "(" * 50_000, "{ a " * 20_000, '"${' * 30_000, "'" * 50_001, "a < " * 30_000, "<a>" * 30_000, "if " * 30_000,
        "if (1) {} elseif " * 8_000, "| " * 50_000, "$a" * 50_000, "`" * 100_000, "@'\n" * 30_000, "<#" * 50_000,
        '"$a:' * 30_000, "x --% | " * 10_000, "try {" * 20_000, "else " * 30_000, "a ,b" * 30_000, "a {b} " * 20_000,
        "if(1){}" * 10_000,
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_the_time_grows_with_the_length(text: str) -> None:
    def seconds(length: int) -> float:
        began = time.thread_time()
        found = tokens_of(text[:length])
        mistakes_of(found)
        list(calls_of(found))
        return time.thread_time() - began

    # The best of some: what else the process does (collecting garbage, for one) is not the reader's.
    assert min(seconds(20_000) for _ in range(3)) < max(0.5, 4 * seconds(10_000))


@given(st.text(alphabet="ab {}()[]'\"`$@#<>|&;=-?.,:\n\u201c\u2019 ifelstry", max_size=60))
def test_any_text_is_read_to_its_end(text: str) -> None:
    found = tokens_of(text)
    ends = [(token.at, token.end) for token in found.tokens]
    assert ends == sorted(ends)
    assert all(text[token.at : token.end] == token.text for token in found.tokens)
    assert all(0 <= mistake.at <= len(text) for mistake in mistakes_of(found))
    list(calls_of(found))
