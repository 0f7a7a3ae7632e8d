"""Distribute: the targets side by side; one that fails does not stop the others (PartiallySucceeded).

Targets that write to the same place are a lane: they go one after the other, in the template's order. A cancel, the
build's timeout or a bug ends all lanes, and the phase ends when the last thread has.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path

from aibemu.clock import CancelToken, Deadline
from aibemu.distributors import Artifact, DistributorTools, FinishedImage
from aibemu.distributors.common import distributing
from aibemu.distributors.run_outputs import record_run_output
from aibemu.engine.outcome import Failure
from aibemu.engine.state import BuildState
from aibemu.errors import AibemuError, BuildCancelled, BuildTimedOut, DistributeFailed
from aibemu.events import Kind, Phase, RunSubState
from aibemu.images import ImageInfo
from aibemu.images.windows_look import refreshed
from aibemu.paths import safe_name
from aibemu.template.model import Target

# Lanes at once: more would only share out the same disk.
LANES = 4
# Seconds between two looks at the deadline; real ones, for a clock of tests may not let any pass.
_LOOK_EVERY = 0.05

Result = Artifact | Failure


def distribute(state: BuildState) -> None:
    """Write all targets and their run outputs; raise `DistributeFailed` at the end if any failed."""
    if not state.plan.targets:
        state.skip(Phase.DISTRIBUTE)
        return
    with state.phase(Phase.DISTRIBUTE, RunSubState.DISTRIBUTING):
        _write_all(state)
        # The list of run outputs is that of the last run (facts: service 2).
        names = [target.run_output_name for target in state.plan.targets]
        state.services.stores.cloud.keep_run_outputs(state.plan.template_id, names)
        if state.end.failures:
            first = state.end.failures[0]
            raise DistributeFailed(
                f"{len(state.end.failures)} of {len(state.plan.targets)} targets could not be written: {first.name}: "
                f"{first.error.message}",
                details=first.error.details,
                hint=first.error.hint,
                span=state.plan.targets[first.index].span,
            )


def _write_all(state: BuildState) -> None:
    """Write the targets; what came of each is in the context in the template's order, whichever was ready first."""
    lanes: dict[tuple[str, str], list[Target]] = {}
    for target in state.plan.targets:
        place = state.planned.distributors[target.kind].writes_to(target)
        lanes.setdefault((target.kind, place), []).append(target)
    tools, results = tools_of(state), dict[int, Result]()
    try:
        if len(lanes) == 1:
            _lane(state, state.plan.targets, tools, state.deadline, results)
        else:
            _side_by_side(state, list(lanes.values()), tools, results)
    finally:
        for _, result in sorted(results.items()):
            if isinstance(result, Failure):
                state.end.failures.append(result)
            else:
                state.end.artifacts.append(result)


def _side_by_side(
    state: BuildState, lanes: Sequence[Sequence[Target]], tools: DistributorTools, results: dict[int, Result]
) -> None:
    """Each lane in a thread, a few at a time; no thread is left afterwards. What ended them all is raised: a bug rather
    than the cancel that it was to the others."""
    stop = CancelToken()
    deadline = replace(state.deadline, cancel=stop)
    pool = ThreadPoolExecutor(min(LANES, len(lanes)), thread_name_prefix="distribute")
    futures: list[Future[None]] = []
    errors: list[BaseException] = []
    try:
        for lane in lanes:
            futures.append(pool.submit(copy_context().run, _lane, state, lane, tools, deadline, results))
        state.deadline.poll(lambda: _over(futures), every=0)
    except BaseException as error:  # noqa: BLE001 - raised below, when the threads have ended
        errors.append(error)
    stop.cancel(state.deadline.cancel.reason if state.deadline.cancel else "another target ended the build")
    errors += _ended(pool, futures)
    if errors:
        raise next((error for error in errors if not isinstance(error, BuildCancelled)), errors[0])


def _over(futures: Sequence[Future[None]]) -> bool:
    done, waiting = wait(futures, timeout=_LOOK_EVERY, return_when=FIRST_EXCEPTION)
    return not waiting or any(future.exception() for future in done)


def _ended(pool: ThreadPoolExecutor, futures: Sequence[Future[None]]) -> list[BaseException]:
    """Wait for the threads, which have been told to stop; what they raised. An impatient Ctrl-C comes first in it, but
    ends no wait: a thread that were left would write where everything is being cleaned up."""
    pool.shutdown(wait=False, cancel_futures=True)
    begun = [future for future in futures if not future.cancelled()]
    interrupts: list[BaseException] = []
    while True:
        try:
            wait(begun)
            pool.shutdown()
            break
        except KeyboardInterrupt as interrupt:
            interrupts.append(interrupt)
    return [*interrupts, *(error for future in begun if (error := future.exception()))]


