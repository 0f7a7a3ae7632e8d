"""Runs on disk: one directory each, and the directory is the database.

```
runs/<id>/  run.lock             held (flock) by the process that builds; free = nobody does
            events.ndjson        everything that happened, append-only
            template.json        the resource as it was read
            request.json         what was typed, for `aibemu resume`: may hold secrets, mode 0600
            customization.log  validation.log
            cancel               exists = somebody asked to stop; mode 0600, as all that steers a run
            answer               what somebody in another terminal answers to a run that waits; mode 0600
            admission.json       how much memory its machine may take: see aibemu.runs.admission
            out                  where `--out` is, once something is copied there
            ended                exists = it is over, and nothing is left to clean
            machines/<role>/     of the drivers: overlay, sockets, console
            work/                keys, seeds, half-made things; gone when the run is over
            console/             what was saved of a machine that failed
            outputs/<runOutputName>/
```
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from aibemu.errors import HostNotReady, NotFoundError
from aibemu.events import Event, Kind
from aibemu.files import FileLock, make_folder, write_private
from aibemu.records import NO_FILE
from aibemu.runs.record import has_end, read_events, read_outline

# How the directory of a run is called that is being made.
NEW = ".new-"


class Life(Enum):
    """Whether a process builds a run. UNKNOWN: nobody here can tell."""

    BUILDING = "building"
    OVER = "over"
    UNKNOWN = "unknown"


class Run:
    """One run's directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.id = directory.name

    @property
    def events_file(self) -> Path:
        return self.directory / "events.ndjson"

    @property
    def machines(self) -> Path:
        return self.directory / "machines"

    @property
    def work(self) -> Path:
        return self.directory / "work"

    @property
    def outputs(self) -> Path:
        return self.directory / "outputs"

    @property
    def console(self) -> Path:
        return self.directory / "console"

    @property
    def platform(self) -> Path:
        """Where the processes of the machines' platforms are recorded, a folder for each role."""
        return self.directory / "platform"

    def platform_journal(self, role: str) -> Path:
        """What the machine `role` asked of its platform; it may not exist."""
        return self.directory / f"platform-{role}.ndjson"

    @property
    def cancel_file(self) -> Path:
        return self.directory / "cancel"

    @property
    def request_file(self) -> Path:
        return self.directory / "request.json"

    @property
    def answer_file(self) -> Path:
        return self.directory / "answer"

    @property
    def entered_file(self) -> Path:
        """There when somebody got into the build machine: it may not be what its steps have made of it any more."""
        return self.directory / "entered"

    @property
    def out_file(self) -> Path:
        """Where `--out` is, once something is copied there: half a copy is found by it."""
        return self.directory / "out"

    @property
    def lock(self) -> FileLock:
        return FileLock(self.directory / "run.lock")

    def log(self, name: str) -> Path:
        """The path of `customization.log` or `validation.log`; it may not exist."""
        return self.directory / name

    def alive(self) -> bool:
        """True while a process builds this run, and when that cannot be told: what may live is not dead."""
        return self.life() is not Life.OVER

    def life(self) -> Life:
        """Whether a process builds this run. A lock that cannot be opened (another user's home, a file system that is
        read-only here and written elsewhere) says nothing; then only a record that has its end does."""
        lock = self.lock
        try:
            if not lock.path.exists():
                return Life.OVER
            # Shared: two that only look must not take each other for the builder.
            if not lock.acquire(blocking=False, shared=True):
                return Life.BUILDING
            lock.release()
            if not os.statvfs(lock.path).f_flag & os.ST_RDONLY:
                return Life.OVER
        except OSError as error:
            if error.errno in NO_FILE:  # something else is in its place, which nobody can hold
                return Life.OVER
        try:
            return Life.OVER if self.finished() else Life.UNKNOWN
        except OSError:
            return Life.UNKNOWN

    def check_known(self) -> None:
        """Raise `HostNotReady` when it cannot be told whether a process builds it: nothing may be done to it then."""
        if self.life() is Life.UNKNOWN:
            raise HostNotReady(
                f"whether run {self.id} still runs cannot be told: its lock cannot be opened",
                details=[f"the lock: {self.lock.path}"],
                hint="work as the user whose run it is, on the computer where it runs",
            )

    def readable(self) -> bool:
        """False when this user may not read its record: another user's run. Nothing can be said of it then."""
        if not os.access(self.directory, os.R_OK | os.X_OK):
            return not self.directory.exists()
        return not self.events_file.exists() or os.access(self.events_file, os.R_OK)

    def check_readable(self) -> None:
        """Raise `HostNotReady` when this user may not read its record."""
        if not self.readable():
            raise HostNotReady(
                f"the record of run {self.id} may not be read by this user",
                details=[f"the record: {self.events_file}"],
                hint="work as the user whose run it is, or with a folder of your own: --home DIR",
            )

    def events(self) -> Iterator[Event]:
        """Every whole event of the record; a torn last line (power cut) is skipped, newer kinds too."""
        return read_events(self.events_file)

    def started(self) -> Event | None:
        """What the record says of the run's start; None before it."""
        return next((event for event in self.events() if event.kind is Kind.RUN_STARTED), None)

    def outline(self, lines: int) -> Iterator[Event]:
        """The events without most of what steps printed, which makes them cheap; see `read_outline`."""
        return read_outline(self.events_file, lines)

    def finished(self) -> bool:
        """True when the record says how the run ended; cheap for one that has."""
        return has_end(self.events_file)

    @property
    def ended_file(self) -> Path:
        """There when the run is over and nothing of it is left to clean; without it, the record tells."""
        return self.directory / "ended"

    def note_end(self) -> None:
        """Let the next commands pass it over. Where that cannot be noted, they read the end of the record."""
        with contextlib.suppress(OSError):
            self.ended_file.touch(mode=0o644)

    def request_cancel(self) -> None:
        """Ask the building process to stop; it looks several times a second."""
        write_private(self.cancel_file)

    def answer(self, text: str) -> None:
        """Answer the building process, which waits and looks several times a second."""
        write_private(self.answer_file, text.encode())

    def leave_mark(self) -> None:
        """Note that somebody gets into the build machine."""
        write_private(self.entered_file)


