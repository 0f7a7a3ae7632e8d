"""Which step of an edited template is the one that was meant: positions shift, and what failed is often edited."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from aibemu.errors import UsageError
from aibemu.plan.model import PlannedStep, step_json

Step = Mapping[str, Any]


def still_left_out(
    skipped: Collection[str], failed: str | None, before: Sequence[Step], steps: Sequence[PlannedStep]
) -> frozenset[str]:
    """Ids of those of `steps` that are to be left out, after an edit.

    skipped, failed: ids of steps in the plan of `before` (as `step_json` gives them): those left out in it, of which
    one that was edited or taken out is not any more; and the one to leave out now. Raises `UsageError` if it is not to
    be told which that is: another step would be left out.
    """
    now = [step_json(one) for one in steps]
    known = {one["id"] for one in before}.intersection(skipped)
    found = {_same_rank(one, _alike(_by_id(before, one), "content"), before, now) for one in known}
    if failed is not None:
        found.add(_find(failed, before, now))
    return frozenset(one for one in found if one)


def _find(failed: str, before: Sequence[Step], now: Sequence[Step]) -> str:
    """By what it does; if that was edited, by its name; without a name by its place, if no step came or went."""
    step = _by_id(before, failed)
    ways: list[tuple[str, ...]] = [("content",)]
    if step.get("named"):
        ways.append(("kind", "label"))
    elif len(before) == len(now) and "named" in step:
        ways.append(("kind", "id"))
    for way in ways:
        if found := _same_rank(failed, _alike(step, *way), before, now):
            return found
    raise UsageError(
        f"which step {step['label']} is now cannot be told: it was renamed, edited or taken out",
        details=[f"{one['id']}  {one['label']}" for one in now],
        hint="try again without skipping; or take the step out of the template first",
    )


def _same_rank(wanted: str, alike: Callable[[Step], bool], before: Sequence[Step], now: Sequence[Step]) -> str | None:
    """Of the steps that are alike, the one in the same place among them; None if there are more or fewer by now."""
    was, are = [one["id"] for one in before if alike(one)], [one["id"] for one in now if alike(one)]
    return str(are[was.index(wanted)]) if len(was) == len(are) else None


def _alike(step: Step, *names: str) -> Callable[[Step], bool]:
    return lambda one: all(one.get(name) == step.get(name) for name in names)


def _by_id(steps: Sequence[Step], wanted: str) -> Step:
    return next(one for one in steps if one["id"] == wanted)
