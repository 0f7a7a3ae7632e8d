"""Which layer a build starts from, and for each step: cached, or why it runs. Pure: layers come as ages by id.

A build starts from the deepest layer whose id is that of a step of the plan; all steps up to there are cached. A step
that must run makes all after it run, for they depend on what it left. A layer is as old as the oldest part of it: the
last step may be of today, and the packages that the first one fetched of last month.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from aibemu.errors import UsageError
from aibemu.plan.model import Plan, PlannedStep
from aibemu.text import age_words

NO_CACHE_MARK = "aibemu:nocache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a layer: when and by which run it was made. past: the same of each one that it was made on, by
    id, the provisioned machine included. boots: it is a disk alone, as it was at a restart."""

    made: datetime
    run: str
    past: Mapping[str, tuple[datetime, str]] = field(default_factory=dict)
    boots: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person wants reused.

    warm: start from a provisioned layer. cache: from a step's. from_step: the first step that runs whatever there is,
    by id (`c3`), number or name, or None. max_age: layers with anything older in them are not used. own: ids of runs,
    this one and those it continues (`aibemu resume`): layers that they made count whatever the names of their steps
    say, and however old they are. skipped: ids of steps that are left out: no layer has what comes after them.
    """

    warm: bool = True
    cache: bool = True
    from_step: str | None = None
    max_age: timedelta = timedelta(days=14)
    own: frozenset[str] = frozenset()
    skipped: frozenset[str] = frozenset()


Lookup = Callable[[str], Known | None]


def reuse(plan: Plan, wish: Wish, lookup: Lookup, now: datetime) -> Plan:
    """The plan with its start and each step's reason."""
    barrier, why = _barrier(plan.steps, wish, lookup)
    found = {step.fingerprint: lookup(step.fingerprint) for step in plan.steps[:barrier]}
    marked = next((index for index, step in enumerate(plan.steps) if _never_cached(step)), len(plan.steps))

    def fits(layer: Known | None, steps: int = 0) -> bool:
        """Whether a layer with so many steps in it may be started from."""
        if layer is None or layer.run in wish.own:
            return layer is not None
        return steps <= marked and now - _oldest(layer) <= wish.max_age

    depth = max((number for number, one in enumerate(found.values(), start=1) if fits(one, number)), default=0)
    start = plan.steps[depth - 1].fingerprint if depth else None
    if start is None and wish.warm and fits(lookup(plan.root)):
        start = plan.root
    deepest = found[start] if depth and start else None
    steps = []
    for number, step in enumerate(plan.steps):
        if deepest is not None and number < depth:
            made, run = deepest.past.get(step.fingerprint, (deepest.made, deepest.run))
            reason = f"cached {age_words(now - made)} ago by run {run}"
        elif number == barrier:
            reason = f"runs: {why}"
        elif number > depth:
            reason = "runs: a step before it runs"
        elif deepest is not None and deepest.boots and found[step.fingerprint] is None:
            reason = "runs: it comes after the restart that the build starts from"  # of it alone there is no layer
        else:
            reason = f"runs: {_why_not(step.fingerprint, found, wish, now)}"
        boots = deepest is not None and deepest.boots and number == depth - 1
        steps.append(replace(step, reason=reason, cached=number < depth, boots=boots))
    return replace(plan, steps=tuple(steps), start=start)


def _never_cached(step: PlannedStep) -> bool:
    return NO_CACHE_MARK in step.spec.name


def _oldest(layer: Known) -> datetime:
    return min([layer.made, *(made for made, _ in layer.past.values())])


def _why_not(name: str, found: Mapping[str, Known | None], wish: Wish, now: datetime) -> str:
    """Why no layer of those found, by id, gives the step `name`."""
    layers = [one for one in found.values() if one is not None]
    made = [one.past[name][0] for one in layers if name in one.past]
    made += [own.made] if (own := found[name]) else []
    if not made:
        return "no cached result for this content"
    what = "is" if now - max(made) > wish.max_age else "was made on one that is"
    return f"its layer {what} older than {age_words(wish.max_age)}"


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


def _barrier(steps: Sequence[PlannedStep], wish: Wish, lookup: Lookup) -> tuple[int, str]:
    """The index of the first step that must run, and why; the number of steps if none must."""
    if not wish.cache:
        return 0, "the cache is off"
    found = [(len(steps), "")]
    known = [lookup(step.fingerprint) for step in steps] if wish.own else []
    done = max((number for number, one in enumerate(known, start=1) if one and one.run in wish.own), default=0)
    if wish.from_step is not None:
        found.append((find_step(steps, wish.from_step, "--from"), "asked for by --from"))
    for index, step in enumerate(steps):
        if step.id in wish.skipped:
            found.append((index, "it is to be left out"))
        if _never_cached(step) and index >= done:
            found.append((index, f"its name says {NO_CACHE_MARK}"))
    return min(found, key=lambda one: one[0])
