"""Running one step of a scenario, and everything that can be seen of it afterwards."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from aibemu.cli import main
from aibemu.cli.app import App
from aibemu.clock import Clock, SystemClock
from aibemu.paths import Home
from aibemu.reports.fold import fold
from aibemu.reports.summary import RunSummary
from aibemu.runs.store import Run, RunStore
from aibemu.testing.clock import FakeClock
from tests.scenarios.case import Step
from tests.scenarios.matching import pattern

CONVERGE = 10.0  # seconds from a cancel to the end


class StoppedClock(FakeClock):
    """The time of day stands still, waiting does not: for numbers that are made of the time."""

    def now(self) -> datetime:
        return self._start


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a step did. run: its run, or None; told: by role of the machine; cancelled_for: seconds, or None."""

    code: int
    out: str
    err: str
    run: Run | None
    work: Path
    home: Home
    told: Mapping[str, list[str]] = field(default_factory=dict)
    cancelled_for: float | None = None

    @property
    def summary(self) -> RunSummary:
        assert self.run is not None
        return fold(self.run.events())

    @property
    def events(self) -> list[dict[str, Any]]:
        assert self.run is not None
        return [event.as_json() for event in self.run.events()]

    def cloud(self) -> dict[str, Any]:
        """Every resource of the local cloud by its id, in lower case."""
        found = [json.loads(path.read_text()) for path in self.home.cloud.rglob("resource.json")]
        return {value["id"].lower(): value for value in found}


def observe(step: Step, *, work: Path, home: Home, patch: pytest.MonkeyPatch, capture: Any) -> Seen:
    """Run `step` in this process, in the folder `work`."""
    before = {run.id for run in RunStore(home.runs).runs()}
    transcripts = work.parent / "told"
    clock = _clock(step.values.get("clock", "fake" if "cancel" not in step.values else "real"))
    with patch.context() as local:
        local.chdir(work)
        local.setattr(main, "_new_app", lambda: App(home=home, clock=clock))
        for name, value in (step.values.get("env") or {}).items():
            local.setenv(name, str(value))
        capture.readouterr()
        with _cancelling(step.values.get("cancel"), home, before) as canceller:
            code = main.run(_argv(step, work, transcripts, before))
        ended = time.monotonic()
    out, err = capture.readouterr()
    fresh = [run for run in RunStore(home.runs).runs() if run.id not in before]
    assert len(fresh) <= 1, f"{step.at} made {len(fresh)} runs"
    run = fresh[0] if fresh else None
    return Seen(
        code=code, out=out, err=err, run=run, work=work, home=home,
        told={} if run is None else _told(transcripts, run.id),
        cancelled_for=None if canceller is None or canceller.pulled_at is None else ended - canceller.pulled_at,
    )  # fmt: skip


def _argv(step: Step, work: Path, transcripts: Path, before: set[str]) -> list[str]:
    argv = [word.replace("@RUN@", next(iter(before), "")) for word in step.argv]
    if step.builds and "--driver" not in argv:
        argv += ["--driver", "scripted", "--driver-option", f"transcript={transcripts}"]
        guest = step.values.get("guest", "guest.yaml")
        if "guest" in step.values or (work / guest).exists():
            argv += ["--driver-option", f"script={work / guest}"]
    return argv


def _clock(word: Any) -> Clock:
    if word == "real":
        return SystemClock()
    if word == "fake":
        return FakeClock()
    return StoppedClock(word if isinstance(word, datetime) else datetime.fromisoformat(word))


def _told(folder: Path, run_id: str) -> dict[str, list[str]]:
    """`run COMMAND`, then its standard input; `upload DESTINATION MODE`, then the text."""
    told = {}
    for path in sorted(folder.glob(f"{run_id}-*.ndjson")):
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        told[path.stem.removeprefix(f"{run_id}-")] = [_entry(entry) for entry in entries]
    return told


def _entry(entry: Mapping[str, Any]) -> str:
    if entry["op"] == "run":
        return f"run {entry['command']}\n{entry['stdin'] or ''}"
    return f"{entry['op']} {entry.get('destination')} {entry.get('mode')}\n{entry.get('text', '')}"


class _Canceller(threading.Thread):
    """Looks at the record as it grows; cancels once when a line of it matches."""

    def __init__(self, wanted: Mapping[str, str], home: Home, before: set[str]) -> None:
        super().__init__(daemon=True)
        self.when, self.how = pattern(wanted["when"]), wanted["how"]
        self.home, self.before = home, before
        self.pulled_at: float | None = None
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.02):
            for run in RunStore(self.home.runs).runs():
                if run.id in self.before or not run.events_file.exists():
                    continue
                if self.when.search(run.events_file.read_text(encoding="utf-8")):
                    self.pulled_at = time.monotonic()
                    self._pull(run)
                    return

    def _pull(self, run: Run) -> None:
        if self.how == "file":
            run.request_cancel()
        else:
            os.kill(os.getpid(), signal.Signals[self.how])


@contextmanager
def _cancelling(wanted: Mapping[str, str] | None, home: Home, before: set[str]) -> Iterator[_Canceller | None]:
    if wanted is None:
        yield None
        return
    canceller = _Canceller(wanted, home, before)
    canceller.start()
    try:
        yield canceller
    finally:
        canceller.over.set()
        canceller.join()
