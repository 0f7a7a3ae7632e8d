"""Validate: the in-VM validations, on a second machine booted from the generalised image with another identity.

A failed validation always fails the run; `continueDistributeOnFailure` only lets distribution happen nevertheless
(facts: service 2). With `sourceValidationOnly` the source itself is validated.
"""

from __future__ import annotations

from aibemu.engine.phases.customize import run_planned
from aibemu.engine.state import BuildState
from aibemu.errors import ValidationFailed
from aibemu.events import Kind, Phase, RunSubState


def validate(ctx: BuildState) -> None:
    """Raise `ValidationFailed`, or note it in the context when distribution shall go on."""
    if not ctx.plan.validators:
        ctx.skip(Phase.VALIDATE)
        return
    try:
        with ctx.phase(Phase.VALIDATE, RunSubState.VALIDATING):
            _validate(ctx)
    except ValidationFailed as error:
        if not ctx.plan.template.validate.continue_distribute_on_failure or ctx.plan.source_validation_only:
            raise
        ctx.end.validation_error = error
        ctx.emit(Kind.NOTICE, level="warning", message="validation failed; distributing nevertheless, as asked")


def _validate(ctx: BuildState) -> None:
    assert ctx.disk is not None
    machine = ctx.fleet.boot("validate", ctx.disk, ctx.planned, ctx.deadline)
    for planned in ctx.plan.validators:
        outcome = run_planned(ctx, machine, planned, len(ctx.plan.validators)).outcome
        if outcome.error:
            raise ValidationFailed(
                f"validation {planned.spec.label} failed: {outcome.error}",
                hint=outcome.hint,
                span=planned.spec.span,
                commands=[f"aibemu logs {ctx.services.run.id} --validation"],
            )
    ctx.fleet.release("validate")
