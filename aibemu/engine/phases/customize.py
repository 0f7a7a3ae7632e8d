"""Customize: the template's customizers, in order; the first that fails ends the build."""

from __future__ import annotations

from aibemu.engine.machines.boot import Booted
from aibemu.engine.person import pause
from aibemu.engine.phases.steps import StepResult, StepRun, run_step
from aibemu.engine.state import BuildState
from aibemu.errors import CustomizerFailed
from aibemu.events import Kind, Phase, RunSubState
from aibemu.plan.model import PlannedStep


def customize(ctx: BuildState) -> None:
    """Run every customizer on `ctx.fleet.build`."""
    if ctx.plan.source_validation_only:
        ctx.skip(Phase.CUSTOMIZE)
        return
    with ctx.phase(Phase.CUSTOMIZE, RunSubState.CUSTOMIZING):
        pauses = ctx.services.options.pauses
        total, freezer = len(ctx.plan.steps), ctx.fleet.freezer
        for planned in ctx.plan.steps:
            if planned.cached:
                _say_cached(ctx, planned, total)
                continue
            if planned.id in ctx.skipped:
                ctx.emit(Kind.NOTICE, level="warning", message=f"{planned.spec.label} is left out, as asked")
                freezer.stop()  # what follows is not what its name says
                continue
            ctx.running = planned.id
            if pauses.is_before(ctx.plan.steps, planned.spec.index):
                pause(ctx, "before", planned.spec.label)
            result = run_planned(ctx, ctx.fleet.build, planned, total)
            outcome = result.outcome
            if outcome.error:
                raise CustomizerFailed(
                    f"customizer {planned.spec.label} failed: {outcome.error}",
                    hint=outcome.hint,
                    span=planned.spec.span,
                    commands=[f"aibemu resume {ctx.services.run.id}", f"aibemu logs {ctx.services.run.id}"],
                )
            freezer.history[planned.fingerprint] = result.said
            freezer.freeze(ctx.plan, ctx.fleet.build, planned.fingerprint, planned.spec.label, ctx.deadline)
            if pauses.is_after(ctx.plan.steps, planned.spec.index):
                pause(ctx, "after", planned.spec.label)


def _say_cached(ctx: BuildState, planned: PlannedStep, total: int) -> None:
    spec, said = planned.spec, ctx.fleet.freezer.history.get(planned.fingerprint)
    with ctx.services.telemetry.step(planned.id):
        ctx.emit(
            Kind.STEP_CACHED, step_kind=spec.kind, label=spec.label, index=spec.index, total=total,
            span=str(spec.span), how=planned.reason, said=said,
        )  # fmt: skip
    for warning in (said or {}).get("warnings", ()):
        ctx.emit(Kind.NOTICE, level="warning", message=f"{spec.label}: {warning}")


def run_planned(ctx: BuildState, booted: Booted, planned: PlannedStep, total: int) -> StepResult:
    """Run one of `total` steps."""
    ctx.deadline.check()
    return run_step(ctx, booted, _step_run(ctx, planned, total))


def _step_run(ctx: BuildState, planned: PlannedStep, total: int) -> StepRun:
    spec = planned.spec
    return StepRun(
        id=planned.id, kind=spec.kind, label=spec.label, index=spec.index, total=total,
        step=ctx.planned.customizers[planned.id],
        files=[file.path for file in planned.files], span=str(spec.span),
    )  # fmt: skip
