"""Freezing and loading against a QEMU that is late, silent or refuses: what it is told, and what the caller hears."""

from __future__ import annotations

import math
import os
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import Deadline, SystemClock, forever
from aibemu.errors import BuildCancelled, BuildTimedOut, Expired, FreezeFailed, ProvisionFailed
from aibemu.hypervisor import Frozen, FrozenRefused
from aibemu.process_id import ProcessId
from aibemu.testing.contract import make_spec
from aibemu_drivers.qemu import freezing
from aibemu_drivers.qemu.failures import explain_end
from aibemu_drivers.qemu.freezing import NOT_YET, MachineLost
from aibemu_drivers.qemu.machine import SOCKET, QemuMachine
from aibemu_drivers.qemu.monitor import MigrationFailed, NoAnswer
from aibemu_drivers.records import read_record
from tests.unit.drivers.test_qemu_qmp import Answer, FakeQemu

# Seconds in which whatever has to obey a cancel has done so, on a busy host.
SOON = 8.0
# Seconds: longer than any bound of the driver.
LEAP = 3600.0


class Leaping(SystemClock):
    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class Ending:
    """A build that ends when the test says so, not at a time: `raised` tells how. With `Expired` it does not end at
    all, but whatever it waits for then has taken too long."""

    def __init__(self, raised: type[Exception]) -> None:
        self.raised = raised
        self.clock = Leaping()
        build_ends = self.clock.monotonic() + LEAP if raised is BuildTimedOut else math.inf
        self.deadline = Deadline(clock=self.clock, build_ends=build_ends)
        self.at: float | None = None

    def come(self) -> None:
        self.at = self.at or time.monotonic()
        if self.raised is BuildCancelled:
            self.deadline.cancel.cancel("Ctrl-C")
        else:
            self.clock.ahead = LEAP

    def comes_before(self, answer: Answer) -> Answer:
        """For `Guest.does`: it comes when QEMU has heard the command."""

        def heard(request: dict[str, Any]) -> list[dict[str, Any]]:
            self.come()
            return answer(request)

        return heard

    def ago(self) -> float:
        assert self.at is not None, "it never came"
        return time.monotonic() - self.at


class Guest:
    """A machine whose QEMU is a `FakeQemu`. `does`: by command, the lines to answer with instead of success."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layers = folder / "layers"
        self.told: list[str] = []
        self.does: dict[str, Answer] = {}
        self.fake = FakeQemu(folder / SOCKET)
        self.fake.answer = self._answer
        self.child = subprocess.Popen(["sleep", "60"])
        process = ProcessId.of(self.child.pid)
        assert process is not None
        self.spec = make_spec("m", folder, folder / "base.img")
        self.record = QemuMachine.first_record(self.spec, folder) | {"process": process.as_json()}
        self.machine = QemuMachine(folder, self.record, None)  # type: ignore[arg-type]
        self.disk = folder / self.record["disk"]
        self.disk.touch()

    def _answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        command = request["execute"]
        self.told.append(command)
        if own := self.does.get(command):
            return own(request)
        done = {"return": {}, "id": request["id"]}
        return [done, migration("completed")] if command.startswith("migrate") and "-set-" not in command else [done]

    def freeze(self, deadline: Deadline | None = None) -> Frozen:
        return self.machine.freeze(self.layers, deadline or forever())

    def load(self, deadline: Deadline | None = None) -> None:
        memory = self.folder / "memory"
        memory.touch()
        self.machine.spec = replace(self.spec, frozen=Frozen(disks=(self.disk,), memory=memory))
        self.machine._let_go(self.child, deadline or forever())

    def when_awaited(self, then: Callable[[], None]) -> None:
        """Do it as soon as somebody waits for what QEMU says of a migration."""

        class Migrations(queue.SimpleQueue[str]):
            def get(self, block: bool = True, timeout: float | None = None) -> str:
                then()
                return super().get(block, timeout)

        self.machine._monitor._migrations = Migrations()

    def left(self) -> list[str]:
        return sorted(path.name for path in self.layers.glob("*"))

    def disk_goes_to(self) -> Path:
        """What it says once it is off."""
        self.child.kill()
        self.child.wait()
        with self.machine.disk() as disk:
            return disk


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    made = Guest(tmp_path)
    yield made
    made.machine._monitor.close()
    made.child.kill()
    made.child.wait()
    made.fake.listener.shutdown(socket.SHUT_RDWR)
    made.fake.listener.close()


def migration(status: str) -> dict[str, Any]:
    return {"event": "MIGRATION", "data": {"status": status}}


def silence(request: dict[str, Any]) -> list[dict[str, Any]]:
    return []


def accept(request: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"return": {}, "id": request["id"]}]


def refuse(request: dict[str, Any], why: str = "no") -> list[dict[str, Any]]:
    return [{"error": {"class": "GenericError", "desc": why}, "id": request["id"]}]


@pytest.fixture(params=[BuildCancelled, BuildTimedOut], ids=["cancelled", "timed out"])
def ending(request: pytest.FixtureRequest) -> Ending:
    return Ending(request.param)


@pytest.fixture
def patience() -> Ending:
    """Not the build's end, but that of all bounds within it."""
    return Ending(Expired)