def _lane(
    state: BuildState,
    targets: Sequence[Target],
    tools: DistributorTools,
    deadline: Deadline,
    results: dict[int, Result],
) -> None:
    for target in targets:
        results[target.index] = _one(state, target, tools, deadline)


def _one(state: BuildState, target: Target, tools: DistributorTools, deadline: Deadline) -> Result:
    """Write one target; its own failure is a result, what ends the build is raised, and the record has its end."""
    started = state.services.clock.monotonic()
    name = target.run_output_name
    state.emit(
        Kind.OUTPUT_STARTED, run_output_name=name, target=target.kind, index=target.index, total=len(state.plan.targets)
    )

    def failed(why: str) -> None:
        state.emit(
            Kind.OUTPUT_FINISHED, run_output_name=name, target=target.kind, status="failed", artifact=None, paths=[],
            seconds=state.services.clock.monotonic() - started, error=why,
        )  # fmt: skip

    try:
        with distributing(target):  # also what comes after the distributor: `--also`, the run output
            artifact = _write(state, target, tools, deadline)
    except BaseException as error:
        failed(error.message if isinstance(error, AibemuError) else f"{type(error).__name__}: {error}".rstrip(": "))
        if not isinstance(error, AibemuError) or isinstance(error, BuildCancelled | BuildTimedOut):
            raise
        return Failure(index=target.index, name=name, error=error)
    for note in artifact.notes:
        state.emit(Kind.NOTICE, level="note", message=f"{name}: {note}")
    state.emit(
        Kind.OUTPUT_FINISHED, run_output_name=name, target=target.kind, status="ok",
        artifact=artifact.artifact_id or artifact.artifact_uri, paths=[str(path) for path in artifact.paths],
        seconds=state.services.clock.monotonic() - started, error=None,
    )  # fmt: skip
    return artifact


def _write(state: BuildState, target: Target, tools: DistributorTools, deadline: Deadline) -> Artifact:
    services = state.services
    finished = _finished(state, target)
    artifact = state.planned.distributors[target.kind].distribute(finished, target, tools, deadline)
    extra = _also(state, finished, target, deadline)
    if extra:
        artifact = replace(artifact, paths=(*artifact.paths, *extra))
    record_run_output(services.stores.cloud, state.plan.template_id, artifact, target)
    return artifact


def tools_of(state: BuildState) -> DistributorTools:
    """What the distributors of one run may use, all of them the same."""
    services = state.services
    return DistributorTools(
        cloud=services.stores.cloud, store=services.stores.images, clock=services.clock,
        directory=Path(state.plan.template.directory),
        say=lambda text: state.emit(Kind.NOTICE, level="note", message=text),
        first_version=services.settings.empty_gallery_version, redactor=services.redactor,
    )  # fmt: skip


def _finished(state: BuildState, target: Target) -> FinishedImage:
    assert state.disk is not None
    known = state.plan.source.image.info
    if known.windows is not None:
        known = refreshed(known, state.disk, state.deadline)
    if known.linux is not None:  # its drivers are what matters, and a build changes them seldom
        known = replace(known, linux=replace(known.linux, traces=(), seen_in=state.plan.source.image.short))
    return finished_of(state, target, state.disk, known)


def finished_of(state: BuildState, target: Target, disk: Path, known: ImageInfo) -> FinishedImage:
    """The finished image as a target gets it. known: what is known of its source, by now."""
    plan, services = state.plan, state.services
    info = replace(known, generalized=True, origin=f"run {services.run.id} output {target.run_output_name}")
    return FinishedImage(
        disk=disk, info=info, run_id=services.run.id, template_id=plan.template_id,
        template_name=plan.template.name,
        api_version=plan.template.api_version, location=plan.template.location, staging_group=plan.staging_group,
        out=services.run.outputs / safe_name(target.run_output_name), source_version=plan.source.exact_version,
        tags=plan.template.tags, digest=state.digest,
    )  # fmt: skip


def _also(state: BuildState, finished: FinishedImage, target: Target, deadline: Deadline) -> list[Path]:
    """`--also qcow2`: a qcow2 beside whatever the target is."""
    from aibemu.distributors.qcow2 import write_qcow2

    paths = []
    for extra in state.services.options.outputs.also:
        path = finished.out / f"{safe_name(target.run_output_name)}.{extra}"
        write_qcow2(finished.disk, path, compressed=state.services.options.outputs.compress, deadline=deadline)
        paths.append(path)
    return paths
