"""Cleaning up after runs that died: the next command finds what they left, removes it and says so.

A run is dead when nobody holds its lock and its record does not say how it ended. Its machines are found by the driver
from their own directories; partial files of its outputs go; the record gets its end, so that the fold is complete.
What dead processes half wrote elsewhere (images, cloud, cache) says in its name whose it was, and goes too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from aibemu.clock import Clock
from aibemu.errors import AibemuError, ProvisionFailed
from aibemu.events import Event, Kind, Phase, RunState
from aibemu.fabric.handle import Platform
from aibemu.files import PARTIAL, is_being_written, is_partial, partial_pattern, remove
from aibemu.hypervisor import HypervisorDriver
from aibemu.paths import Home
from aibemu.reports.fold import fold
from aibemu.runs.admission import forget
from aibemu.runs.drivers import driver_of
from aibemu.runs.store import Life, Run, RunStore
from aibemu.telemetry import Telemetry

DIED = "the process that built this run died; what it left was removed"


def sweep(home: Home, clock: Clock) -> list[str]:
    """Clean every dead run; one sentence for each thing found and removed."""
    said: list[str] = []
    for run in RunStore(home.runs).runs():
        said += _clean_dead(run, home, clock)
    for path in home.runs.glob(".new-*") if home.runs.is_dir() else ():
        said += _forgiving(lambda path=path: _clean_newborn(path), f"the half-made run {path}")  # type: ignore[misc]
    said += _forgiving(lambda: _clean_images(home, clock), f"the images in {home.images}")
    said += _forgiving(lambda: _clean_layers(home), f"the layers in {home.layers}")
    return said + _forgiving(lambda: _clean_files(home), "half-written files")


def _forgiving(clean: Callable[[], list[str]], what: str) -> list[str]:
    """What cannot be cleaned (a full disk, another user's files) must not end the command that a person typed; the next
    one tries again."""
    try:
        return clean()
    except AibemuError as error:
        return [f"{what} could not be cleaned up: {error.message}"]
    except OSError as error:
        return [f"{what} could not be cleaned up: {error}"]


def _clean_dead(run: Run, home: Home, clock: Clock) -> list[str]:
    """Only who has got its lock knows that it died."""
    lock = run.lock
    try:
        if run.finished() or not lock.acquire(blocking=False):
            return []
    except OSError as error:
        life, why = run.life(), f"{error.strerror}: {error.filename}"
        if life is Life.OVER:
            return [f"run {run.id} is not being built any more, and was not cleaned up: {why}"]
        if life is Life.BUILDING:
            return []
        return [f"run {run.id} was left alone: whether it still runs cannot be told here ({why})"]
    try:
        if run.finished():
            return []
        return _forgiving(lambda: _clean(run, home, clock), f"run {run.id} had died, and")
    finally:
        lock.release()


def _clean_newborn(path: Path) -> list[str]:
    lock = Run(path).lock
    if not lock.acquire(blocking=False):
        return []
    remove(path)
    lock.release()
    return []


def _clean_images(home: Home, clock: Clock) -> list[str]:
    from aibemu.images.store import ImageStore

    gone = ImageStore(home.images, clock).sweep() if home.images.is_dir() else []
    return [f"removed a half-stored image of a process that died: {path}" for path in gone]


def _clean_layers(home: Home) -> list[str]:
    """After the dead runs, whose machines had links of such files. A run that lives may be making one."""
    if not home.layers.is_dir() or any(run.alive() for run in RunStore(home.runs).runs()):
        return []
    from aibemu.layers.store import LayerStore

    freed = sum(LayerStore(home.layers).sweep(wait=False).values())
    return [f"removed files that belonged to no layer: {freed >> 10} KiB in {home.layers}"] if freed else []


def _clean_files(home: Home) -> list[str]:
    found = [path for folder in (home.images, home.cloud, home.cache, home.layers) for path in _orphans(folder)]
    for path in found:
        remove(path)
    return [f"removed a half-written file of a process that died: {path}" for path in found]


def _orphans(folder: Path) -> Iterator[Path]:
    """Temporary files whose process is gone; partial downloads, which are continued later, have other names."""
    for path in folder.rglob(f".*{PARTIAL}"):
        if is_partial(path) and not is_being_written(path):
            yield path


def _clean(run: Run, home: Home, clock: Clock) -> list[str]:
    events = list(run.events())
    found = destroy_machines(run, driver_of(fold(events), home))
    partial = [path for path in run.directory.rglob(f".*{PARTIAL}") if path.is_file()]
    partial += _partial_outside(events)
    for path in partial:
        remove(path)
        found.append(f"the half-written file {path}")
    remove(run.work)
    _record_end(run, events, found, clock)
    what = ", ".join(found) if found else "nothing was left of it"
    return [f"run {run.id} had died: cleaned up {what}"]


def destroy_machines(run: Run, driver: HypervisorDriver | None) -> list[str]:
    """Destroy every machine that is recorded under the run, and what the driver finds of others; say which."""
    said = []
    for directory in sorted(run.machines.iterdir()) if run.machines.is_dir() else ():
        try:
            machine = driver.find(directory) if driver else None
        except ProvisionFailed as error:
            said.append(f"the unreadable record of machine {run.id}-{directory.name} ({error.message})")
        else:
            if machine is not None:
                machine.destroy()
            said.append(f"machine {run.id}-{directory.name}")
        remove(directory)
    for left in driver.list(run.id) if driver else ():  # its directory was deleted, and it still runs
        left.destroy()
        said.append(f"machine {left.id}, whose directory was gone")
    remove(run.machines)
    forget(run)
    return said + _stop_platforms(run)


def _stop_platforms(run: Run) -> list[str]:
    """End what is left of the machines' platforms; one without a process is not worth a word."""
    said = []
    for platform in Platform.below(run.platform):
        if platform.alive():
            said.append(f"the platform of machine {run.id}-{platform.directory.name}")
        platform.stop()
    remove(run.platform)
    return said


def _partial_outside(events: list[Event]) -> list[Path]:
    """Half-written copies in folders of the user's: beside each path that a target was to write."""
    started = next((event for event in events if event.kind is Kind.RUN_STARTED), None)
    pid = started.fields.get("pid") if started else None
    if started is None or not isinstance(pid, int):
        return []
    found: list[Path] = []
    for target in started.fields.get("targets", ()):
        if path := target.get("path"):
            found += Path(path).parent.glob(partial_pattern(Path(path).name, pid))
    # By now the pid may be another process's, which may write to the same place.
    return [path for path in found if not is_being_written(path)]


def _end_what_ran(events: list[Event], telemetry: Telemetry) -> None:
    """End the output, step and phase that the record leaves open, or they would be shown as running for ever."""
    summary = fold(events)
    for output in summary.outputs:
        if output.status == "running":
            with telemetry.phase(Phase.DISTRIBUTE.value):
                telemetry.emit(
                    Kind.OUTPUT_FINISHED, run_output_name=output.run_output_name, status="failed", artifact=None,
                    paths=[], seconds=None, error=DIED,
                )  # fmt: skip
    for step in summary.steps:
        if step.status == "running":
            with telemetry.phase(step.phase), telemetry.step(step.id):
                telemetry.emit(Kind.STEP_FINISHED, status="cancelled", exit_code=None, seconds=None, error=DIED)
    for phase in summary.phases:
        if phase.status == "running":
            with telemetry.phase(phase.name):
                seconds = _seconds_between(phase.started, events[-1].at)
                telemetry.emit(Kind.PHASE_FINISHED, status="failed", seconds=seconds)


def _seconds_between(began: str | None, last: str) -> float | None:
    """As far as the record tells: until its last event."""
    if began is None:
        return None
    return max(0.0, (datetime.fromisoformat(last) - datetime.fromisoformat(began)).total_seconds())


def _record_end(run: Run, events: list[Event], found: list[str], clock: Clock) -> None:
    from aibemu.redact import Redactor
    from aibemu.views.ndjson import NdjsonView

    if not events:
        remove(run.directory)
        return
    view = NdjsonView(run.events_file)
    telemetry = Telemetry(run.id, [view], clock, Redactor(()), first=events[-1].seq + 1)
    _end_what_ran(events, telemetry)
    for what in found:
        telemetry.emit(Kind.CLEANED, what=what, detail=DIED)
    commands = [] if fold(events).dry_run else [f"aibemu resume {run.id}"]
    error: dict[str, object] = {"code": "DIED", "message": DIED, "hint": None, "details": [], "commands": commands}
    seconds = _seconds_between(events[0].at, events[-1].at)
    telemetry.emit(
        Kind.RUN_FINISHED, state=RunState.FAILED.value, sub_state="", message=DIED, error=error, seconds=seconds
    )  # fmt: skip
    view.close()
