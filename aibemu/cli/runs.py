"""What the verbs about runs share: the RUN argument, which defaults to the newest, and a run's fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click

from aibemu.cli.app import App
from aibemu.cli.completion import run_ids
from aibemu.clock import Clock
from aibemu.errors import NotFoundError, UsageError
from aibemu.reports.fold import LAST_LINES, fold
from aibemu.reports.summary import RunSummary
from aibemu.runs.store import Life, Run, RunStore
from aibemu.text import parse_age, short

# The state of a run of which nothing can be said.
UNKNOWN = "Unknown"
F = TypeVar("F", bound=Callable[..., Any])


def run_argument(function: F) -> F:
    """RUN: an id or its beginning; the newest run if left out."""
    return click.argument("run", required=False, shell_complete=run_ids)(function)


def given_age(option: str, text: str) -> timedelta:
    """An age from the command line; `UsageError` for what is none."""
    if (age := parse_age(text)) is None:
        raise UsageError(f"{option} {text!r} is not an age", hint="a number and s, m, h, d or w: 12h, 7d")
    return age


def find_run(app: App, prefix: str | None) -> Run:
    """The run that is meant; `NotFoundError` if there is none, `HostNotReady` if this user may not read its record."""
    store = RunStore(app.home.runs)
    found = [store.get(prefix)] if prefix is not None else store.runs()[:1]
    if not found:
        raise NotFoundError(
            "there are no runs yet", hint="start with a template: aibemu init", commands=["aibemu run TEMPLATE"]
        )
    found[0].check_readable()
    return found[0]


def summarize(run: Run) -> RunSummary:
    """The fold of its record. Of a record that this user may not read: that it cannot be told."""
    if not run.readable():
        return RunSummary(id=run.id, state=UNKNOWN, message="its record may not be read by this user")
    return fold(run.outline(LAST_LINES))


def warn_if_unknown(app: App, run: Run) -> None:
    """Before waiting for the end of a run: say so when nothing but its record will tell."""
    if run.life() is Life.UNKNOWN:
        app.warn(f"whether run {run.id} still runs cannot be told here: waiting until its record has its end")


def is_dry_run(run: Run) -> bool:
    """Whether nothing is run in it; the first line of its record says so."""
    return fold(islice(run.events(), 1)).dry_run


def called(run: Run) -> str:
    """`run ID`, or `dry run ID`."""
    return f"dry run {run.id}" if is_dry_run(run) else f"run {run.id}"


def elapsed(summary: RunSummary, clock: Clock) -> str:
    """How long it took, or has taken so far."""
    if summary.finished or summary.started is None:
        return short(summary.seconds)
    return short((clock.now() - datetime.fromisoformat(summary.started)).total_seconds())


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large files are, and what they take on the disk: holes take nothing."""

    bytes: int = 0
    on_disk: int = 0

    def __add__(self, other: Sizes) -> Sizes:
        return Sizes(self.bytes + other.bytes, self.on_disk + other.on_disk)

    def __str__(self) -> str:
        return f"{human_size(self.bytes)}, {human_size(self.on_disk)} on disk"

    def as_json(self) -> dict[str, int]:
        return {"bytes": self.bytes, "bytesOnDisk": self.on_disk}


def sizes_of(path: Path) -> Sizes:
    """Of a file, or of all files below a folder; one with several names there counts once."""
    files = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file() and not item.is_symlink()]
    found: dict[tuple[int, int], Sizes] = {}
    for item in files:
        try:
            stat = item.stat()
        except FileNotFoundError:
            continue
        found[stat.st_dev, stat.st_ino] = Sizes(stat.st_size, stat.st_blocks * 512)
    return sum(found.values(), Sizes())


def human_size(count: int) -> str:
    """`12 KiB`, `3 MiB`, `1.5 GiB`."""
    if count < 1024**2:
        return f"{count / 1024:.0f} KiB"
    return f"{count / 1024**2:.0f} MiB" if count < 1024**3 else f"{count / 1024**3:.1f} GiB"
