"""Customize: the template's customizers, in order; the first that fails ends the build."""

from __future__ import annotations

from collections.abc import Sequence

from aibemu import plugins
from aibemu.customizers import Customizer, Outcome
from aibemu.engine.boot import Booted
from aibemu.engine.context import RunContext
from aibemu.engine.steps import StepRun, run_step
from aibemu.errors import CustomizerFailed
from aibemu.events import Phase, RunSubState
from aibemu.plan.model import PlannedStep


def customize(ctx: RunContext) -> None:
    """Run every customizer on `ctx.build`."""
    if ctx.plan.source_validation_only:
        ctx.skip(Phase.CUSTOMIZE)
        return
    with ctx.phase(Phase.CUSTOMIZE, RunSubState.CUSTOMIZING):
        for planned, outcome in run_planned(ctx, ctx.build, ctx.plan.steps):
            if outcome.error:
                raise CustomizerFailed(
                    f"customizer {planned.spec.label} failed: {outcome.error}",
                    hint=outcome.hint,
                    span=planned.spec.span,
                    commands=[f"aibemu logs {ctx.ports.run.id}"],
                )


def run_planned(ctx: RunContext, booted: Booted, steps: Sequence[PlannedStep]) -> list[tuple[PlannedStep, Outcome]]:
    """Run steps until one fails; give each that ran with its outcome."""
    done = []
    for planned in steps:
        ctx.deadline.check()
        outcome = run_step(ctx, booted, _step_run(ctx, planned, len(steps)))
        done.append((planned, outcome))
        if outcome.error:
            break
    return done


def _step_run(ctx: RunContext, planned: PlannedStep, total: int) -> StepRun:
    spec = planned.spec
    step: Customizer = plugins.load("aibemu.customizers", spec.kind)(spec, ctx.step_settings)
    return StepRun(
        id=planned.id, kind=spec.kind, label=spec.label, index=spec.index, total=total, step=step,
        files=[file.path for file in planned.files], span=str(spec.span),
    )  # fmt: skip
