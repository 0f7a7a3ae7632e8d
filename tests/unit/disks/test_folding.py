"""Names as Windows compares them."""

from __future__ import annotations

import pytest

from aibemu.disks.folding import folded


@pytest.mark.parametrize(("one", "other"), [("System32", "SYSTEM32"), ("straße", "STRAßE"), ("ÿ", "Ÿ"), ("жук", "ЖУК")])
def test_the_same(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("ſystem", "system"), ("wındows", "windows"), ("straße", "strasse")])
def test_not_the_same(one: str, other: str) -> None:
    assert one.upper() == other.upper(), "what Python thinks"
    assert folded(one) != folded(other)
