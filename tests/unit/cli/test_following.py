"""`logs --follow` of a step and of a console, and that whoever stopped reading is not waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aibemu.cli.app import App
from aibemu.clock import SystemClock
from aibemu.events import Kind
from aibemu.hypervisor import ConsolePart
from aibemu.paths import Home
from aibemu.runs.store import Run
from aibemu.telemetry import Telemetry
from aibemu.views.ndjson import NdjsonView

BUILD = "build"


def say(run: Run, *lines: str, step: str = "c1") -> None:
    """The step says it, in the record of the run."""
    last = max(event.seq for event in run.events())
    chain = Telemetry(run.id, [NdjsonView(run.events_file)], SystemClock(), lambda value: value, first=last + 1)
    with chain.phase("customize"), chain.step(step):
        for line in lines:
            chain.emit(Kind.STEP_OUTPUT, stream="stdout", line=line)
    chain.close()


class Looks(SystemClock):
    """What happens at each wait for more."""

    def __init__(self, *happens: Any) -> None:
        self.happens = list(happens)

    def wait(self, event: Any, seconds: float) -> bool:
        self.happens.pop(0)()
        return False


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(*happens: Any) -> None:
        monkeypatch.setattr("aibemu.cli.main._new_app", lambda: App(home=Home.discover(), clock=Looks(*happens)))

    return use


def test_a_step_is_followed_until_the_run_is_over(aibemu: Any, make_run: Any, looks: Any) -> None:
    run, lock = make_run(alive=True, ended=None)
    looks(lambda: say(run, "third", "fourth"), lambda: say(run, "of another", step="c2"), lock.release)
    said = aibemu("logs", "--follow", "--step", "install")
    assert said.code == 0
    assert said.out.splitlines()[1:] == ["mkdir: cannot create directory: Permission denied", "third", "fourth"]


def test_a_step_that_is_not_planned_is_not_waited_for(aibemu: Any, make_run: Any) -> None:
    _, lock = make_run(alive=True, ended=None)
    said = aibemu("logs", "--follow", "--step", "nope")
    lock.release()
    assert said.code == 2 and "c1: Install" in said.err


def test_the_console_that_was_saved_is_shown_cleaned(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    assert aibemu("logs", "--console").out == ""
    run.console.mkdir()
    (run.console / "build.log").write_bytes(
        b"\x1bc\x1b[2J\x1b[0mSeaBIOS\r\n\r\n 10%\r 50%\rLoading\r\nGET http://x/?sig=abcdef&a=1\r\n\x00\xfflogin: "
    )
    expected = ["SeaBIOS", "Loading", "GET http://x/?sig=***&a=1", "\ufffdlogin:"]
    assert aibemu("logs", "--console").out.splitlines() == expected
    (run.console / "validate.log").write_bytes(b"another\n")
    assert aibemu("logs", "--console").out.splitlines() == [
        *expected[:-1],
        "== validate machine",
        "another",
        expected[-1],
    ]
    assert aibemu("logs", "--console", "--events").code == 2


class Machines:
    """A driver whose machine is there until it is destroyed."""

    def __init__(self) -> None:
        self.text: bytes | None = b"firmware\n"

    def find(self, directory: Path) -> Any:
        return self if directory.name == BUILD and self.text is not None else None

    def console(self, since: int = 0) -> ConsolePart:
        return ConsolePart(start=since, data=(self.text or b"")[since:])

    def say(self, more: bytes) -> None:
        assert self.text is not None
        self.text += more


def test_a_living_console_is_followed(aibemu: Any, make_run: Any, looks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run, lock = make_run(alive=True, ended=None)
    machines = Machines()
    monkeypatch.setattr("aibemu.cli.console_log.driver_of", lambda summary, home: machines)

    def destroyed() -> None:
        run.console.mkdir()
        (run.console / "build.log").write_bytes(machines.text or b"")
        machines.text = None

    looks(lambda: machines.say(b"kern"), lambda: machines.say(b"el\nlogin: "), destroyed, lock.release)
    assert aibemu("logs", "--console", "-f").out.splitlines() == ["firmware", "kernel", "login:"]


def test_what_a_console_has_lost_is_told_in_its_place(
    aibemu: Any, make_run: Any, looks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, lock = make_run(alive=True, ended=None)

    class Forgetful(Machines):
        oldest = 0

        def console(self, since: int = 0) -> ConsolePart:
            return super().console(max(since, self.oldest))

    machines = Forgetful()
    monkeypatch.setattr("aibemu.cli.console_log.driver_of", lambda summary, home: machines)

    def flood() -> None:
        machines.say(b"x" * 1024**2 + b"\nlogin:\n")
        machines.oldest = 1024**2 + 10

    looks(flood, lock.release)
    told = "[aibemu: 1 MiB of this console were not kept (setting console_limit)]"
    assert aibemu("logs", "--console", "-f").out.splitlines() == ["firmware", told, "login:"]


@pytest.mark.parametrize("options", [["--follow"], ["--follow", "--step", "c1"], ["--follow", "--events"]])
def test_whoever_stops_reading_ends_it_although_nothing_is_printed(
    make_run: Any, home: Path, options: list[str]
) -> None:
    _, lock = make_run(alive=True, ended=None)
    command = [sys.executable, "-m", "aibemu", "logs", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        process.stdout.close()
        try:
            assert process.wait(120) == 141
        finally:
            process.kill()
            lock.release()
        assert process.stderr is not None and process.stderr.read() == b""


def test_whoever_stops_reading_ends_a_watch(make_run: Any, home: Path) -> None:
    _, lock = make_run(alive=True, ended=None)
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen([sys.executable, "-m", "aibemu", "status", "--watch"], stdout=writing) as process:
        os.close(writing)
        try:
            assert process.wait(120) == 141
        finally:
            process.kill()
            lock.release()
