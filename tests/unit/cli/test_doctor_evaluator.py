"""`aibemu doctor --evaluator FILE` on the command line: what is printed, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from aibemu.submission import evaluator
from aibemu.submission.evaluator import Comparison, Difference


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def give(*differences: Difference, refused: str = "") -> None:
        found = Comparison(
            bicep="Bicep CLI version 1.2.3", resources=2, outputs=1, open=3, differences=differences, refused=refused,
            secrets=frozenset({"hush-hush"}),
        )  # fmt: skip
        monkeypatch.setattr(evaluator, "compare", lambda *_, **__: found)

    return give


def test_agreement(aibemu: Callable[..., Any], answer: Callable[..., None], tmp_path: Any) -> None:
    (tmp_path / "web.json").write_text("{}")
    answer()
    said = aibemu("doctor", "--evaluator", str(tmp_path / "web.json"))
    assert said.code == 0
    assert said.out.endswith(
        "web.json: no difference (2 resources and 1 output compared, 3 values left to Azure; Bicep CLI version 1.2.3)\n"
    )
    answer(refused="there is no parameter 'x' (X04)")
    said = aibemu("doctor", "--evaluator", str(tmp_path / "web.json"))
    assert said.code == 0
    assert "both refuse it (Bicep CLI version 1.2.3): there is no parameter 'x' (X04)" in said.out


def test_differences(aibemu: Callable[..., Any], answer: Callable[..., None], tmp_path: Any) -> None:
    (tmp_path / "web.json").write_text("{}")
    answer(
        Difference(where="/a/b.tags.x", azure=1, aibemu="hush-hush"),
        Difference(where="", azure="y" * 400, aibemu="accepted"),
    )
    said = aibemu("doctor", "--evaluator", str(tmp_path / "web.json"))
    assert said.code == 1
    lines = said.out.splitlines()
    assert lines[0] == "/a/b.tags.x"
    assert lines[1] == "  Azure's engine: 1"
    assert "hush-hush" not in said.out
    assert lines[3] == "the template" and lines[4].endswith("...") and len(lines[4]) < 330
    assert "2 differences (2 resources" in said.out and "please report it" in said.out
    said = aibemu("doctor", "--evaluator", str(tmp_path / "web.json"), "--output", "json")
    assert said.code == 1
    data = json.loads(said.out)["data"]
    assert data["agrees"] is False and len(data["differences"]) == 2
    assert "hush-hush" not in said.out


def test_options_are_for_the_evaluator_alone(aibemu: Callable[..., Any]) -> None:
    said = aibemu("doctor", "--parameters", "x=y")
    assert said.code == 2
    assert "--parameters is for --evaluator FILE" in said.err