def test_a_freeze_stops_saves_and_goes_on(guest: Guest) -> None:
    frozen = guest.freeze()
    assert guest.told == [
        "qmp_capabilities", "stop", "blockdev-add", "blockdev-snapshot", "migrate-set-capabilities",
        "migrate-set-parameters", "getfd", "migrate", "cont",
    ]  # fmt: skip
    assert guest.left() == sorted(path.name for path in frozen.files)
    assert guest.disk_goes_to() not in (guest.disk, frozen.disks[-1])


@pytest.mark.parametrize("command", ["stop", "blockdev-add", "blockdev-snapshot", "getfd", "migrate", "cont"])
def test_the_builds_end_ends_it_soon_whatever_qemu_does_not_answer(guest: Guest, ending: Ending, command: str) -> None:
    guest.does[command] = ending.comes_before(silence)
    with pytest.raises(ending.raised):
        guest.freeze(ending.deadline)
    assert ending.ago() < SOON
    assert guest.told[-1] == "cont"
    assert guest.left() == []


def test_the_builds_end_ends_the_migration_too(guest: Guest, ending: Ending) -> None:
    guest.does["migrate"] = accept  # which never completes
    guest.when_awaited(ending.come)
    with pytest.raises(ending.raised):
        guest.freeze(ending.deadline)
    assert ending.ago() < SOON
    assert guest.told[-2:] == ["migrate_cancel", "cont"]
    assert guest.left() == []


def test_a_migration_that_takes_too_long_is_cancelled_before_the_guest_goes_on(guest: Guest, patience: Ending) -> None:
    guest.does["migrate"] = accept
    guest.when_awaited(patience.come)
    with pytest.raises(FreezeFailed, match="its memory could not be saved"):
        guest.freeze(patience.deadline)
    assert guest.told[-2:] == ["migrate_cancel", "cont"]
    assert guest.left() == []
    assert guest.disk_goes_to() != guest.disk  # for that was done


def test_a_stop_that_is_answered_too_late_is_followed_by_cont(guest: Guest, patience: Ending) -> None:
    guest.does["stop"] = patience.comes_before(silence)
    with pytest.raises(FreezeFailed, match="no answer to 'stop'"):
        guest.freeze(patience.deadline.within(LEAP))
    assert guest.told == ["qmp_capabilities", "stop", "cont"]
    assert guest.disk_goes_to() == guest.disk


def test_a_guest_that_stands_still_for_good_is_lost(guest: Guest) -> None:
    guest.does["cont"] = refuse
    with pytest.raises(MachineLost, match="cont"):
        guest.freeze()


