"""The words that messages about a template share."""

from __future__ import annotations

import pytest

from aibemu.arm.findings import shorten


@pytest.mark.parametrize("text", [" a", "a ", "\t"])
def test_what_is_wrong_by_a_blank_is_shown_with_it(text: str) -> None:
    assert shorten(text) == text.replace("\t", " ")


def test_one_line_and_bounded() -> None:
    assert shorten("a\n  b\tc") == "a b c"
    assert shorten("x" * 100, 10) == "xxxxxxx..."
