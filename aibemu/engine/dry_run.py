"""A dry run: what a build would do is told phase by phase, and none of it is done.

It is for drivers that make no machines (`Capabilities.dry`). Nothing is written but the run's own record: no image, no
document of the local cloud, no file at a `uri` or in `--out`, no layer; and no source image is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

from aibemu.engine.state import BuildState
from aibemu.events import Kind, Phase
from aibemu.plan.model import PlannedStep


def dry_run(state: BuildState) -> None:
    """Record of every phase, step and target that it was not run or written."""
    works = {
        Phase.CUSTOMIZE: lambda: _steps(state, state.plan.steps),
        Phase.VALIDATE: lambda: _steps(state, state.plan.validators),
        Phase.DISTRIBUTE: lambda: _targets(state),
    }
    for phase in Phase:
        state.deadline.check()
        with state.services.telemetry.phase(phase.value):
            works.get(phase, lambda: None)()
            state.emit(Kind.PHASE_FINISHED, status="not run", seconds=None)


def _steps(state: BuildState, steps: Sequence[PlannedStep]) -> None:
    for step in steps:
        spec = step.spec
        with state.services.telemetry.step(step.id):
            state.emit(
                Kind.STEP_NOT_RUN, step_kind=spec.kind, label=spec.label, index=spec.index, total=len(steps),
                span=str(spec.span),
            )  # fmt: skip


def _targets(state: BuildState) -> None:
    for target in state.plan.targets:
        state.emit(
            Kind.OUTPUT_NOT_WRITTEN, run_output_name=target.run_output_name, target=target.kind, index=target.index,
            total=len(state.plan.targets),
        )  # fmt: skip
