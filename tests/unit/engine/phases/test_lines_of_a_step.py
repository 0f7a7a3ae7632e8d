"""What is kept of a step's output is bounded, however it is made up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.communicators import Stream
from aibemu.engine.phases import output
from aibemu.engine.phases.output import LAST_CHARACTERS, LAST_LINES, Output
from aibemu.errors import BuildCancelled
from aibemu.redact import Redactor


@pytest.mark.parametrize(("line", "most"), [("", 10), ("x" * 60, 4), ("x" * 10_000, 1)])
def test_all_of_it_is_told_and_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch, line: str, most: int) -> None:
    """Empty lines have no bytes, and a million of them would take a hundred MiB."""
    monkeypatch.setattr(output, "MOST_REMEMBERED", 10 * output.OF_A_LINE)
    told: list[str] = []
    lines = Output(emit=lambda kind, /, **fields: told.append(fields["line"]))
    for _ in range(100):
        lines(Stream.STDOUT, line)
    assert told == [line] * 100
    assert len(lines.said) == most
    assert lines.sent["stdout"] == 100 * (len(line) + 1)


def test_a_cancel_is_seen_at_the_next_line() -> None:
    """Whoever talks to the guest: a plugin that gives lines without end, and asks for nothing itself."""
    told: list[str] = []
    cancel = CancelToken()
    deadline = Deadline(clock=SystemClock(), cancel=cancel)
    lines = Output(emit=lambda kind, /, **fields: told.append(fields["line"]), check=deadline.check)
    lines(Stream.STDOUT, "one")
    cancel.cancel("enough")
    with pytest.raises(BuildCancelled, match="enough"):
        lines(Stream.STDOUT, "two")
    assert told == ["one", "two"]


@pytest.mark.parametrize("line", ["", "x" * 1000, "\x00" * 300])
def test_the_record_gets_the_beginning_the_end_and_a_word_about_what_is_between(line: str) -> None:
    told: list[dict[str, Any]] = []
    most = 1 << 20
    lines = Output(emit=lambda kind, /, **fields: told.append(fields), most=most)
    count = 20_000
    for number in range(count):
        lines(Stream.STDOUT, f"{number} {line}")
    lines.finish()
    assert sum(len(json.dumps(fields)) for fields in told) < 2 * most
    first, last = (next(one for one in order if "left_out" in one) for order in (told, reversed(told)))
    assert "printed more than 1 MiB" in first["line"] and "output_limit" in first["line"]
    kept = [one["line"] for one in told if "left_out" not in one]
    assert len(kept) + last["left_out"] == count and last["line"] == f"[aibemu: {last['left_out']} lines left out here]"
    assert [text.partition(" ")[0] for text in kept[-LAST_LINES:]] == [str(n) for n in range(count - LAST_LINES, count)]
    assert lines.sent["stdout"] == sum(len(f"{number} {line}") + 1 for number in range(count))


def test_a_step_that_prints_little_is_not_touched() -> None:
    told: list[dict[str, Any]] = []
    lines = Output(emit=lambda kind, /, **fields: told.append(fields), most=1 << 20)
    lines(Stream.STDOUT, "one")
    lines.finish()
    assert told == [{"stream": "stdout", "line": "one"}]


def test_a_long_line_among_the_last_ones_is_cut_before_a_secret() -> None:
    told: list[dict[str, Any]] = []
    redactor = Redactor(["hunter2 of many words"])
    lines = Output(emit=lambda kind, /, **fields: told.append(fields), most=1, cut=redactor.cut)
    lines(Stream.STDOUT, "x" * (LAST_CHARACTERS - 3) + "hunter2 of many words")
    lines.finish()
    assert told[-1]["line"] == "x" * (LAST_CHARACTERS - 3)
