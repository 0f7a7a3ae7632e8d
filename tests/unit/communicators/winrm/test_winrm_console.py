"""What a person sees of a shell in a guest."""

from __future__ import annotations

import io

import pytest

from aibemu.communicators import Stream
from aibemu.communicators.winrm import console


def test_a_terminal_that_is_not_utf8_shows_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(shown, encoding="ascii", errors="strict"))
    console._say("größer\n", Stream.STDOUT)
    assert shown.getvalue() == b"gr??er\n"
