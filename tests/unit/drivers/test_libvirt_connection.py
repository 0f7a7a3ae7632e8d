"""Talking to a libvirt that refuses, is silent, or goes away: what the caller hears, and when."""

from __future__ import annotations

import json
import os
import select
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.errors import BuildCancelled, HostNotReady, ProvisionFailed
from aibemu.hypervisor import MachineEventKind
from aibemu.testing.contract import make_spec
from aibemu_drivers.libvirt import library
from aibemu_drivers.libvirt.addresses import parse_address
from aibemu_drivers.libvirt.connection import Connection
from aibemu_drivers.libvirt.failures import Lost, Refused, not_started
from aibemu_drivers.libvirt.monitor import LibvirtMonitor
from aibemu_drivers.qemu.monitor import MigrationFailed, NoAnswer

UUID = "00000000-0000-0000-0000-000000000005"
STOPPED = 5


class FakeError(Exception):
    """As `libvirt.libvirtError`."""

    def __init__(self, number: int, words: str, domain: int = 10) -> None:
        super().__init__(words)
        self.number, self.words, self.domain = number, words, domain

    def get_error_code(self) -> int:
        return self.number

    def get_error_domain(self) -> int:
        return self.domain

    def get_error_message(self) -> str:
        return self.words


GONE = FakeError(42, "Domain not found")
HUNG_UP = FakeError(1, "internal error: client socket is closed", 7)


