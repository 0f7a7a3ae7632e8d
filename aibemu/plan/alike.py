"""Which step of an edited template is the one that was meant: positions shift, and what failed is often edited."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    found = {_unchanged(step, before, now) for step in before if step["id"] in skipped}
    if failed is not None:
        found.add(_find(next(step for step in before if step["id"] == failed), before, now))
    return frozenset(one for one in found if one)


def _unchanged(step: Step, before: Sequence[Step], now: Sequence[Step]) -> str | None:
    """By name and what it does, or only that, where no other does the same; without a name by its rank among those."""
    alike = [one for one in before if one.get("content") == step.get("content")]
    if step.get("named"):
        found = _same_rank(step, ("label", "content"), before, now)
        return found or (_same_rank(step, ("content",), before, now) if len(alike) == 1 else None)
    return _same_rank(step, ("content",), before, now)


def _find(step: Step, before: Sequence[Step], now: Sequence[Step]) -> str:
    """The id that a step of before has now: if it was edited, by its name; without a name by its place, if no step came
    or went. Raises UsageError when that finds none."""
    found = _unchanged(step, before, now)
    if found is None and step.get("named"):
        found = _same_rank(step, ("kind", "label"), before, now)
    elif found is None and "named" in step and len(before) == len(now):
        found = _same_rank(step, ("kind", "id"), before, now)
    if found is not None:
        return found
    raise UsageError(
        f"which step {step['label']} is now cannot be told: it was renamed, edited or taken out",
        details=[f"{one['id']}  {one['label']}" for one in now],
        hint="try again without skipping; or take the step out of the template first",
    )


def _same_rank(step: Step, names: Sequence[str], before: Sequence[Step], now: Sequence[Step]) -> str | None:
    """Of the steps that are alike in these fields, the one in the same place among them; None if there are more or
    fewer by now."""
    was, are = (
        [one["id"] for one in steps if all(one.get(name) == step.get(name) for name in names)]
        for steps in (before, now)
    )
    return str(are[was.index(step["id"])]) if len(was) == len(are) else None
