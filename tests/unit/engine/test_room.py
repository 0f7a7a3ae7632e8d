"""A build has memory for its machines before the first of them is made, and gives it back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.clock import Deadline
from aibemu.engine.room import Room
from aibemu.engine.turns import Turns
from aibemu.errors import BuildTimedOut, HostNotReady
from aibemu.events import Kind
from aibemu.files import FileLock
from aibemu.hypervisor import Capacity
from aibemu.paths import Home
from aibemu.runs.admission import FILE
from aibemu.runs.store import Run, RunStore
from aibemu.settings import Settings
from aibemu.testing.clock import FakeClock

NEED = 1024


class Host:
    """A host of 4 GiB with runs on it."""

    def __init__(self, folder: Path, *, boots: bool = True) -> None:
        self.home, self.clock = Home.at(folder), FakeClock()
        self.said: list[tuple[Kind, str]] = []
        self.run, self.lock = self.new_run()
        self.services: Any = SimpleNamespace(
            home=self.home, run=self.run, clock=self.clock, settings=replace(Settings(), memory_reserve_mib=0),
            options=SimpleNamespace(continues=None),
            emit=lambda kind, **fields: self.said.append((kind, fields["message"])),
            driver=SimpleNamespace(
                capabilities=lambda: SimpleNamespace(boots_guests=boots),
                capacity=lambda: Capacity(memory_mib=4096, free_mib=4096, cpus=2),
            ),
        )  # fmt: skip
        self.deadline = Deadline(clock=self.clock, build_ends=self.clock.monotonic() + 100)

    def new_run(self) -> tuple[Run, FileLock]:
        return RunStore(self.home.runs).create()

    def taken(self) -> Any:
        file = self.run.directory / FILE
        return json.loads(file.read_text())["memory_mib"] if file.exists() else None


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_what_it_takes_is_in_its_record_until_the_build_is_over(host: Host) -> None:
    with Room(host.services) as room:
        assert room.make(NEED, host.deadline) == host.deadline
        assert host.taken() == NEED
    assert host.taken() is None


def test_another_attempt_takes_what_its_plan_needs(host: Host) -> None:
    with Room(host.services) as room:
        room.make(NEED, host.deadline)
        room.make(2 * NEED, host.deadline)
        assert host.taken() == 2 * NEED
    assert host.taken() is None


def test_the_wait_for_another_build_is_not_the_builds_time(host: Host) -> None:
    other, lock = host.new_run()
    (other.directory / FILE).write_text(json.dumps({"memory_mib": 3500}))

    class Busy(FakeClock):
        """After 120 s, longer than the build may take, the other build is over."""

        def wait(self, event: Any, seconds: float) -> bool:
            if self.monotonic() - began > 120:
                other.directory.joinpath(FILE).unlink(missing_ok=True)
            return super().wait(event, seconds)

    clock = Busy()
    began = clock.monotonic()
    deadline = Deadline(clock=clock, build_ends=began + 100)
    with Room(host.services) as room:
        after = room.make(NEED, deadline)
    waited = clock.monotonic() - began
    assert waited > 120
    assert after.build_ends == pytest.approx(deadline.build_ends + waited, abs=1)
    after.check()
    with pytest.raises(BuildTimedOut):
        deadline.check()
    assert [kind for kind, _ in host.said] == [Kind.NOTICE, Kind.NOTICE]
    assert f"needs {NEED} MiB" in host.said[0][1] and other.id in host.said[0][1]
    lock.release()


def test_what_the_host_never_has_is_refused(host: Host) -> None:
    with pytest.raises(HostNotReady, match="this host has only 4096 MiB"), Room(host.services) as room:
        room.make(8192, host.deadline)
    assert host.taken() is None


def test_a_dry_run_takes_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path, boots=False)
    with Room(host.services) as room:
        assert room.make(10**9, host.deadline) is host.deadline
        assert host.taken() is None


def test_the_machine_of_the_continued_run_goes_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier, lock = host.new_run()
    lock.release()
    host.services.options.continues = SimpleNamespace(run=earlier.id)
    order: list[str] = []

    def destroy(home: Home, run: Run) -> list[str]:
        order.append(f"destroy {run.id}")
        return ["machine x"]

    monkeypatch.setattr("aibemu.engine.room.destroy_kept", destroy)
    with Room(host.services) as room:
        for _ in range(2):
            room.make(NEED, host.deadline)
            order.append("made")
    assert order == [f"destroy {earlier.id}", "made", "made"]
    assert host.said == [(Kind.NOTICE, f"destroyed machine x, which run {earlier.id} had kept")]


def test_a_continued_run_that_was_deleted_is_no_error(host: Host) -> None:
    host.services.options.continues = SimpleNamespace(run="gone0000")
    with Room(host.services) as room:
        room.make(NEED, host.deadline)
    assert host.said == []


def test_the_wait_for_its_turn_is_not_the_builds_time_and_the_turn_goes_back(host: Host) -> None:
    turns = Turns(most=1)
    first, turn, last = turns.ask("first"), turns.ask("this"), turns.ask("last")

    class Busy(FakeClock):
        """The first build is over after longer than this one may take."""

        def wait(self, event: Any, seconds: float) -> bool:
            if self.monotonic() - began > 120:
                first.give_back()
            return super().wait(event, seconds)

    clock = Busy()
    began = clock.monotonic()
    deadline = Deadline(clock=clock, build_ends=began + 100)
    with Room(host.services, turn) as room:
        after = room.make(NEED, deadline)
        assert room.waited
        assert after.build_ends - deadline.build_ends == pytest.approx(clock.monotonic() - began, abs=1)
        assert turns.before(last) == ["this"]
        assert host.taken() == NEED
    assert turns.before(last) == []
