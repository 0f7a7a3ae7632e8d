"""Which layer a build starts from, and for each step: cached, or why it runs. Pure: layers come as ages by id.

A build starts from the deepest layer whose id is that of a step of the plan; all steps up to there are cached. A step
that must run makes all after it run, for they depend on what it left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aibemu.ages import age_words
from aibemu.errors import UsageError
from aibemu.plan.model import Plan, PlannedStep

NO_CACHE_MARK = "aibemu:nocache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a layer: when and by which run it was made."""

    made: datetime
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person wants reused.

    warm: start from a provisioned layer. cache: from a step's. from_step: the first step that runs whatever there is,
    by id (`c3`), number or name, or None. max_age: older layers are not used. done: ids of layers that this build
    continues from (`aibemu resume`): they count whatever the names of their steps say. only_done: no other step's do.
    skipped: ids of steps that are left out: no layer has what comes after them.
    """

    warm: bool = True
    cache: bool = True
    from_step: str | None = None
    max_age: timedelta = timedelta(days=14)
    done: frozenset[str] = frozenset()
    only_done: bool = False
    skipped: frozenset[str] = frozenset()


Lookup = Callable[[str], Known | None]


def reuse(plan: Plan, wish: Wish, lookup: Lookup, now: datetime) -> Plan:
    """The same plan with its start and each step's reason."""
    barrier, why = _barrier(plan.steps, wish)
    known: list[Known | None] = []
    stale: list[bool] = []
    for step in plan.steps[:barrier]:
        found = lookup(step.fingerprint)
        old = found is not None and now - found.made > wish.max_age
        known.append(None if old else found)
        stale.append(old)
    depth = max((number for number, found in enumerate(known, start=1) if found), default=0)
    start = plan.steps[depth - 1].fingerprint if depth else None
    if start is None and wish.warm:
        warm = lookup(plan.root)
        start = plan.root if warm is not None and now - warm.made <= wish.max_age else None
    steps = []
    for number, step in enumerate(plan.steps):
        if number < depth:
            deepest = known[depth - 1]
            made = known[number] or deepest
            assert made is not None
            reason = f"cached {age_words(now - made.made)} ago by run {made.run}"
            steps.append(replace(step, reason=reason, cached=True))
            continue
        if number > depth and number != barrier:
            reason = "runs: a step before it runs"
        elif number == barrier:
            reason = f"runs: {why}"
        elif stale[number]:
            reason = f"runs: its layer is older than {age_words(wish.max_age)}"
        else:
            reason = "runs: it was not frozen with this content yet"
        steps.append(replace(step, reason=reason, cached=False))
    return replace(plan, steps=tuple(steps), start=start)


def find_step(steps: Sequence[PlannedStep], text: str, option: str) -> int:
    """The index of the step that a person means: its id (`c3`), its number from 1, or its name.

    Raises `UsageError` naming all there are.
    """
    for matches in (
        [index for index, step in enumerate(steps) if text in (step.id, str(index + 1))],
        [index for index, step in enumerate(steps) if text.casefold() == step.spec.label.casefold()],
    ):
        if len(matches) == 1:
            return matches[0]
    raise UsageError(
        f"{option} {text}: there is {'more than one' if matches else 'no'} such step",
        details=[f"{step.id}  {step.spec.label}" for step in steps],
        hint="give its number, or its name",
    )


def _barrier(steps: Sequence[PlannedStep], wish: Wish) -> tuple[int, str]:
    """The index of the first step that must run, and why; the number of steps if none must."""
    if not wish.cache:
        return 0, "the cache is off"
    found = [(len(steps), "")]
    done = max((number for number, step in enumerate(steps, start=1) if step.fingerprint in wish.done), default=0)
    if wish.from_step is not None:
        found.append((find_step(steps, wish.from_step, "--from"), "asked for by --from"))
    for index, step in enumerate(steps):
        if step.id in wish.skipped:
            found.append((index, "it is to be left out"))
        if NO_CACHE_MARK in step.spec.name and index >= done:
            found.append((index, f"its name says {NO_CACHE_MARK}"))
    return min(found, key=lambda one: one[0])
