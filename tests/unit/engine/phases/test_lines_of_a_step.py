"""What is kept of a step's output is bounded, however it is made up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.communicators import Stream
from aibemu.engine.phases import steps
from aibemu.errors import BuildCancelled


@pytest.mark.parametrize(("line", "most"), [("", 10), ("x" * 60, 4), ("x" * 10_000, 1)])
def test_all_of_it_is_told_and_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch, line: str, most: int) -> None:
    """Empty lines have no bytes, and a million of them would take a hundred MiB."""
    monkeypatch.setattr(steps, "MOST_REMEMBERED", 10 * steps.OF_A_LINE)
    told: list[str] = []
    state: Any = SimpleNamespace(emit=lambda kind, stream, line: told.append(line), deadline=forever())
    lines = steps._Lines(state)
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
    state: Any = SimpleNamespace(emit=lambda kind, stream, line: told.append(line), deadline=deadline)
    lines = steps._Lines(state)
    lines(Stream.STDOUT, "one")
    cancel.cancel("enough")
    with pytest.raises(BuildCancelled, match="enough"):
        lines(Stream.STDOUT, "two")
    assert told == ["one", "two"]