class FakeLibvirt:
    """One libvirt with one machine; what tests change is how it answers."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.alive = True
        self.refuses_to_open: FakeError | None = None
        self.there = True
        self.uuid = UUID
        self.told: list[Any] = []
        # By QMP command, its answer or what is raised.
        self.answers: dict[str, Any] = {}
        self.closed: Callable[..., None] | None = None
        self.events: dict[int, Callable[..., None]] = {}

    # The module

    def open(self, uri: str) -> FakeLibvirt:
        if self.refuses_to_open:
            raise self.refuses_to_open
        self.opened.append(uri)
        self.alive = True
        return self

    # The connection

    def getVersion(self) -> int:
        return 7002022

    def isAlive(self) -> bool:
        return self.alive

    def setKeepAlive(self, every: int, missed: int) -> None:
        self.told.append(("keepalive", every, missed))

    def registerCloseCallback(self, callback: Callable[..., None], _: object) -> None:
        self.closed = callback

    def lookupByUUIDString(self, uuid: str) -> FakeLibvirt:
        assert uuid == UUID
        if not self.there:
            raise GONE
        return self

    def domainEventRegisterAny(self, domain: Any, __: int, callback: Callable[..., None], ___: Any) -> int:
        assert domain is None
        self.events[1] = callback
        return 1

    # The domain

    def UUIDString(self) -> str:
        return self.uuid

    def suspend(self) -> None:
        self.told.append("suspend")

    def resume(self) -> None:
        self.told.append("resume")
        if error := self.answers.get("cont"):
            raise error

    # QEMU's part

    def qemuMonitorEventRegister(self, *given: Any) -> int:
        assert given[1] is None
        self.events[2] = given[3]
        return 2

    def qemuMonitorCommandWithFiles(self, _: Any, words: str, files: list[int]) -> tuple[str, list[int]]:
        command = json.loads(words)["execute"]
        self.told.append((command, files) if files else command)
        answer = self.answers.get(command, {"return": {}})
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer()
        return json.dumps(answer), []

    def say(self, event: str, **data: Any) -> None:
        self.events[2](self, self, event, 1, 2, json.dumps(data) if data else None, None)

    def end(self) -> None:
        """The machine ends."""
        self.there = False
        self.events[1](self, self, STOPPED, 0, None)

    def hang_up(self) -> None:
        """The daemon ends."""
        self.alive = False
        if self.closed:
            self.closed(self, 0, None)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeLibvirt:
    made = FakeLibvirt()
    module = types.SimpleNamespace(
        open=made.open, libvirtError=FakeError, VIR_DOMAIN_EVENT_ID_LIFECYCLE=0, VIR_DOMAIN_EVENT_STOPPED=STOPPED
    )
    monkeypatch.setitem(sys.modules, "libvirt", module)
    monkeypatch.setattr(library, "load", lambda: module)
    monkeypatch.setattr(library, "load_qemu", lambda: made)
    return made


@pytest.fixture
def connection(fake: FakeLibvirt) -> Connection:
    return Connection(parse_address("qemu:///session"))


@pytest.fixture
def monitor(connection: Connection, tmp_path: Path) -> LibvirtMonitor:
    return LibvirtMonitor("m", tmp_path, connection, UUID)


def test_it_is_opened_once_and_asked_whether_it_is_alive(connection: Connection, fake: FakeLibvirt) -> None:
    assert fake.opened == []
    assert connection.domain(UUID) is fake and connection.domain(UUID) is fake
    assert fake.opened == ["qemu:///session"]
    assert ("keepalive", 5, 3) in fake.told
    fake.there = False
    assert connection.domain(UUID) is None


def test_a_daemon_that_is_back_is_opened_again(connection: Connection, fake: FakeLibvirt) -> None:
    connection.domain(UUID)

    def hangs_up(_: Any) -> None:
        fake.hang_up()
        raise HUNG_UP

    with pytest.raises(Lost, match="does not answer any more") as lost:
        connection.call(hangs_up)
    assert "client socket is closed" in lost.value.details[0]
    fake.refuses_to_open = FakeError(38, "Failed to connect socket to '/x'")
    with pytest.raises(Lost) as lost:  # not as if it had never been there
        connection.domain(UUID)
    assert "Failed to connect" in lost.value.details[0]
    fake.refuses_to_open = None
    assert connection.domain(UUID) is fake
    assert len(fake.opened) == 2


@pytest.mark.parametrize(
    ("uri", "error", "told"),
    [
        ("qemu:///session", FakeError(38, "Failed to connect socket to '/x'"), "install libvirt's daemon"),
        ("qemu:///session", FakeError(38, "Failed to connect socket to '/x'"), "root has no libvirt of its own"),
        ("qemu:///system", FakeError(38, "Failed to connect socket to '/x'"), "libvirt-daemon-system"),
        ("qemu:///system", FakeError(45, "authentication unavailable"), "usermod -aG libvirt"),
        ("qemu:///embed?root=/r", FakeError(38, "Failed to acquire pid file '/r/run/qemu/driver.pid'"), "another proc"),
    ],
)
def test_what_cannot_be_reached_says_what_to_do(
    fake: FakeLibvirt, monkeypatch: pytest.MonkeyPatch, uri: str, error: FakeError, told: str
) -> None:
    fake.refuses_to_open = error
    monkeypatch.setattr("os.geteuid", lambda: 0 if "root" in told else 1000)
    with pytest.raises(HostNotReady) as failed:
        Connection(parse_address(uri)).domain(UUID)
    assert error.words in failed.value.details[0] and uri in failed.value.message
    assert told in f"{failed.value.hint} {failed.value.commands}"


def test_a_silent_libvirt_holds_nobody_up(connection: Connection) -> None:
    silence, token = threading.Event(), CancelToken()

    def wait(_: Any) -> bool:
        token.cancel("Ctrl-C")
        return silence.wait(60)

    try:
        with pytest.raises(BuildCancelled):
            connection.call(wait, deadline=Deadline(clock=SystemClock(), cancel=token))
        with pytest.raises(Lost, match="does not answer") as lost:
            connection.call(lambda _: silence.wait(60), seconds=0.2)
        assert "no answer within 0 s" in lost.value.details[0]
    finally:
        silence.set()


def test_a_refused_command_is_an_error_though_libvirt_raises_none(monitor: LibvirtMonitor, fake: FakeLibvirt) -> None:
    fake.answers["query-status"] = {"error": {"class": "GenericError", "desc": "not now"}}
    with pytest.raises(ProvisionFailed) as failed:
        monitor.execute("query-status")
    assert failed.value.details == ("not now",)
    fake.answers["query-status"] = FakeError(1, "unable to execute QEMU command")
    with pytest.raises(ProvisionFailed) as failed:
        monitor.execute("query-status")
    assert failed.value.details == ("unable to execute QEMU command",)


def test_stopping_and_going_on_are_libvirts_own_calls(monitor: LibvirtMonitor, fake: FakeLibvirt) -> None:
    monitor.execute("stop")
    fake.answers["cont"] = FakeError(1, "the migration has not been finalized yet")
    with pytest.raises(ProvisionFailed) as failed:
        monitor.execute("cont")
    assert "not been finalized yet" in failed.value.details[0]
    assert [one for one in fake.told if isinstance(one, str)] == ["suspend", "resume"]


def test_events_are_the_guests_own(monitor: LibvirtMonitor, fake: FakeLibvirt, tmp_path: Path) -> None:
    monitor.connect()
    fake.say("RESET", guest=True)
    fake.say("BLOCK_IO_ERROR", operation="write", action="stop", nospace=True)
    fake.say("STOP")
    fake.say("GUEST_PANICKED", action="pause", info={"type": "hyper-v"} | {f"arg{n}": n for n in range(1, 6)})
    fake.say("SHUTDOWN", guest=True, reason="guest-shutdown")
    fake.say("SHUTDOWN", guest=False, reason="host-signal")  # libvirt's own quit
    fake.end()
    assert monitor.events() == (
        MachineEventKind.RESET, MachineEventKind.IO_ERROR, MachineEventKind.PANIC, MachineEventKind.SHUTDOWN,
    )  # fmt: skip
    assert monitor.panic() == "0x1 (0x2, 0x3, 0x4, 0x5)"
    assert not monitor.connected
    written = [json.loads(line) for line in (tmp_path / "events.ndjson").read_text().splitlines()]
    assert [one["event"] for one in written] == ["RESET", "BLOCK_IO_ERROR", "GUEST_PANICKED", "SHUTDOWN"]
    assert written[0]["timestamp"] == {"seconds": 1, "microseconds": 2}


def test_what_happens_to_another_machine_is_not_this_ones(monitor: LibvirtMonitor, fake: FakeLibvirt) -> None:
    monitor.connect()
    fake.uuid = UUID.replace("5", "6")
    fake.say("RESET", guest=True)
    fake.events[1](fake, fake, STOPPED, 0, None)
    assert monitor.events() == () and monitor.connected
    fake.uuid = UUID
    fake.say("RESET", guest=True)
    assert monitor.events() == (MachineEventKind.RESET,)
    monitor.close()
    fake.say("RESET", guest=True)
    assert monitor.events() == (MachineEventKind.RESET,), "nobody listens any more"


def test_a_lost_connection_is_no_end_of_the_machine_but_nothing_is_heard(
    monitor: LibvirtMonitor, fake: FakeLibvirt
) -> None:
    monitor.connect()
    fake.hang_up()
    assert not monitor.connected
    monitor.connect()
    assert monitor.connected and len(fake.opened) == 2


def test_a_machine_that_is_gone_gives_no_answer(monitor: LibvirtMonitor, fake: FakeLibvirt) -> None:
    monitor.connect()
    fake.answers["query-status"] = GONE
    with pytest.raises(NoAnswer):
        monitor.execute("query-status")
    assert not monitor.connected
    fake.there = False
    with pytest.raises(NoAnswer):
        monitor.execute("query-status")


def test_why_memory_was_refused_is_heard_though_qemu_has_ended_by_then(
    monitor: LibvirtMonitor, fake: FakeLibvirt, tmp_path: Path
) -> None:
    def refused() -> dict[str, Any]:
        fake.say("MIGRATION", status="failed")
        fake.end()
        return {"return": {}}

    fake.answers["migrate-incoming"] = refused
    (tmp_path / "memory").touch()
    with (tmp_path / "memory").open("rb") as stream, pytest.raises(MigrationFailed):
        monitor.migrate("migrate-incoming", stream.fileno(), forever())


def test_memory_is_loaded_through_a_pipe_and_only_after_qemu_has_answered(
    monitor: LibvirtMonitor, fake: FakeLibvirt, tmp_path: Path
) -> None:
    """Or a QEMU that does not like it is gone before it has answered, and libvirt forgets that it said "failed"."""
    memory = os.urandom(3 << 20)
    read: list[bytes] = []

    def load(pipe: int) -> None:
        with os.fdopen(pipe, "rb") as stream:
            read.append(stream.read())
        fake.say("MIGRATION", status="completed")

    def accept() -> dict[str, Any]:
        (given,) = (told[1] for told in fake.told if isinstance(told, tuple) and told[0] == "getfd")
        assert not select.select(given, [], [], 0)[0]
        threading.Thread(target=load, args=(os.dup(given[0]),)).start()
        return {"return": {}}

    fake.answers["migrate-incoming"] = accept
    (tmp_path / "memory").write_bytes(memory)
    with (tmp_path / "memory").open("rb") as stream:
        monitor.migrate("migrate-incoming", stream.fileno(), forever())
    assert read == [memory]


def test_nothing_waits_for_a_pipe_that_nobody_reads(monitor: LibvirtMonitor, fake: FakeLibvirt, tmp_path: Path) -> None:
    def refuse() -> dict[str, Any]:
        fake.say("MIGRATION", status="failed")
        return {"return": {}}

    fake.answers["migrate-incoming"] = refuse
    (tmp_path / "memory").write_bytes(bytes(3 << 20))
    with (tmp_path / "memory").open("rb") as stream, pytest.raises(MigrationFailed):
        monitor.migrate("migrate-incoming", stream.fileno(), forever())
    assert not [thread for thread in threading.enumerate() if thread.name == "piped memory"]


def test_a_qemu_that_libvirt_lost_has_refused_nothing(monitor: LibvirtMonitor, fake: FakeLibvirt) -> None:
    """It may have done what it was told to."""
    fake.answers["query-status"] = FakeError(38, "Unable to read from monitor: Connection reset by peer")
    with pytest.raises(NoAnswer, match="no answer") as caught:
        monitor.execute("query-status")
    assert "reset by peer" in str(caught.value.details)


@pytest.mark.parametrize(
    ("number", "words", "told"),
    [
        (1, "qemu unexpectedly closed the monitor: cannot set up guest memory 'pc.ram'", "MiB of free memory"),
        (1, 'qemu: Failed to get "write" lock', "QEMU did not start"), (9, "already exists", "of the name of"),
        (38, "Cannot access storage file '/x' (as uid:64055)", "could not use what"),
        (92, "Extra element devices", "does not take"), (27, "No PCI buses available", "does not take"),
    ],
)  # fmt: skip
def test_why_a_machine_was_not_started(tmp_path: Path, number: int, words: str, told: str) -> None:
    failure = not_started(make_spec("m", tmp_path, tmp_path / "b"), Refused(number, words))
    assert told in failure.message and words in failure.details[0]
    assert failure.hint
