"""An expectation that cannot fail is worse than none: what differs is told, and what nobody would read is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.case import load_case
from tests.scenarios.matching import (
    BadExpectation,
    differences,
    event_differences,
    pattern,
    text_differences,
    told_differences,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{about: x, exit: 0, statsu: {}}", "unknown keys: statsu"),
        ("{about: x, runs: [{exit: 0, stdot: []}]}", "unknown keys: stdot"),
        ("{exit: 0}", "needs `about`"),
        ("{about: x}", "needs `exit`"),
        ("{about: x, runs: []}", "runs nothing"),
        ("{about: x, exit: 3, recorded: false, steps: {c1: ok}}", "nothing can be expected of steps"),
        ("{about: x, exit: 0, cancel: {wen: x}}", "unknown keys: wen"),
    ],
)
def test_an_expectation_that_nobody_reads_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "expect.yaml").write_text(text)
    with pytest.raises(BadExpectation, match=message):
        load_case(tmp_path)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({"a": "<absent>"}, {"a": None}),
        ({"a": {"b": "~^x"}}, {"a": {"b": "ax"}}),
        (["a"], ["a", "b"]),
        (1, True),
        ("~x", None),
        (None, ""),
    ],
)
def test_values_that_differ_are_told(expected: Any, actual: Any) -> None:
    assert differences(expected, actual, "x")
    assert not differences(actual, actual, "x")


@pytest.mark.parametrize(
    "expected", [["b", "a"], {"never": ["a$"]}, {"count": {"a": 2}}, {"absent": True}, {"empty": True}, ["c"]]
)
def test_texts_that_differ_are_told(expected: Any) -> None:
    assert text_differences(expected, "a\nb\n", "x")
    assert told_differences(expected, ["a", "b"], "x") or expected == {"empty": True}


def test_a_text_expectation_must_expect_something() -> None:
    empty: tuple[Any, ...] = ([], {}, {"never": []})
    for expected in empty:
        with pytest.raises(BadExpectation):
            text_differences(expected, "a", "x")
    with pytest.raises(BadExpectation):
        pattern("(")


def test_events_that_differ_are_told() -> None:
    events: list[dict[str, Any]] = [{"kind": "a", "n": 1}, {"kind": "b"}]
    assert not event_differences([{"kind": "a"}, {"kind": "b"}], events)
    assert event_differences([{"kind": "b"}, {"kind": "a"}], events)
    assert event_differences({"never": [{"kind": "b"}]}, events)