def test_a_qemu_that_is_not_ready_to_go_on_is_asked_again(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_yet(request: dict[str, Any]) -> list[dict[str, Any]]:
        return accept(request) if guest.told.count("cont") == 3 else refuse(request, f"Migration is {NOT_YET}")

    guest.does["cont"] = not_yet
    guest.freeze()
    assert guest.told.count("cont") == 3
    monkeypatch.setattr(freezing, "GO_ON_BOUND", 0.3)
    with pytest.raises(MachineLost, match="cont"):
        guest.freeze()


def test_a_snapshot_without_an_answer_leaves_no_disk_to_trust(guest: Guest, patience: Ending) -> None:
    guest.does["blockdev-snapshot"] = patience.comes_before(silence)
    with pytest.raises(MachineLost, match="which file is the disk"):
        guest.freeze(patience.deadline.within(LEAP))
    assert guest.told[-1] == "cont" and guest.left() == []
    record = read_record(guest.folder, "qemu")
    assert record is not None
    other = QemuMachine(guest.folder, record, None)  # type: ignore[arg-type]
    with pytest.raises(MachineLost, match="no disk that can be trusted"):
        other.freeze(guest.layers, forever())
    with pytest.raises(MachineLost, match="no disk that can be trusted"):
        guest.disk_goes_to()


@pytest.mark.parametrize(("command", "how"), [
    ("blockdev-snapshot", refuse), ("blockdev-add", refuse), ("blockdev-add", silence),
])  # fmt: skip
def test_without_a_snapshot_the_disk_is_what_it_was(guest: Guest, patience: Ending, command: str, how: Answer) -> None:
    guest.does[command] = patience.comes_before(how) if how is silence else how
    with pytest.raises(FreezeFailed):
        guest.freeze(patience.deadline.within(LEAP))
    assert guest.told[-1] == "cont" and guest.left() == []
    assert guest.disk_goes_to() == guest.disk


def test_a_disk_that_takes_too_long_to_make_is_a_failed_freeze(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    def expire(*_: object, **__: object) -> None:
        raise Expired("took too long")

    monkeypatch.setattr(freezing, "stack_overlay", expire)
    with pytest.raises(FreezeFailed) as failed:
        guest.freeze()
    assert failed.value.details == ("took too long",)
    assert guest.told == []


def test_the_builds_end_ends_the_making_of_a_disk(
    guest: Guest, ending: Ending, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow, began = tmp_path / "bin/qemu-img", tmp_path / "began"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\necho >'{began}'\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    os.mkfifo(began)

    def end_it_then() -> None:
        began.read_text()  # opened only when somebody writes
        ending.come()

    threading.Thread(target=end_it_then, daemon=True).start()
    with pytest.raises(ending.raised):
        guest.freeze(ending.deadline)
    assert ending.ago() < SOON
    assert guest.told == []


# Loading


def test_the_builds_end_ends_loading(guest: Guest, ending: Ending) -> None:
    guest.does["migrate-incoming"] = accept
    guest.when_awaited(ending.come)
    with pytest.raises(ending.raised):
        guest.load(ending.deadline)
    assert ending.ago() < SOON


def test_memory_that_qemu_refuses_while_it_runs_is_no_good(guest: Guest) -> None:
    guest.does["migrate-incoming"] = lambda request: [*accept(request), migration("failed")]
    guest.does["query-migrate"] = lambda request: [{"return": {"error-desc": "bad section"}, "id": request["id"]}]
    ended = threading.Timer(0.2, guest.child.kill)
    ended.start()
    with pytest.raises(FrozenRefused):
        guest.load()


def test_memory_that_takes_too_long_to_load_may_be_good(
    guest: Guest, patience: Ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibemu_drivers.qemu.machine.QUIT_BOUND", 0.1)
    guest.does["migrate-incoming"] = accept
    guest.when_awaited(patience.come)
    with pytest.raises(ProvisionFailed) as failed:
        guest.load(patience.deadline)
    assert not isinstance(failed.value, FrozenRefused)
    assert any("was not loaded within" in line for line in failed.value.details)


@pytest.mark.parametrize(
    ("log", "status", "error", "loading", "refused"),
    [
        ("load of migration failed: Invalid argument", 1, NoAnswer("gone"), True, True),
        ("", None, MigrationFailed("no"), True, True),
        ("load of migration failed: Cannot allocate memory", 1, NoAnswer("gone"), True, False),
        ("", -9, NoAnswer("gone"), True, False),
        ("", None, NoAnswer("silent"), True, False),
        ("Could not open 'disk.qcow2': Permission denied", 1, NoAnswer("gone"), False, False),
    ],
)
def test_what_is_the_layers_fault_and_what_the_hosts(
    tmp_path: Path, log: str, status: int | None, error: ProvisionFailed, loading: bool, refused: bool
) -> None:
    spec = make_spec("m", tmp_path, tmp_path / "base.img")
    assert isinstance(explain_end(spec, log, status, error, loading=loading), FrozenRefused) is refused
