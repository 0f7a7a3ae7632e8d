"""Builds as processes of their own whose standard error is read late or by nobody; or whose terminal closes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aibemu.paths import Home
from aibemu.reports.fold import fold
from aibemu.runs.store import Run, RunStore
from aibemu.views.queued import ROOM

TEMPLATE = Path(__file__).parent / "cases/cancel-by-file/template.json"
CONVERGE = 10.0  # seconds from a cancel to the end
PATIENCE = 60.0
LINES = 3 * ROOM


class Building:
    """`aibemu run` with its standard error in a pipe, of which the test has the other end."""

    def __init__(self, home: Home, work: Path, guest: list[dict[str, Any]]) -> None:
        self.home = home
        (work / "guest.yaml").write_text(json.dumps(guest))
        words = [sys.executable, "-m", "aibemu", "run", str(TEMPLATE), "--driver", "scripted"]
        self.command = [*words, "--driver-option", f"script={work / 'guest.yaml'}"]
        self.environment = {**os.environ, "AIBEMU_HOME": str(home.runs.parent)}
        self.reader, self.writer = os.pipe()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *before: str) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(
            [*before, *self.command], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.writer,
        )  # fmt: skip
        return self.process

    def until(self, text: str) -> Run:
        """The run, as soon as its record has `text`."""
        assert self.process is not None
        for _ in range(int(PATIENCE / 0.02)):
            for run in RunStore(self.home.runs).runs():
                if run.events_file.exists() and text in run.events_file.read_text():
                    return run
            assert self.process.poll() is None, "it ended before"
            threading.Event().wait(0.02)
        raise AssertionError(f"no record has {text}")

    def close(self) -> None:
        for end in (self.reader, self.writer):
            os.close(end)
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def build(scenario_home: Home, tmp_path: Path) -> Iterator[Callable[..., Building]]:
    made: list[Building] = []

    def make(*guest: dict[str, Any]) -> Building:
        made.append(Building(scenario_home, tmp_path, list(guest)))
        return made[-1]

    yield make
    for building in made:
        building.close()


def fill(writer: int) -> None:
    """Nothing more fits into the pipe."""
    os.set_blocking(writer, False)
    size = 65536
    while size:
        try:
            os.write(writer, b"x" * size)
        except BlockingIOError:
            size //= 2
    os.set_blocking(writer, True)


def test_a_build_that_nobody_reads_is_cancelled_in_time(build: Callable[..., Building]) -> None:
    building = build({"match": "sleep 600", "delay": 600})
    fill(building.writer)
    process = building.start()
    run = building.until('"step.started"')
    run.request_cancel()
    assert process.wait(CONVERGE) == 130
    summary = fold(run.events())
    assert (summary.state, summary.finished) == ("Canceled", True)
    assert not run.alive() and not run.machines.exists()


def test_a_build_that_nobody_reads_succeeds(build: Callable[..., Building]) -> None:
    building = build({"match": "sleep 600", "stdout": [f"line {number}" for number in range(LINES)]})
    fill(building.writer)
    process = building.start()
    assert process.wait(PATIENCE) == 0
    (run,) = RunStore(building.home.runs).runs()
    assert fold(run.events()).state == "Succeeded"
    assert "switched off" not in run.events_file.read_text()


def test_who_reads_late_reads_everything_in_order(build: Callable[..., Building]) -> None:
    """More than the pipe and the queue hold."""
    lines = [f"line {number} {'=' * 80}" for number in range(LINES)]
    building = build({"match": "sleep 600", "stdout": lines}, {"match": "echo never", "delay": 600})
    process = building.start()
    run = building.until('"step":"c2"')
    seen = bytearray()

    def read() -> None:
        while piece := os.read(building.reader, 65536):
            seen.extend(piece)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    run.request_cancel()
    assert process.wait(CONVERGE) == 130
    os.close(building.writer)
    reading.join(PATIENCE)
    building.writer = os.open(os.devnull, os.O_WRONLY)
    shown = [line.strip() for line in seen.decode().splitlines()]
    assert [line.removeprefix("| ") for line in shown if "=====" in line] == lines
    assert "CANCELED in phase customize" in seen.decode()


def test_a_build_goes_on_when_its_reader_has_left(build: Callable[..., Building]) -> None:
    building = build({"match": "sleep 600", "stdout": ["one"]})
    os.close(building.reader)
    process = building.start()
    os.close(building.writer)
    building.reader, building.writer = os.pipe()
    process.wait(PATIENCE)
    (run,) = RunStore(building.home.runs).runs()
    assert fold(run.events()).state == "Succeeded"


@pytest.mark.parametrize(("before", "why"), [(("nohup",), "cancelled by aibemu cancel"), ((), "interrupted by SIGHUP")])
def test_a_terminal_that_closes_ends_a_build_unless_nohup_started_it(
    build: Callable[..., Building], before: tuple[str, ...], why: str
) -> None:
    building = build({"match": "sleep 600", "delay": 600})
    process = building.start(*before)
    run = building.until('"step.started"')
    process.send_signal(signal.SIGHUP)
    run.request_cancel()
    assert process.wait(PATIENCE) == 130
    error = fold(run.events()).error
    assert error is not None and error["message"] == why
