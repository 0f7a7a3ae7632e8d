"""Customize: the template's customizers, in order; the first that fails ends the build."""

from __future__ import annotations

from aibemu.engine.machines.boot import Booted
from aibemu.engine.machines.saving import RestartSaver
from aibemu.engine.person import pause
from aibemu.engine.phases.steps import StepResult, StepRun, run_step
from aibemu.engine.state import BuildState
from aibemu.errors import CustomizerFailed
from aibemu.events import Kind, Phase, RunSubState
from aibemu.plan.model import PlannedStep


def customize(state: BuildState) -> None:
    """Run every customizer on `state.fleet.build`."""
    if state.plan.source_validation_only:
        state.skip(Phase.CUSTOMIZE)
        return
    with state.phase(Phase.CUSTOMIZE, RunSubState.CUSTOMIZING):
        pauses = state.services.options.pauses
        total, freezer = len(state.plan.steps), state.fleet.freezer
        for planned in state.plan.steps:
            if planned.cached:
                _say_cached(state, planned, total)
                continue
            if planned.id in state.skipped:
                state.emit(Kind.NOTICE, level="warning", message=f"{planned.spec.label} is left out, as asked")
                freezer.stop()  # what follows is not what its name says
                continue
            state.running = planned.id
            if pauses.is_before(state.plan.steps, planned.spec.index):
                pause(state, "before", planned.spec.label)
            step = state.planned.customizers[planned.id]
            saver = freezer.saver(state.fleet.build, step)
            result = run_planned(state, state.fleet.build, planned, total, saver)
            outcome = result.outcome
            if outcome.error:
                raise CustomizerFailed(
                    f"customizer {planned.spec.label} failed: {outcome.error}",
                    hint=outcome.hint,
                    span=planned.spec.span,
                    commands=[f"aibemu resume {state.services.run.id}", f"aibemu logs {state.services.run.id}"],
                )
            # Later builds, which know other secrets or none, read both.
            redactor = state.services.redactor.apart()
            freezer.history[planned.fingerprint] = redactor(result.said)
            label = redactor.text(planned.spec.label)
            freezer.freeze(state.plan, state.fleet.build, planned.fingerprint, label, state.deadline, saver)
            if pauses.is_after(state.plan.steps, planned.spec.index):
                pause(state, "after", planned.spec.label)


def _say_cached(state: BuildState, planned: PlannedStep, total: int) -> None:
    spec, said = planned.spec, state.fleet.freezer.history.get(planned.fingerprint)
    with state.services.telemetry.step(planned.id):
        state.emit(
            Kind.STEP_CACHED, step_kind=spec.kind, label=spec.label, index=spec.index, total=total,
            span=str(spec.span), how=planned.reason, said=said,
        )  # fmt: skip
    for warning in (said or {}).get("warnings", ()):
        state.emit(Kind.NOTICE, level="warning", message=f"{spec.label}: {warning}")


def run_planned(
    state: BuildState, booted: Booted, planned: PlannedStep, total: int, saver: RestartSaver | None = None
) -> StepResult:
    """Run one of `total` steps. saver: puts the disk aside at its restarts."""
    state.deadline.check()
    return run_step(state, booted, _step_run(state, planned, total, saver))


def _step_run(state: BuildState, planned: PlannedStep, total: int, saver: RestartSaver | None) -> StepRun:
    spec = planned.spec
    return StepRun(
        id=planned.id, kind=spec.kind, label=spec.label, index=spec.index, total=total,
        step=state.planned.customizers[planned.id],
        files=[file.path for file in planned.files], span=str(spec.span), saver=saver,
    )  # fmt: skip
