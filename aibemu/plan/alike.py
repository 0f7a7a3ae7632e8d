"""Which step of an edited template is the one that was meant: positions shift, and what failed is often edited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aibemu.errors import UsageError
from aibemu.plan.model import PlannedStep, step_json


def find_alike(step: Mapping[str, Any], of: int, steps: Sequence[PlannedStep]) -> str:
    """The id of the step among `steps` that `step` (as `step_json` gives it, one of a plan of `of` steps) is now.

    By what it does; if that was edited, by its name; one without a name by its place, if no step came or went. Raises
    `UsageError` if it is not to be told: another step would be left out.
    """
    now = [step_json(one) for one in steps]
    for alike in _ways(step, same_number=of == len(steps)):
        matches = [one for one in now if alike(one)]
        matches = [one for one in matches if one["id"] == step["id"]] if len(matches) > 1 else matches
        if matches:
            return str(matches[0]["id"])
    raise UsageError(
        f"which step {step['label']} is now cannot be told: it was renamed or taken out, or steps came before it",
        details=[f"{one['id']}  {one['label']}" for one in now],
        hint="try again without skipping; or take the step out of the template first",
    )


def _ways(step: Mapping[str, Any], *, same_number: bool) -> Sequence[Callable[[Mapping[str, Any]], bool]]:
    def same(*names: str) -> Callable[[Mapping[str, Any]], bool]:
        return lambda one: all(one[name] == step.get(name) for name in names)

    ways = [same("content")]
    if step.get("named"):
        ways.append(same("kind", "label"))
    elif same_number:
        ways.append(same("kind", "id"))
    return ways
