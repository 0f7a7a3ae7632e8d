"""Which step is meant after an edit: never another one."""

from __future__ import annotations

import pytest

from aibemu.errors import Span, UsageError
from aibemu.plan.alike import find_alike
from aibemu.plan.model import PlannedStep, step_json
from aibemu.template.model import StepSpec


def steps(*texts: str) -> list[PlannedStep]:
    """`name=does` or only what an unnamed step does."""
    made = []
    for index, text in enumerate(texts):
        name, _, does = text.rpartition("=")
        spec = StepSpec(
            kind="Shell", index=index, name=name, options={}, span=Span(file="t.json", line=index + 1, column=1)
        )  # fmt: skip
        made.append(PlannedStep(id=f"c{index + 1}", spec=spec, files=(), content=does, fingerprint="", reason=""))
    return made


def place(before: list[PlannedStep], index: int, now: list[PlannedStep]) -> str:
    return find_alike(step_json(before[index]), len(before), now)


@pytest.mark.parametrize(
    ("before", "index", "now", "found"),
    [
        (["a", "b", "c"], 1, ["a", "b", "c"], "c2"),
        (["a", "b", "c"], 1, ["new", "a", "b", "c"], "c3"),
        (["a", "b", "c"], 1, ["b", "c"], "c1"),
        (["a", "b", "c"], 1, ["a", "b edited", "c"], "c2"),  # no name: by its place, if none came or went
        (["x=a", "y=b"], 1, ["x=a", "new", "y=b edited"], "c3"),  # by its name
        (["x=a", "y=b"], 1, ["x=a", "z=b"], "c2"),  # renamed, but does the same
        (["apt", "b", "apt"], 2, ["apt", "b", "apt"], "c3"),  # two that are alike: by the place
        (["x=a", "y=b"], 1, ["y=a", "y=c"], "c2"),
    ],
)
def test_it_is_found(before: list[str], index: int, now: list[str], found: str) -> None:
    assert place(steps(*before), index, steps(*now)) == found


@pytest.mark.parametrize(
    ("before", "index", "now"),
    [
        (["a", "b", "c"], 1, ["a", "new", "b edited", "c"]),
        (["a", "b", "c"], 1, ["a", "c"]),
        (["x=a", "y=b"], 1, ["x=a", "z=b edited"]),  # a name that is gone is another step
        (["apt", "b", "apt"], 2, ["new", "apt", "b", "apt"]),
        (["a", "b"], 1, ["a"]),
    ],
)
def test_it_is_refused_where_it_is_not_to_be_told(before: list[str], index: int, now: list[str]) -> None:
    with pytest.raises(UsageError, match="cannot be told") as caught:
        place(steps(*before), index, steps(*now))
    assert len(caught.value.details) == len(now)


def test_the_record_of_an_older_aibemu_tells_less() -> None:
    old = {"id": "c2", "kind": "Shell", "label": "y", "span": "t.json:2:1"}
    with pytest.raises(UsageError, match="cannot be told"):
        find_alike(old, 3, steps("x=a", "y=b"))
    assert find_alike(old, 2, steps("x=a", "y=b")) == "c2"
