"""Where the time went: a table of phases and steps that sums up to the run's time, the slowest of each marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aibemu.reports.summary import PhaseSummary, RunSummary, StepSummary
from aibemu.text import counted, short

MARK = "  <- slowest"
WAITING = "waiting for an answer"
# Seconds outside of all phases that are told as a row of their own: less is rounding.
WORTH_TELLING = 1.0
Row = tuple[str, float | None, str, bool]


def timings(summary: RunSummary) -> list[str]:
    """The table as lines; empty when nothing was timed. Of a run that was tried again each row has all attempts."""
    rows = list(_rows(summary))
    if not rows:
        return []
    if summary.seconds is not None:
        rows += _outside(summary)
        attempts = counted(summary.attempts, "attempt") if summary.attempts > 1 else ""
        rows.append(("total", summary.seconds, attempts, False))
    width = max(len(name) for name, *_ in rows)
    return [
        f"{name.ljust(width)}  {short(seconds).rjust(7)}  {status}".rstrip() + (MARK if marked else "")
        for name, seconds, status, marked in rows
    ]


def _rows(summary: RunSummary) -> Iterator[Row]:
    slow_phase = _slowest(summary.phases)
    slow_step = _slowest(summary.steps)
    for phase in summary.phases:
        if phase.status == "pending" and not phase.earlier_seconds:
            continue
        yield phase.name, phase.total_seconds, phase.status, phase is slow_phase
        for step in summary.steps:
            if step.phase == phase.name:
                yield f"  {step.label or step.id}", step.total_seconds, step.status, step is slow_step
        if phase.waited:
            yield f"  {WAITING}", phase.waited, "", False
        if phase.name == "distribute":
            for output in summary.outputs:
                yield f"  {output.run_output_name}", output.seconds, output.status, False


def _outside(summary: RunSummary) -> Iterator[Row]:
    """What was in no phase."""
    if summary.waited:
        yield WAITING, summary.waited, "", False
    rest = (summary.seconds or 0.0) - summary.waited - sum(phase.total_seconds or 0.0 for phase in summary.phases)
    if rest >= WORTH_TELLING:
        yield "between and after them", rest, "", False


def _slowest(
    items: Sequence[PhaseSummary | StepSummary],
) -> PhaseSummary | StepSummary | None:
    """Only where there is something to compare it with."""
    timed = [item for item in items if item.total_seconds]
    return max(timed, key=lambda item: item.total_seconds or 0.0) if len(timed) > 1 else None
