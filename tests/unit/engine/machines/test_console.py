"""What people are shown of a console."""

from __future__ import annotations

from aibemu.engine.machines.console import last_lines


def test_last_lines_are_readable() -> None:
    text = "one\r\n\x1b[0;32m  OK  \x1b[0m two\n\n\x1b[2J\n" + "three\n"
    assert last_lines(text, 2) == ["  OK   two", "three"]
