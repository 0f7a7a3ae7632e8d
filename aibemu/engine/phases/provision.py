"""Provision: restore the build machine from a layer, or boot it from the source and prepare it for the last step.

A machine that booted is frozen: it is what later builds of this source start from.
"""

from __future__ import annotations

from aibemu.engine.machines.freezing import LayerUseless
from aibemu.engine.outcome import TIMEOUT_TOO_SHORT
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


def provision(ctx: BuildState) -> None:
    """Leave `ctx.fleet.build` ready. Nothing to boot when only the source is validated."""
    if ctx.plan.source_validation_only:
        ctx.skip(Phase.PROVISION)
        return
    with ctx.phase(Phase.PROVISION, RunSubState.BUILDING):
        if 0 < ctx.plan.template.build_timeout_minutes < LEAST_TIMEOUT_MINUTES:
            raise TimeoutTooShort(
                TIMEOUT_TOO_SHORT.splitlines()[0],
                details=TIMEOUT_TOO_SHORT.splitlines()[2:],
                hint=f"set buildTimeoutInMinutes to 0 (240 minutes) or to at least {LEAST_TIMEOUT_MINUTES}",
            )
        if _from_layer(ctx):
            return
        image = ctx.plan.source.image
        build = ctx.fleet.boot("build", image.path, ctx.planned, ctx.deadline)
        build.system.after_boot(build.communicator, ctx.deadline)
        freezer = ctx.fleet.freezer
        freezer.begin(ctx.plan, build.first_boot)
        freezer.freeze(ctx.plan, build, ctx.plan.root, PROVISIONED, ctx.deadline)


def _from_layer(ctx: BuildState) -> bool:
    """Try the layer that the plan starts from; where that fails, the next best. Only one that is of no use to anybody
    is forgotten: a full disk, or a host that is too busy, says nothing about it."""
    left_out: set[str] = set()
    while start := ctx.plan.start:
        layer = ctx.fleet.freezer.layer(start)
        if layer is not None and _restored(ctx, layer):
            return True
        left_out.add(start)
        ctx.planned = ctx.choose(ctx.planned, left_out)
    return False


def _restored(ctx: BuildState, layer: Layer) -> bool:
    try:
        ctx.fleet.restore(layer, ctx.planned, ctx.deadline)
    except FreezeFailed as error:
        useless = isinstance(error, LayerUseless)
        what = "it is deleted" if useless else "this build does without it"
        ctx.emit(Kind.NOTICE, level="warning", message=f"{error.message}; {what}")
        if useless:
            ctx.services.stores.layers.discard(layer)
        return False
    ctx.fleet.freezer.recall(ctx.plan, layer)
    ctx.services.stores.layers.used(layer, ctx.services.clock.now())
    return True
