"""Where the time went: a table of phases and steps, the slowest of each marked."""

from __future__ import annotations

from collections.abc import Sequence

from aibemu.reports.summary import OutputSummary, PhaseSummary, RunSummary, StepSummary
from aibemu.text import short

MARK = "  <- slowest"


def timings(summary: RunSummary) -> list[str]:
    """The table as lines; empty when nothing was timed."""
    rows: list[tuple[str, float | None, str, bool]] = []
    slow_phase = _slowest(summary.phases)
    slow_step = _slowest(summary.steps)
    for phase in summary.phases:
        if phase.status == "pending":
            continue
        rows.append((phase.name, phase.seconds, phase.status, phase is slow_phase))
        rows += [(f"  {step.label or step.id}", step.seconds, step.status, step is slow_step) for step in summary.steps
                 if step.phase == phase.name]  # fmt: skip
        if phase.name == "distribute":
            rows += [
                (f"  {output.run_output_name}", output.seconds, output.status, False) for output in summary.outputs
            ]
    if not rows:
        return []
    if summary.seconds is not None:
        rows.append(("total", summary.seconds, "", False))
    width = max(len(name) for name, *_ in rows)
    return [
        f"{name.ljust(width)}  {short(seconds).rjust(7)}  {status}".rstrip() + (MARK if marked else "")
        for name, seconds, status, marked in rows
    ]


def _slowest(
    items: Sequence[PhaseSummary | StepSummary | OutputSummary],
) -> PhaseSummary | StepSummary | OutputSummary | None:
    """Only where there is something to compare it with."""
    timed = [item for item in items if item.seconds]
    return max(timed, key=lambda item: item.seconds or 0.0) if len(timed) > 1 else None
