"""Distribute: every target in order; one that fails does not stop the others (PartiallySucceeded)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aibemu.cloud.run_outputs import record_run_output
from aibemu.distributors import Artifact, Finished, Services
from aibemu.distributors.common import distributing
from aibemu.engine.context import RunContext
from aibemu.engine.outcome import Failure
from aibemu.errors import AibemuError, BuildCancelled, BuildTimedOut, DistributeFailed
from aibemu.events import Kind, Phase, RunSubState
from aibemu.paths import safe_name
from aibemu.template.model import Target


def distribute(ctx: RunContext) -> None:
    """Write all targets and their run outputs; raise `DistributeFailed` at the end if any failed."""
    if not ctx.plan.targets:
        ctx.skip(Phase.DISTRIBUTE)
        return
    with ctx.phase(Phase.DISTRIBUTE, RunSubState.DISTRIBUTING):
        for target in ctx.plan.targets:
            _one(ctx, target)
        # The list of run outputs is that of the last run (facts: service 2).
        ctx.ports.cloud.keep_run_outputs(ctx.plan.template_id, [t.run_output_name for t in ctx.plan.targets])
        if ctx.failures:
            first = ctx.failures[0]
            raise DistributeFailed(
                f"{len(ctx.failures)} of {len(ctx.plan.targets)} targets could not be written: {first.name}: "
                f"{first.error.message}",
                details=first.error.details,
                hint=first.error.hint,
                span=ctx.plan.targets[first.index].span,
            )


def _one(ctx: RunContext, target: Target) -> None:
    started = ctx.ports.clock.monotonic()
    name = target.run_output_name
    ctx.emit(
        Kind.OUTPUT_STARTED, run_output_name=name, target=target.kind, index=target.index, total=len(ctx.plan.targets)
    )
    try:
        with distributing(target):  # also what comes after the distributor: `--also`, the run output
            artifact = _write(ctx, target)
    except (BuildCancelled, BuildTimedOut):
        raise
    except AibemuError as error:
        ctx.failures.append(Failure(index=target.index, name=name, error=error))
        ctx.emit(
            Kind.OUTPUT_FINISHED, run_output_name=name, target=target.kind, status="failed", artifact=None, paths=[],
            seconds=ctx.ports.clock.monotonic() - started, error=error.message,
        )  # fmt: skip
        return
    ctx.artifacts.append(artifact)
    for note in artifact.notes:
        ctx.emit(Kind.NOTICE, level="note", message=f"{name}: {note}")
    ctx.emit(
        Kind.OUTPUT_FINISHED, run_output_name=name, target=target.kind, status="ok",
        artifact=artifact.artifact_id or artifact.artifact_uri, paths=[str(path) for path in artifact.paths],
        seconds=ctx.ports.clock.monotonic() - started, error=None,
    )  # fmt: skip


def _write(ctx: RunContext, target: Target) -> Artifact:
    ports = ctx.ports
    services = services_of(ctx)
    finished = _finished(ctx, target)
    artifact = ports.distributor(target.kind).distribute(finished, target, services, ctx.deadline)
    extra = _also(ctx, finished.out, finished.disk, target)
    if extra:
        artifact = replace(artifact, paths=(*artifact.paths, *extra))
    record_run_output(ports.cloud, ctx.plan.template_id, artifact, target)
    return artifact


def services_of(ctx: RunContext) -> Services:
    """What distributors may use."""
    ports = ctx.ports
    return Services(
        cloud=ports.cloud, store=ports.store, clock=ports.clock, directory=ports.template_directory,
        say=lambda text: ctx.emit(Kind.NOTICE, level="note", message=text),
        first_version=ports.settings.empty_gallery_version,
    )  # fmt: skip


def _finished(ctx: RunContext, target: Target) -> Finished:
    plan, ports = ctx.plan, ctx.ports
    assert ctx.disk is not None
    info = replace(
        plan.source.image.info, generalized=True, origin=f"run {ports.run.id} output {target.run_output_name}"
    )
    return Finished(
        disk=ctx.disk, info=info, run_id=ports.run.id, template_id=plan.template_id, template_name=plan.template.name,
        api_version=plan.template.api_version, location=plan.template.location, staging_group=plan.staging_group,
        out=ports.run.outputs / safe_name(target.run_output_name), source_version=plan.source.exact_version,
        tags=plan.template.tags,
    )  # fmt: skip


def _also(ctx: RunContext, out: Path, disk: Path, target: Target) -> list[Path]:
    """`--also qcow2`: a qcow2 beside whatever the target is."""
    from aibemu.distributors.qcow2 import write_qcow2

    paths = []
    for extra in ctx.ports.also:
        path = out / f"{safe_name(target.run_output_name)}.{extra}"
        write_qcow2(disk, path, compressed=ctx.ports.compress, deadline=ctx.deadline)
        paths.append(path)
    return paths
