"""Provision: restore the build machine from a layer, or boot it from the source and prepare it for the last step.

A machine that booted is frozen: it is what later builds of this source start from.
"""

from __future__ import annotations

from aibemu.engine.machines.fleet import BUILD
from aibemu.engine.machines.freezing import LayerUseless
from aibemu.engine.outcome import TIMEOUT_TOO_SHORT
from aibemu.engine.phases.steps import finish_restart
from aibemu.engine.state import BuildState
from aibemu.errors import FreezeFailed, ProvisionFailed
from aibemu.events import Kind, Phase, RunSubState
from aibemu.layers import Layer

# The service's token for Packer lives as long as the build may, and Packer wants five minutes (facts: service 3).
LEAST_TIMEOUT_MINUTES = 6
# What the first layer is called.
PROVISIONED = "provisioned"


class TimeoutTooShort(ProvisionFailed):
    """buildTimeoutInMinutes 1 to 5: accepted at submission, fails at run, as the service does."""

    code = "TIMEOUT_TOO_SHORT"


def provision(state: BuildState) -> None:
    """Leave `state.fleet.build` ready. Nothing to boot when only the source is validated."""
    if state.plan.source_validation_only:
        state.skip(Phase.PROVISION)
        return
    with state.phase(Phase.PROVISION, RunSubState.BUILDING):
        if 0 < state.plan.template.build_timeout_minutes < LEAST_TIMEOUT_MINUTES:
            raise TimeoutTooShort(
                TIMEOUT_TOO_SHORT.splitlines()[0],
                details=TIMEOUT_TOO_SHORT.splitlines()[2:],
                hint=f"set buildTimeoutInMinutes to 0 (240 minutes) or to at least {LEAST_TIMEOUT_MINUTES}",
            )
        if _from_layer(state):
            return
        image = state.plan.source.image
        build = state.fleet.boot("build", image.path, state.planned, state.deadline)
        build.system.after_boot(build.communicator, state.deadline)
        freezer = state.fleet.freezer
        freezer.begin(state.plan, build.first_boot)
        freezer.freeze(state.plan, build, state.plan.root, PROVISIONED, state.deadline)
        freezer.note_restarts(build, [state.planned.customizers[step.id] for step in state.plan.steps])


def _from_layer(state: BuildState) -> bool:
    """Try the layer that the plan starts from; where that fails, the next best. Only one that is of no use to anybody
    is forgotten: a full disk, or a host that is too busy, says nothing about it."""
    left_out: set[str] = set()
    while start := state.plan.start:
        layer = state.fleet.freezer.layer(start)
        if layer is not None and _restored(state, layer):
            return True
        left_out.add(start)
        state.planned = state.choose(state.planned, left_out)
    return False


def _restored(state: BuildState, layer: Layer) -> bool:
    try:
        state.fleet.restore(layer, state.planned, state.deadline)
        if layer.boots:
            _finish_restart(state, layer)
    except FreezeFailed as error:
        useless = isinstance(error, LayerUseless)
        what = "it is deleted" if useless else "this build does without it"
        state.emit(Kind.NOTICE, level="warning", message=f"{error.message}; {what}")
        if useless:
            state.services.stores.layers.discard(layer)
        return False
    state.fleet.freezer.recall(state.plan, layer)
    state.services.stores.layers.used(layer, state.services.clock.now())
    return True


def _finish_restart(state: BuildState, layer: Layer) -> None:
    """`LayerUseless`, and no machine, when the step that made the layer does not end well."""
    try:
        finish_restart(state, state.planned.customizers[state.plan.steps[state.plan.done - 1].id])
    except FreezeFailed as error:
        state.fleet.release(BUILD)
        raise LayerUseless(
            f"the layer {layer.label!r} of run {layer.run} could not be used: {error.message}"
        ) from error
