"""Customize: the template's customizers, in order; the first that fails ends the build."""

from __future__ import annotations

from aibemu import plugins
from aibemu.customizers import Customizer, Outcome
from aibemu.engine.machines.boot import Booted
from aibemu.engine.phases.steps import StepRun, run_step
from aibemu.engine.state import RunContext
from aibemu.errors import CustomizerFailed
from aibemu.events import Kind, Phase, RunSubState
from aibemu.plan.model import PlannedStep


def customize(ctx: RunContext) -> None:
    """Run every customizer on `ctx.build`."""
    if ctx.plan.source_validation_only:
        ctx.skip(Phase.CUSTOMIZE)
        return
    with ctx.phase(Phase.CUSTOMIZE, RunSubState.CUSTOMIZING):
        total = len(ctx.plan.steps)
        for planned in ctx.plan.steps:
            if planned.cached:
                _say_cached(ctx, planned, total)
                continue
            if planned.id in ctx.skipped:
                ctx.emit(Kind.NOTICE, level="warning", message=f"{planned.spec.label} is left out, as asked")
                ctx.freezer.stop()  # what follows is not what its name says
                continue
            ctx.running = planned.id
            if ctx.services.pauses.is_before(ctx.plan.steps, planned.spec.index):
                ctx.pause("before", planned.spec.label)
            outcome = run_planned(ctx, ctx.build, planned, total)
            if outcome.error:
                raise CustomizerFailed(
                    f"customizer {planned.spec.label} failed: {outcome.error}",
                    hint=outcome.hint,
                    span=planned.spec.span,
                    commands=[f"aibemu resume {ctx.services.run.id}", f"aibemu logs {ctx.services.run.id}"],
                )
            ctx.freezer.history[planned.fingerprint] = ctx.said
            ctx.freezer.freeze(ctx.build, planned.fingerprint, planned.spec.label, ctx.deadline)
            if ctx.services.pauses.is_after(ctx.plan.steps, planned.spec.index):
                ctx.pause("after", planned.spec.label)


def _say_cached(ctx: RunContext, planned: PlannedStep, total: int) -> None:
    spec, said = planned.spec, ctx.freezer.history.get(planned.fingerprint)
    with ctx.services.telemetry.step(planned.id):
        ctx.emit(
            Kind.STEP_CACHED, step_kind=spec.kind, label=spec.label, index=spec.index, total=total,
            span=str(spec.span), how=planned.reason, said=said,
        )  # fmt: skip
    for warning in (said or {}).get("warnings", ()):
        ctx.emit(Kind.NOTICE, level="warning", message=f"{spec.label}: {warning}")


def run_planned(ctx: RunContext, booted: Booted, planned: PlannedStep, total: int) -> Outcome:
    """Run one of `total` steps."""
    ctx.deadline.check()
    return run_step(ctx, booted, _step_run(ctx, planned, total))


def _step_run(ctx: RunContext, planned: PlannedStep, total: int) -> StepRun:
    spec = planned.spec
    step: Customizer = plugins.load("aibemu.customizers", spec.kind)(spec, ctx.step_settings)
    return StepRun(
        id=planned.id, kind=spec.kind, label=spec.label, index=spec.index, total=total, step=step,
        files=[file.path for file in planned.files], span=str(spec.span),
    )  # fmt: skip
