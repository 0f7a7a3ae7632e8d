"""Cleaning up after runs that died: the next command finds what they left, removes it and says so.

A run is dead when nobody holds its lock and its record does not say how it ended. Its machines are found by the driver
from their own directories; partial files of its outputs go; the record gets its end, so that the fold is complete.
What dead processes half wrote elsewhere (images, cloud, cache) says in its name whose it was, and goes too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from aibemu.clock import Clock
from aibemu.errors import AibemuError, ProvisionFailed
from aibemu.events import Event, Kind, Phase, RunState
from aibemu.fabric.handle import Platform
from aibemu.files import PARTIAL, is_being_written, partial_pattern, remove
from aibemu.hypervisor import HypervisorDriver
from aibemu.paths import Home
from aibemu.records import DamagedFile, open_regular, read_json, set_aside
from aibemu.reports.fold import LAST_LINES, fold
from aibemu.runs.admission import forget
from aibemu.runs.drivers import driver_of, make_driver
from aibemu.runs.leftovers import Suspects, find_suspects
from aibemu.runs.out import half_copied
from aibemu.runs.store import Life, Run, RunStore
from aibemu.telemetry import Telemetry

DIED = "the process that built this run died; what it left was removed"


def sweep(home: Home, clock: Clock, suspects: Suspects | None = None, *, left_alone: bool = True) -> list[str]:
    """Clean what dead runs and other dead processes left; a sentence for each thing found and removed.

    suspects: what `find_suspects` gave, if it was asked. left_alone: say too which runs may not be touched.
    """
    found = suspects or find_suspects(home)
    said: list[str] = []
    for run in found.runs:
        cleaned, alone = _clean_dead(run, home, clock)
        said += cleaned + (alone if left_alone else [])
    for path in found.newborn:
        said += _forgiving(lambda path=path: _clean_newborn(path), f"the half-made run {path}")  # type: ignore[misc]
    if found.images:
        said += _forgiving(lambda: _clean_images(home, clock), f"the images in {home.images}")
    # After the dead runs, whose machines had links of such files.
    if found.layers or (found.runs and home.layers.is_dir()):
        said += _forgiving(lambda: _clean_layers(home), f"the layers in {home.layers}")
    return said + _forgiving(lambda: _clean_files(found), "half-written files")


def _forgiving(clean: Callable[[], list[str]], what: str) -> list[str]:
    """What cannot be cleaned (a full disk, another user's files) must not end the command that a person typed; the next
    one tries again."""
    try:
        return clean()
    except (AibemuError, OSError) as error:
        why = error.message if isinstance(error, AibemuError) else error
        return [f"{what} could not be cleaned up: {why}"]


def _clean_dead(run: Run, home: Home, clock: Clock) -> tuple[list[str], list[str]]:
    """What was done, and why it was left alone. Only who has got its lock knows that it died."""
    lock = run.lock
    try:
        _set_aside_unless_file(lock.path)
        if not lock.acquire(blocking=False):
            return [], []
    except OSError as error:
        return [], _left_alone(run, error)
    try:
        if _is_anothers(run):
            return [], []
        finished = run.finished()
        return _forgiving(lambda: _clean_unended(run, home, clock, finished), f"run {run.id} had died, and"), []
    except OSError as error:  # who knows how it ended
        return [], [_not_cleaned(run, error)]
    finally:
        lock.release()


def _left_alone(run: Run, error: OSError) -> list[str]:
    """What is said of a run whose lock cannot be opened."""
    life = run.life()
    if life is Life.BUILDING or _is_anothers(run) or (life is Life.OVER and run.finished()):
        return []
    if life is Life.OVER:
        return [_not_cleaned(run, error)]
    known = f"run {run.id} was left alone: whether it still runs cannot be told here"
    return [f"{known} ({error.strerror}: {error.filename})"]


def _not_cleaned(run: Run, error: OSError) -> str:
    return f"run {run.id} is not being built any more, and was not cleaned up: {error.strerror}: {error.filename}"


def _is_anothers(run: Run) -> bool:
    """Another user's, who will be told: nothing is known of it here."""
    try:
        return run.events_file.exists() and not os.access(run.events_file, os.R_OK | os.W_OK)
    except OSError:
        return True


def _clean_unended(run: Run, home: Home, clock: Clock, finished: bool) -> list[str]:
    """A run that nobody builds, and that is not noted as ended: dead, or killed after its record had its end."""
    said = _clean_after_end(run) if finished else _clean(run, home, clock)
    if run.directory.is_dir():
        run.note_end()
    return said


def _set_aside_unless_file(path: Path) -> None:
    try:
        if path.is_symlink():
            raise DamagedFile(path, "it is a link, not a file")
        if found := open_regular(path):
            found.close()
    except DamagedFile as error:
        set_aside(error)
    except OSError:  # another user's
        return


def _clean_after_end(run: Run) -> list[str]:
    """Its build was over; the process may have died when it copied what it had made."""
    found = _removed(half_copied(run))
    return [f"run {run.id} had died while it copied its outputs: cleaned up {', '.join(found)}"] if found else []


def _clean_newborn(path: Path) -> list[str]:
    lock = Run(path).lock
    if not lock.acquire(blocking=False):
        return []
    remove(path)
    lock.release()
    return []


def _clean_images(home: Home, clock: Clock) -> list[str]:
    from aibemu.images.store import ImageStore

    gone = ImageStore(home.images, clock).sweep()
    return [f"removed a half-stored image of a process that died: {path}" for path in gone]


def _clean_layers(home: Home) -> list[str]:
    """A run that lives may be making one."""
    if any(run.alive() for run in RunStore(home.runs).runs() if not run.ended_file.exists()):
        return []
    from aibemu.layers.store import LayerStore

    freed = sum(LayerStore(home.layers).sweep(wait=False).values())
    return [f"removed files that belonged to no layer: {freed >> 10} KiB in {home.layers}"] if freed else []


def _clean_files(found: Suspects) -> list[str]:
    # Another command may have been faster.
    gone = [path for path in found.files if path.is_symlink() or path.exists()]
    for path in (*gone, *found.folders):
        remove(path)
    return [f"removed a half-written file of a process that died: {path}" for path in gone]


def _clean(run: Run, home: Home, clock: Clock) -> list[str]:
    events = list(run.outline(LAST_LINES))
    found = destroy_machines(run, _driver(run, events, home))
    partial = [path for path in run.directory.rglob(f".*{PARTIAL}") if path.is_file()]
    found += _removed([*partial, *_partial_outside(events), *half_copied(run)])
    remove(run.work)
    _record_end(run, events, found, clock)
    what = f"cleaned up {', '.join(found)}" if found else "it had left nothing to clean up"
    return [f"run {run.id} had died: {what}"]


def _removed(paths: Iterable[Path]) -> list[str]:
    found = []
    for path in dict.fromkeys(paths):
        remove(path)
        found.append(f"the half-written file {path}")
    return found


def _driver(run: Run, events: list[Event], home: Home) -> HypervisorDriver | None:
    """The driver that the record names; where that part of it is damaged, the one that a machine's own record names."""
    summary = fold(events)
    if not summary.driver and run.machines.is_dir():
        for record in sorted(run.machines.glob("*/machine.json")):
            with contextlib.suppress(OSError, ValueError):
                value = read_json(record)
                if isinstance(value, dict) and isinstance(value.get("driver"), str):
                    return make_driver(value["driver"], {}, home)
    return driver_of(summary, home)


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
                took = _seconds_between(phase.started, events[-1].at)
                telemetry.emit(Kind.PHASE_FINISHED, status="failed", seconds=took)


def _seconds_between(began: str | None, last: str) -> float | None:
    """As far as the record tells: until its last event."""
    try:
        return max(0.0, (datetime.fromisoformat(last) - datetime.fromisoformat(began or "")).total_seconds())
    except (ValueError, TypeError):  # it did not begin, or the record is damaged
        return None


def _record_end(run: Run, events: list[Event], found: list[str], clock: Clock) -> None:
    from aibemu.redact import Redactor
    from aibemu.views.ndjson import NdjsonView

    if not events and _says_nothing(run):
        remove(run.directory)
        return
    _set_aside_unless_file(run.events_file)
    view = NdjsonView(run.events_file)
    telemetry = Telemetry(run.id, [view], clock, Redactor(()), first=events[-1].seq + 1 if events else 1)
    _end_what_ran(events, telemetry)
    for what in found:
        telemetry.emit(Kind.CLEANED, what=what, detail=DIED)
    commands = [] if fold(events).dry_run else [f"aibemu resume {run.id}"]
    error: dict[str, object] = {"code": "DIED", "message": DIED, "hint": None, "details": [], "commands": commands}
    seconds = _seconds_between(events[0].at, events[-1].at) if events else 0.0
    telemetry.emit(
        Kind.RUN_FINISHED, state=RunState.FAILED.value, sub_state="", message=DIED, error=error, seconds=seconds
    )  # fmt: skip
    view.close()


def _says_nothing(run: Run) -> bool:
    """Whether it began nothing: no record, not even a damaged one, and nothing made."""
    recorded = run.events_file.is_symlink() or (run.events_file.exists() and run.events_file.stat().st_size > 0)
    return not recorded and not (run.outputs.is_dir() and any(run.outputs.iterdir()))