class RunStore:
    """All runs under one folder."""

    def __init__(self, runs: Path) -> None:
        self.directory = runs

    def create(self) -> tuple[Run, FileLock]:
        """A new run, its lock already held: it never looks dead to another process."""
        make_folder(self.directory)
        while True:
            final = self.directory / secrets.token_hex(4)
            if final.exists():
                continue
            fresh = self.directory / f"{NEW}{final.name}"
            make_folder(fresh)
            lock = FileLock(fresh / "run.lock")
            lock.acquire()
            try:
                fresh.rename(final)
            except FileNotFoundError:  # the sweep of another process took it for dead before it was locked
                lock.release()
                continue
            lock.path = final / "run.lock"
            return Run(final), lock

    def runs(self) -> list[Run]:
        """Newest first."""
        if not self.directory.is_dir():
            return []
        found = [path for path in self.directory.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return [Run(path) for path in sorted(found, key=_age_key, reverse=True)]

    def get(self, prefix: str) -> Run:
        """The run whose id starts with `prefix`; `NotFoundError` if there is none or more than one."""
        matches = [run for run in self.runs() if run.id.startswith(prefix)] if prefix else []
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise NotFoundError(
                f"{prefix!r} fits {len(matches)} runs", details=[run.id for run in matches], hint="type more of the id"
            )
        raise NotFoundError(f"no run {prefix!r}", hint="aibemu status lists all runs", commands=["aibemu status"])


def _age_key(path: Path) -> tuple[float, str]:
    """The lock file is written once, at creation; the directory's own time changes with every file in it."""
    try:
        return (path / "run.lock").stat().st_mtime, path.name
    except OSError:  # there is none, or it is another user's
        return 0.0, path.name
