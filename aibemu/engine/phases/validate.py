"""Validate: the in-VM validations, on a second machine booted from the generalised image with another identity.

A failed validation always fails the run; `continueDistributeOnFailure` only lets distribution happen nevertheless
(facts: service 2). With `sourceValidationOnly` the source itself is validated.
"""

from __future__ import annotations

from aibemu.engine.phases.customize import run_planned
from aibemu.engine.state import BuildState
from aibemu.errors import ValidationFailed
from aibemu.events import Kind, Phase, RunSubState


def validate(state: BuildState) -> None:
    """Raise `ValidationFailed`, or note it in the context when distribution shall go on."""
    if not state.plan.validators:
        state.skip(Phase.VALIDATE)
        return
    try:
        with state.phase(Phase.VALIDATE, RunSubState.VALIDATING):
            _validate(state)
    except ValidationFailed as error:
        if not state.plan.template.validate.continue_distribute_on_failure or state.plan.source_validation_only:
            raise
        state.end.validation_error = error
        state.emit(Kind.NOTICE, level="warning", message="validation failed; distributing nevertheless, as asked")


def _validate(state: BuildState) -> None:
    assert state.disk is not None
    machine = state.fleet.boot("validate", state.disk, state.planned, state.deadline)
    for planned in state.plan.validators:
        outcome = run_planned(state, machine, planned, len(state.plan.validators)).outcome
        if outcome.error:
            raise ValidationFailed(
                f"validation {planned.spec.label} failed: {outcome.error}",
                hint=outcome.hint,
                span=planned.spec.span,
                commands=[f"aibemu logs {state.services.run.id} --validation"],
            )
    state.fleet.release("validate")
