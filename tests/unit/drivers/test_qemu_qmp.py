from __future__ import annotations

import contextlib
import contextvars
import json
import socket
import threading
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

import pytest

from aibemu.errors import ProvisionFailed
from aibemu.hypervisor import MachineEventKind
from aibemu_drivers.qemu.monitor import Monitor, kind_of, told_by
from aibemu_drivers.qemu.qmp import Message, QmpClient, QmpError

GREETING: dict[str, Any] = {"QMP": {"version": {}, "capabilities": []}}
HANG_UP = {"hang up": True}
Answer = Callable[[dict[str, Any]], list[dict[str, Any]]]


class FakeQemu:
    """A QMP server in a thread: one client at a time, as QEMU. `answer` maps a request to the lines that follow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first: list[dict[str, Any]] = [GREETING]
        self.answer: Answer = lambda request: [{"return": {}, "id": request["id"]}]
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client, client.makefile("rb") as stream, contextlib.suppress(OSError):
                self._talk(client, stream)

    def _talk(self, client: socket.socket, stream: BufferedReader) -> None:
        for message in self.first:
            self._say(client, message)
        for line in stream:
            for message in self.answer(json.loads(line)):
                if message == HANG_UP:
                    return
                self._say(client, message)

    @staticmethod
    def _say(client: socket.socket, message: Message) -> None:
        client.sendall(json.dumps(message).encode() + b"\n")


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[FakeQemu]:
    fake = FakeQemu(tmp_path / "q")
    yield fake
    fake.listener.shutdown(socket.SHUT_RDWR)
    fake.listener.close()


def connect(qemu: FakeQemu, on_event: Callable[[Message], None] = lambda message: None) -> QmpClient:
    return QmpClient(qemu.path, on_event, greeting=5)


def test_a_command_gets_its_answer(qemu: FakeQemu) -> None:
    qemu.answer = lambda request: [{"return": {"asked": request["execute"]}, "id": request["id"]}]
    client = connect(qemu)
    assert client.execute("query-status") == {"asked": "query-status"}
    client.close()
    assert client.closed


def test_a_refusal_is_qemus_own_words(qemu: FakeQemu) -> None:
    client = connect(qemu)
    qemu.answer = lambda request: [{"error": {"class": "GenericError", "desc": "no such device"}, "id": request["id"]}]
    with pytest.raises(QmpError, match="no such device"):
        client.execute("eject")
    client.close()


def test_events_go_to_the_callback_in_order_and_in_our_context(qemu: FakeQemu) -> None:
    run: contextvars.ContextVar[str] = contextvars.ContextVar("run", default="none")
    run.set("3f2c")
    seen: list[tuple[str, str]] = []
    qemu.answer = lambda request: [{"event": "RESET"}, {"event": "STOP"}, {"return": {}, "id": request["id"]}]
    client = connect(qemu, lambda message: seen.append((message["event"], run.get())))
    client.close()
    assert seen == [("RESET", "3f2c"), ("STOP", "3f2c")]


def test_an_event_may_come_before_the_greeting(qemu: FakeQemu) -> None:
    qemu.first = [{"event": "NETDEV_STREAM_CONNECTED"}, {"event": "STOP"}, GREETING]
    seen: list[str] = []
    client = connect(qemu, lambda message: seen.append(message["event"]))
    assert client.execute("query-status") == {}
    client.close()
    assert seen == ["NETDEV_STREAM_CONNECTED", "STOP"]


def test_the_late_answer_of_an_earlier_command_is_not_taken_for_the_next(qemu: FakeQemu) -> None:
    client = connect(qemu)
    qemu.answer = lambda request: []
    with pytest.raises(ConnectionError, match="did not answer 'slow'"):
        client.execute("slow", timeout=0.05)
    qemu.answer = lambda request: [
        {"return": "of slow", "id": request["id"] - 1},
        {"return": "of fast", "id": request["id"]},
    ]
    assert client.execute("fast") == "of fast"
    client.close()


def test_a_hang_up_ends_the_command_and_every_later_one(qemu: FakeQemu) -> None:
    client = connect(qemu)
    qemu.answer = lambda request: [HANG_UP]
    for _ in range(2):
        with pytest.raises(ConnectionError):
            client.execute("quit")
    client.drain(5)
    assert client.closed


def test_a_monitor_in_use_greets_nobody_else(qemu: FakeQemu, tmp_path: Path) -> None:
    client = connect(qemu)
    with pytest.raises(TimeoutError):
        QmpClient(qemu.path, lambda message: None, greeting=0.1)
    with pytest.raises(ProvisionFailed, match="in use by another process"):
        Monitor("m", qemu.path, tmp_path).connect(greeting=0.1)
    client.close()


def test_what_is_no_qmp_is_refused(tmp_path: Path) -> None:
    for words, seen in (
        (b'{"hello": 1}\n', "hello.* instead of"),
        (b"SSH-2.0\n", "SSH-2.0.* instead of"),
        (b'{"event": "STOP"}\n', "hung up before"),
        (b"42\n", "42.* instead of"),
        (b"", "hung up before"),
    ):
        path = tmp_path / f"s{len(words)}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()

            def serve(listener: socket.socket = listener, words: bytes = words) -> None:
                client, _ = listener.accept()
                with client:
                    client.sendall(words)

            thread = threading.Thread(target=serve)
            thread.start()
            with pytest.raises(ConnectionError, match=f"{seen} a QMP greeting"):
                QmpClient(path, lambda message: None, greeting=5)
            thread.join()


def test_a_monitor_connects_again_and_keeps_its_events(qemu: FakeQemu, tmp_path: Path) -> None:
    monitor = Monitor("m", qemu.path, tmp_path)
    shutdown = {"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}}
    qemu.answer = lambda request: [shutdown, {"return": {}, "id": request["id"]}]
    monitor.execute("query-status")
    monitor.close()
    monitor.execute("query-status")
    monitor.close()
    assert set(monitor.events()) == {MachineEventKind.SHUTDOWN}
    assert "guest-shutdown" in (tmp_path / "events.ndjson").read_text()
    monitor.restart()
    assert monitor.events() == ()


def test_a_monitor_that_is_gone_is_an_error_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(ProvisionFailed, match="query-status") as failed:
        Monitor("m", tmp_path / "nothing", tmp_path).execute("query-status")
    assert failed.value.details


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"event": "RESET", "data": {"guest": True, "reason": "guest-reset"}}, MachineEventKind.RESET),
        ({"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}}, MachineEventKind.SHUTDOWN),
        ({"event": "SHUTDOWN", "data": {"guest": False, "reason": "host-qmp-quit"}}, None),
        ({"event": "SHUTDOWN", "data": {"guest": False, "reason": "host-signal"}}, None),
        ({"event": "GUEST_PANICKED", "data": {"action": "pause"}}, MachineEventKind.PANIC),
        ({"event": "BLOCK_IO_ERROR", "data": {"operation": "write", "action": "report"}}, MachineEventKind.IO_ERROR),
        ({"event": "BLOCK_IO_ERROR", "data": {"operation": "write", "action": "stop"}}, MachineEventKind.IO_ERROR),
        ({"event": "BLOCK_IO_ERROR", "data": {"operation": "read", "action": "report"}}, None),
        ({"event": "RTC_CHANGE", "data": {}}, None),
    ],
)
def test_what_events_mean(message: Message, kind: MachineEventKind | None) -> None:
    assert kind_of(message) is kind


def panicked(info: dict[str, Any] | None) -> dict[str, Any]:
    data = {"action": "pause"} | ({"info": info} if info is not None else {})
    return {"event": "GUEST_PANICKED", "data": data, "timestamp": {"seconds": 1, "microseconds": 0}}


STOP_CODE = {
    "type": "hyper-v",
    "arg1": 0x7B,
    "arg2": 0xFFFFF880009A97E8,
    "arg3": 0xFFFFFFFFC0000034,
    "arg4": 0,
    "arg5": 0,
}
STOPPED = "0x7B (0xFFFFF880009A97E8, 0xFFFFFFFFC0000034, 0x0, 0x0)"


def test_a_stop_code_is_read_from_the_crash_registers() -> None:
    assert told_by(panicked(STOP_CODE)) == STOPPED


@pytest.mark.parametrize(
    "info", [None, {}, {"type": "s390", "core": 0}, {"type": "hyper-v", "arg1": 1}, STOP_CODE | {"arg5": "x"}]
)
def test_a_panic_that_tells_no_stop_code_is_one_all_the_same(info: dict[str, Any] | None) -> None:
    assert told_by(panicked(info)) is None
    assert kind_of(panicked(info)) is MachineEventKind.PANIC


def test_a_monitor_keeps_the_first_stop_code_until_the_next_start(qemu: FakeQemu, tmp_path: Path) -> None:
    qemu.answer = lambda request: [
        panicked(None), panicked(STOP_CODE), panicked(STOP_CODE | {"arg1": 1}), {"return": {}, "id": request["id"]}
    ]  # fmt: skip
    monitor = Monitor("m", qemu.path, tmp_path)
    monitor.connect()
    assert monitor.panic() == STOPPED
    assert set(monitor.events()) == {MachineEventKind.PANIC}
    monitor.restart()
    assert monitor.panic() is None
