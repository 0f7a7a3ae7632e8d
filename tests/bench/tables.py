"""What a benchmark of builds prints: each figure with its goal, and where the time went."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from tests.bench.cases import EDITED, PACKER, Sample
from tests.bench.shares import Account, Own, Shares

MB = 1_000_000
# Times of Packer's median.
RATIOS = {"cold": 1.0, "warm": 0.25, "edited": 0.20}
Samples = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line: all values of it. ratio: of the median to Packer's. goal: of the ratio if `relative`, else of a value;
    it is a bound, and judged by the median."""

    name: str
    unit: str
    values: tuple[float, ...]
    ratio: float | None = None
    goal: float | None = None
    relative: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.values)


def figures(samples: Samples) -> list[Figure]:
    """The cases' times, then what all of aibemu's builds have in common. Lines without a value are left out."""
    found = [_case(name, taken, samples.get(PACKER, ())) for name, taken in samples.items()]
    mine = [sample for taken in samples.values() for sample in taken]
    books = [sample.account for sample in mine if sample.account]
    edited = [sample.account for sample in samples.get(EDITED, ()) if sample.account]
    freezes = [freeze for book in books for freeze in book.freezes]
    found += [
        Figure(name="first line", unit="s", goal=2.0, values=_known(book.first_line for book in edited)),
        Figure(name="own per step", unit="s", goal=0.15, values=_known(book.per_step for book in books)),
        Figure(name="freeze", unit="s", goal=1.0, values=tuple(one.seconds for one in freezes)),
        Figure(name="freeze, bytes", unit="MB", values=tuple(one.bytes / MB for one in freezes)),
        Figure(
            name="memory", unit="MB", goal=150.0,
            values=tuple(sample.peak_bytes / MB for sample in mine if sample.peak_bytes),
        ),
    ]  # fmt: skip
    return [figure for figure in found if figure.values]


def _case(name: str, taken: Sequence[Sample], reference: Sequence[Sample]) -> Figure:
    seconds = tuple(sample.seconds for sample in taken)
    ratio = None
    if reference and seconds and name != PACKER:
        ratio = statistics.median(seconds) / statistics.median(sample.seconds for sample in reference)
    return Figure(name=name, unit="s", values=seconds, ratio=ratio, goal=RATIOS.get(name), relative=True)


def _known(values: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(value for value in values if value is not None)


def table(found: Sequence[Figure]) -> list[str]:
    """Text columns."""
    lines = [f"{'':16} {'min':>8} {'median':>8} {'max':>8}    {'of packer':>9} {'goal':>8}"]
    for one in found:
        spread = " ".join(_number(value) for value in (min(one.values), one.median, max(one.values)))
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        goal = "" if one.goal is None else f"{one.goal:.2f}" if one.relative else f"{one.goal:g} {one.unit}"
        lines.append(f"{one.name:16} {spread} {one.unit:2} {ratio:>9} {goal:>8}".rstrip())
    return lines


def _number(value: float) -> str:
    return f"{value:8.1f}" if value >= 10 else f"{value:8.2f}"


# The lines of the second table: of which part, and what they are called there.
KINDS = {
    "guest": "guest work", "machine": "machine made", "boot": "boot or thaw", "freeze": "freeze",
    "power_off": "power off", "conversion": "conversion", "own": "own",
}  # fmt: skip
PARTS = {
    "start": "start, plan", "provision": "provision", "customize": "customize", "generalize": "generalize",
    "distribute": "distribute", "between": "between", "ending": "publish, clean", "leave": "leave",
}  # fmt: skip


def share_table(samples: Samples) -> list[str]:
    """Median seconds and their share of the case's median, by kind of work; then figures of each case."""
    books = {name: [one.account for one in taken if one.account] for name, taken in samples.items()}
    books = {name: found for name, found in books.items() if found}
    wholes = {name: statistics.median(one.seconds for one in samples[name]) for name in books}
    if not books:
        return []

    def line(title: str, value: Callable[[Account], float]) -> str:
        cells = []
        for name, found in books.items():
            seconds = statistics.median(value(book) for book in found)
            cells.append(f"{seconds:8.2f} {100 * seconds / wholes[name]:4.0f} %")
        return f"{title:18}" + " ".join(cells)

    lines = [f"{'':18}" + " ".join(f"{name + ' s':>8} {'':6}" for name in books).rstrip()]
    lines += [line(KINDS[one.name], _of_shares(one.name)) for one in fields(Shares)]
    lines += [line(f"  {PARTS[one.name]}", _of_own(one.name)) for one in fields(Own)]
    for title, pick in (("own per step, s", _per_step), ("freeze, s", _freeze), ("memory, MB", _memory)):
        cells = [f"{pick(samples[name]):>8} {'':6}" for name in books]
        lines.append(f"{title:18}{' '.join(cells)}".rstrip())
    return lines


def _of_shares(name: str) -> Callable[[Account], float]:
    return lambda book: float(getattr(book.shares, name))


def _of_own(name: str) -> Callable[[Account], float]:
    return lambda book: float(getattr(book.own, name))


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f}" if values else "-"


def _per_step(taken: Sequence[Sample]) -> str:
    return _median(_known(one.account.per_step for one in taken if one.account))


def _freeze(taken: Sequence[Sample]) -> str:
    return _median([freeze.seconds for one in taken if one.account for freeze in one.account.freezes])


def _memory(taken: Sequence[Sample]) -> str:
    return _median([one.peak_bytes / MB for one in taken if one.peak_bytes])


def as_json(samples: Samples, found: Sequence[Figure]) -> dict[str, Any]:
    """The same for programs, and every build in full, without what it printed."""
    return {
        "figures": [asdict(one) | {"median": one.median} for one in found],
        "builds": {
            name: [{key: value for key, value in asdict(one).items() if key != "manifest"} for one in taken]
            for name, taken in samples.items()
        },
    }
