"""Durations, in Packer's words and short."""

from __future__ import annotations

import pytest

from aibemu.text import counted, packer_words, short


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (193, "3 minutes 13 seconds"), (61, "1 minute 1 second"), (60, "1 minute"), (3723.4, "1 hour 2 minutes"),
        (180.5, "3 minutes 500 milliseconds"), (0.85, "850 milliseconds"), (0, "0 seconds"), (-3, "0 seconds"),
        (90_061, "1 day 1 hour"), (0.00085, "850 microseconds"),
    ],
)  # fmt: skip
def test_packers_words(seconds: float, words: str) -> None:
    assert packer_words(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (0.44, "0.4s"), (9.94, "9.9s"), (9.96, "10s"), (59.6, "1m00s"), (193, "3m13s"), (3720, "1h02m")],
)
def test_short(seconds: float | None, words: str) -> None:
    assert short(seconds) == words


def test_counted() -> None:
    assert [counted(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
