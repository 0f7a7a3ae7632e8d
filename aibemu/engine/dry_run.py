"""A dry run: what a build would do is told phase by phase, and none of it is done.

It is for drivers that make no machines (`Capabilities.dry`). Nothing is written but the run's own record: no image, no
document of the local cloud, no file at a `uri` or in `--out`, no layer; and no source image is needed. What is told are
pieces that follow "would ": each command, file and decision, in the words of those who would do it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from aibemu import distributors
from aibemu.customizers import Description, run_in_it, what_it_would_do
from aibemu.engine.phases.distribute import finished_of, tools_of
from aibemu.engine.state import BuildState
from aibemu.errors import AibemuError
from aibemu.events import Kind, Phase
from aibemu.plan.model import Fetched, PlannedStep
from aibemu.systems import for_image
from aibemu.template.model import Target
from aibemu.text import counted

GIB = 1024**3
# What AIB calls it on either system; who names it may overwrite it.
DEPROVISION = "DeprovisioningScript."


def dry_run(state: BuildState, phases: Iterable[Phase] = tuple(Phase)) -> None:
    """Record of every phase, step and target that it was not run or written, and what it would do. phases: those that
    would be on this computer."""
    for phase in phases:
        state.deadline.check()
        with state.services.telemetry.phase(phase.value):
            state.emit(Kind.PHASE_NOT_RUN, would=_pieces(_WOULD[phase](state)))
            if phase is Phase.CUSTOMIZE:
                _steps(state, state.plan.steps)
            elif phase is Phase.VALIDATE:
                _steps(state, state.plan.validators)
            elif phase is Phase.DISTRIBUTE:
                _targets(state)
            state.emit(Kind.PHASE_FINISHED, status="not run", seconds=None)


def _steps(state: BuildState, steps: Sequence[PlannedStep]) -> None:
    for planned in steps:
        spec, step = planned.spec, state.planned.customizers[planned.id]
        described = step.describe()
        own = what_it_would_do(step)
        would = [*_files(planned), *(_described(described) if own is None else own)]
        if planned.cached:
            would = [f"not run it, and take what it did from a layer: {planned.reason}"]
        with state.services.telemetry.step(planned.id):
            state.emit(
                Kind.STEP_NOT_RUN, step_kind=spec.kind, label=spec.label, index=spec.index, total=len(steps),
                span=str(spec.span), remote=described.remote, source=described.source, command=described.command,
                lines=None if described.lines is None else list(described.lines), destination=described.destination,
                files=[{"uri": one.uri, "sha256": one.sha256, "size": one.size} for one in planned.files],
                would=_pieces(would),
            )  # fmt: skip


def _pieces(would: Iterable[str]) -> list[str]:
    """Of one line each, for a second one would not say that it was not done."""
    return [" ".join(piece.splitlines()) for piece in would]


def _files(planned: PlannedStep) -> Iterator[str]:
    said = ", as sha256Checksum says" if planned.spec.options.get("sha256Checksum") else ""
    for one in planned.files:
        yield f"use {_file(one)}{said}"


def _file(one: Fetched) -> str:
    return f"{one.uri}: {counted(one.size, 'byte')}, sha256 {one.sha256}"


def _described(described: Description) -> Iterator[str]:
    """Of a step that has no words of its own, as of a plugin."""
    if described.remote:
        yield f"put {described.source or 'its script'} at {described.remote}"
    if described.command:
        yield f"run: {described.command}"
    yield from run_in_it(described.lines or ())


def _targets(state: BuildState) -> None:
    for target in state.plan.targets:
        state.emit(
            Kind.OUTPUT_NOT_WRITTEN, run_output_name=target.run_output_name, target=target.kind, index=target.index,
            total=len(state.plan.targets), would=_pieces(_target(state, target)),
        )  # fmt: skip


def _target(state: BuildState, target: Target) -> list[str]:
    distributor, options = state.planned.distributors[target.kind], state.services.options.outputs
    finished = finished_of(state, target, Path(), state.plan.source.image.info)
    try:
        pieces = list(distributors.what_it_would_do(distributor, finished, target, tools_of(state)))
    except AibemuError as error:  # it would end this target, and a build goes on with the others
        pieces = [f"fail: {error.message}"]
    extra = [f"write a {form} into the folder of the run, too" for form in options.also]
    copied = [f"copy what is here of it to {options.out}"] if options.out else []
    return [*pieces, *extra, *copied, f"write its run output {target.run_output_name} into the local cloud"]


def _provision(state: BuildState) -> Iterator[str]:
    plan = state.plan
    source, shape = plan.source, plan.machine
    disk = f"{shape.disk_bytes / GIB:g} GiB" if shape.disk_bytes else "the image's size"
    firmware = shape.firmware if source.known else "the image's firmware"
    of = f"version {source.exact_version}, " if source.exact_version else ""
    image = f"{of}sha256 {source.image.digest}" if source.known else "which is not here"
    if plan.source_validation_only:
        yield f"make no machine: sourceValidationOnly validates the source image as it is, {source.source_id} ({image})"
        return
    yield f"start from {source.source_id} ({image})"
    yield (
        f"make a machine for vmSize {shape.vm_size}: {counted(shape.cpus, 'CPU')}, {shape.memory_mib} MiB, {firmware}, "
        f"a disk of {disk}"
    )
    yield from _layer(state)


def _layer(state: BuildState) -> Iterator[str]:
    plan, wish = state.plan, state.services.reuser.wish
    if not state.services.reuser.on:
        yield "boot it; layers were not looked for, as it depends on the driver which fit: --driver-option like=qemu"
    elif not (wish.warm or wish.own):
        yield "boot it, and use no layer: caching is off (CI is set, a setting, or an option)"
    elif plan.start is None:
        yield "boot it: there is no layer that fits"
    elif plan.done:
        last = plan.steps[plan.done - 1]
        how = "boot the disk of" if last.boots else "restore it from"
        yield f"{how} the layer {plan.start[:12]}, which has {counted(plan.done, 'step')}: {last.reason}"
    else:
        yield f"restore it from the layer {plan.start[:12]}, the machine as it was before the first step"


def _generalize(state: BuildState) -> Iterator[str]:
    plan = state.plan
    if plan.source_validation_only:
        return
    for planned in plan.steps:
        given = planned.spec.options
        if DEPROVISION in " ".join([str(given.get("destination") or ""), *(given.get("inline") or ())]):
            yield f"take the deprovision script as {planned.spec.label} left it, for that step names it"
    step = for_image(plan.source.image.info).deprovision(state.services.step_settings)
    own = what_it_would_do(step)
    yield from _described(step.describe()) if own is None else own
    yield "switch the machine off, and look at its disk for what is not generalised"
    if state.services.options.guest.verify_boot:
        yield "boot the image once more, as another machine"


def _validate(state: BuildState) -> Iterator[str]:
    if state.plan.validators:
        yield "boot the disk as another machine, with another host name and user, for these"


def _nothing(state: BuildState) -> Iterator[str]:
    yield from ()


_WOULD: Mapping[Phase, Callable[[BuildState], Iterator[str]]] = {
    Phase.PROVISION: _provision, Phase.CUSTOMIZE: _nothing, Phase.GENERALIZE: _generalize, Phase.VALIDATE: _validate,
    Phase.DISTRIBUTE: _nothing,
}  # fmt: skip
