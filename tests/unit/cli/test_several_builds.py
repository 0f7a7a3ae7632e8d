"""How the program ends when several builds end differently, and when a person does not wait for their end."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.cli import several
from aibemu.cli.app import App
from aibemu.cli.several import WORST, for_all
from aibemu.clock import SystemClock
from aibemu.engine.together import Ended
from aibemu.errors import (
    EXIT_CODES,
    BuildCancelled,
    BuildTimedOut,
    CustomizerFailed,
    HostNotReady,
    UsageError,
)
from aibemu.paths import Home

ERRORS = {
    130: BuildCancelled("interrupted"), 4: HostNotReady("the disk is full"), 1: CustomizerFailed("no"),
    5: BuildTimedOut("too long"),
}  # fmt: skip


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(home=Home.at(tmp_path / "home"), clock=SystemClock(), command="run")


def ended(name: str, error: BaseException | None, *, stopped: bool = False) -> Ended:
    prepared: Any = SimpleNamespace(
        plan=SimpleNamespace(template=SimpleNamespace(name=name)),
        basis=SimpleNamespace(
            options=SimpleNamespace(template=SimpleNamespace(document=SimpleNamespace(name=f"{name}.json")))
        ),
    )  # fmt: skip
    return Ended(prepared=prepared, error=error, stopped=stopped)


def code_of(app: App, *all_of_them: Ended) -> Any:
    try:
        several._answer(app, [several._over(app, one) for one in all_of_them], None)
    except SystemExit as end:
        return end.code
    return 0


def test_the_worst_end_is_the_exit_code_whatever_the_order(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    """It is the first of those that docs/commands.md names."""
    page = (Path(__file__).parents[3] / "docs/commands.md").read_text(encoding="utf-8")
    assert f"the first of {', '.join(map(str, WORST))} that one of them ended with" in page
    assert set(WORST) <= set(EXIT_CODES)
    for one, other in itertools.permutations(ERRORS, 2):
        worst = min(one, other, key=WORST.index)
        assert code_of(app, ended("a", ERRORS[one]), ended("b", ERRORS[other]), ended("c", None)) == worst
    assert code_of(app, ended("a", None), ended("b", None)) == 0


def test_one_that_was_stopped_for_another_does_not_count(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(app, ended("a", ERRORS[130], stopped=True), ended("b", ERRORS[1])) == 1


def test_a_bug_of_one_build_is_reported_and_is_the_exit_code(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(app, ended("a", ERRORS[1]), ended("b", ZeroDivisionError("a bug"))) == 70
    said = capsys.readouterr()
    assert "ZeroDivisionError: a bug" in said.err and len(list((app.home.cache / "bugs").iterdir())) == 1
    assert said.out.splitlines() == ["a: not begun", "b: not begun", "2 templates: 2 not begun"]


def test_a_full_disk_of_one_build_is_no_bug(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(app, ended("a", OSError(28, "No space left on device"))) == 4
    assert "the disk is full" in capsys.readouterr().err


def test_a_second_ctrl_c_puts_the_terminal_in_order_and_ends_the_process(
    app: App, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[Any] = []
    monkeypatch.setattr(os, "_exit", done.append)
    shared: Any = SimpleNamespace(close=lambda: done.append("closed"))
    several._leave_at_once(app, shared)
    assert done == ["closed", 130]
    assert "the next aibemu command cleans up" in capsys.readouterr().err


def test_without_a_word_an_error_ends_as_errorhandling_says_and_what_is_for_all_stays() -> None:
    given = {"name": None, "from_step": None, "pause_before": (), "pause_after": (), "cold": True}
    files = [Path("a.json"), Path("b.json")]
    assert for_all(files, **given, on_error=None) == {**given, "on_error": "template"}
    assert for_all(files, **given, on_error="keep")["on_error"] == "keep"
    with pytest.raises(UsageError, match="--pause-before can only be about one template, and 2 are given"):
        for_all(files, **{**given, "pause_before": ("1",)}, on_error=None)
