"""Which step is meant after an edit: never another one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.errors import Span, UsageError
from aibemu.plan.alike import still_left_out
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


def records(*texts: str) -> list[dict[str, Any]]:
    return [step_json(step) for step in steps(*texts)]


@pytest.mark.parametrize(
    ("before", "failed", "now", "found"),
    [
        ("a b c", "c2", "a b c", "c2"),
        ("a b c", "c2", "new a b c", "c3"),
        ("a b c", "c2", "b c", "c1"),
        ("a b c", "c2", "a b2 c", "c2"),  # no name: by its place, if none came or went
        ("x=a y=b", "c2", "x=a new y=b2", "c3"),  # by its name
        ("x=a y=b", "c2", "x=a z=b", "c2"),  # renamed, but does the same
        ("apt b apt", "c3", "apt b apt", "c3"),  # alike: the same one of them
        ("apt b apt", "c3", "new apt b apt", "c4"),
        ("apt b apt", "c3", "n1 n2 apt b apt", "c5"),
        ("apt b apt", "c1", "n1 n2 apt b apt", "c3"),
        ("x=apt b x=apt", "c3", "n x=apt2 b x=apt3", "c4"),
        ("x=apt b y=apt", "c3", "y=apt b", "c1"),  # alike, but it has a name
        ("x=apt y=apt", "c1", "x=apt2 y=apt z=apt", "c1"),
    ],
)
def test_it_is_found(before: str, failed: str, now: str, found: str) -> None:
    assert still_left_out((), failed, records(*before.split()), steps(*now.split())) == {found}


@pytest.mark.parametrize(
    ("before", "failed", "now"),
    [
        ("a b c", "c2", "a new b2 c"),
        ("a b c", "c2", "a c"),
        ("a b", "c2", "a"),
        ("x=a y=b", "c2", "x=a z=b2"),  # a name that is gone is another step
        ("x=a y=b", "c2", "y=a y=c"),  # one of that name then, two now
        ("apt b apt", "c3", "apt b"),  # one of the two is gone
        ("apt b apt", "c3", "apt apt b apt"),  # or came
        ("x=apt y=apt", "c1", "y=apt z=apt"),
    ],
)
def test_it_is_refused_where_it_is_not_to_be_told(before: str, failed: str, now: str) -> None:
    with pytest.raises(UsageError, match="cannot be told") as caught:
        still_left_out((), failed, records(*before.split()), steps(*now.split()))
    assert len(caught.value.details) == len(now.split())


@pytest.mark.parametrize(
    ("now", "left"),
    [("a b c", {"c1", "c3"}), ("new a b c", {"c2", "c4"}), ("a2 b c", {"c3"}), ("b", set()), ("c b", {"c1"})],
)
def test_what_was_left_out_before_is_so_until_it_is_edited(now: str, left: set[str]) -> None:
    assert still_left_out(("c1", "c3"), None, records("a", "b", "c"), steps(*now.split())) == left


def test_of_two_that_do_the_same_the_one_of_its_name_stays_left_out() -> None:
    before = records("x=apt", "b", "y=apt")
    assert still_left_out(("c1",), None, before, steps("x=apt", "b", "y=apt", "z=apt")) == {"c1"}
    assert still_left_out(("c1",), None, before, steps("n", "x=apt", "b", "y=apt2")) == {"c2"}
    assert still_left_out(("c1",), None, before, steps("x2=apt", "b", "y=apt")) == frozenset()


def test_one_more_is_left_out() -> None:
    assert still_left_out(("c1",), "c2", records("a", "b", "c"), steps("new", "a", "b", "c")) == {"c2", "c3"}


def test_the_record_of_an_older_aibemu_tells_too_little() -> None:
    old = [{"id": "c1", "kind": "Shell", "label": "x"}, {"id": "c2", "kind": "Shell", "label": "y"}]
    with pytest.raises(UsageError, match="cannot be told"):
        still_left_out((), "c2", old, steps("x=a", "y=b"))
    assert still_left_out(("c2", "c9"), None, old, steps("x=a", "y=b")) == frozenset()


texts = st.lists(st.sampled_from(["a", "b", "x=a", "x=b", "y=c"]), min_size=1, max_size=5)


@given(before=texts, inserted=texts, at=st.integers(0, 5), which=st.integers(0, 4))
def test_steps_that_come_in_between_never_make_it_another(
    before: list[str], inserted: list[str], at: int, which: int
) -> None:
    failed = min(which, len(before) - 1)
    now = [*before[:at], *("new" for _ in inserted), *before[at:]]
    place = failed + (len(inserted) if failed >= at else 0)
    assert still_left_out((), f"c{failed + 1}", records(*before), steps(*now)) == {f"c{place + 1}"}
