"""A small QMP client: JSON lines over a unix socket. One thread reads: answers go to whoever
asked, events to a callback.

QEMU talks to one client at a time. A second connection is accepted by the kernel but never greeted, so a greeting
that does not come means that another process holds the monitor.
"""

from __future__ import annotations

import array
import contextlib
import contextvars
import json
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from aibemu.clock import Deadline, forever
from aibemu.errors import Expired
from aibemu.records import parse_json

Message = Mapping[str, Any]
# Seconds: a busy emulated host answers late, but does answer.
ANSWER = 60.0
# Seconds between two looks at the deadline.
LOOK = 0.5


class QmpError(Exception):
    """QEMU refused a command; str() is its own description."""


class Client(Protocol):
    """What asks one QEMU, and hears of its events; `QmpClient` says what the methods do."""

    @property
    def closed(self) -> bool: ...

    def execute(
        self,
        command: str,
        arguments: Message | None = None,
        *,
        timeout: float = ANSWER,
        descriptor: int | None = None,
        deadline: Deadline | None = None,
    ) -> Any: ...

    def drain(self, seconds: float) -> None: ...

    def close(self) -> None: ...


class QmpClient:
    """One connection to one QEMU. `execute` may be called from any thread, one at a time."""

    def __init__(self, path: Path, on_event: Callable[[Message], None], *, greeting: float) -> None:
        """Connect and negotiate. `OSError` if nobody listens, `TimeoutError` if not greeted in `greeting` seconds."""
        self._on_event = on_event
        self._answers: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._asking = threading.Lock()
        self._number = 0
        self._closed = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._stream = self._socket.makefile("rb")
        try:
            self._greet(path, greeting)
        except BaseException:
            self._stream.close()
            self._socket.close()
            raise
        context = contextvars.copy_context()  # or the events of this machine lose the run's context
        self._reader = threading.Thread(target=context.run, args=(self._read,), name=f"qmp {path}", daemon=True)
        self._reader.start()
        try:
            self.execute("qmp_capabilities")
        except BaseException:
            self.close()
            raise

    def _greet(self, path: Path, seconds: float) -> None:
        self._socket.settimeout(seconds)
        self._socket.connect(str(path))
        while not self._hear_greeting(path):
            pass
        self._socket.settimeout(None)

    def _hear_greeting(self, path: Path) -> bool:
        """One line of QEMU's. An event may come before the greeting: it tells everybody who is connected, and greets in
        another thread (kata-containers/govmm#90).
        """
        line = self._stream.readline()
        try:
            message = dict(parse_json(line or b"{}"))
        except (ValueError, TypeError):
            message = {}
        if "event" in message:
            self._on_event(message)
        elif "QMP" not in message:
            said = f"{line[:200]!r} instead of" if line else "hung up before"
            raise ConnectionResetError(f"{path}: {said} a QMP greeting")
        return "QMP" in message

    @property
    def closed(self) -> bool:
        """True when QEMU hung up (it ended) or `close` was called."""
        return self._closed.is_set()

    def execute(
        self,
        command: str,
        arguments: Message | None = None,
        *,
        timeout: float = ANSWER,
        descriptor: int | None = None,
        deadline: Deadline | None = None,
    ) -> Any:
        """Run a command; its return value. `descriptor` goes with it (`getfd`).

        `QmpError` if refused, `ConnectionError` if QEMU is gone or silent; and `deadline`'s own for the build's end.
        """
        bound = (deadline or forever()).within(timeout, scaled=False)
        with self._asking:
            self._number += 1
            request = {"execute": command, "arguments": dict(arguments or {}), "id": self._number}
            if self.closed:
                raise ConnectionResetError("QEMU has hung up")
            self._send(json.dumps(request).encode() + b"\n", descriptor)
            while True:
                answer = self._next_answer(bound, command, timeout)
                if answer.get("id") != self._number:
                    continue  # the late answer of a command that was given up
                if "error" in answer:
                    raise QmpError(str(answer["error"].get("desc", answer["error"])))
                return answer["return"]

    def _next_answer(self, bound: Deadline, command: str, timeout: float) -> Message:
        look = min(LOOK, timeout)  # the first one is not cut short: QEMU gets its moment when the build has ended, too
        while True:
            try:
                answer = self._answers.get(timeout=look)
            except queue.Empty:
                try:
                    bound.check()
                except Expired:
                    raise ConnectionAbortedError(f"QEMU did not answer {command!r} in {timeout:.0f} s") from None
                look = min(LOOK, bound.remaining())
                continue
            if answer is None:
                self._answers.put(None)
                raise ConnectionResetError("QEMU has hung up")
            return answer

    def _send(self, text: bytes, descriptor: int | None) -> None:
        if descriptor is None:
            self._socket.sendall(text)
            return
        rights = array.array("i", [descriptor])
        sent = self._socket.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        self._socket.sendall(text[sent:])

    def drain(self, seconds: float) -> None:
        """After QEMU ended: wait until all that it said has been heard."""
        self._reader.join(seconds)

    def close(self) -> None:
        """Hang up; QEMU goes on running and may be connected to again."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if threading.current_thread() is not self._reader:
            self._reader.join(5.0)
        self._socket.close()

    def _read(self) -> None:
        try:
            for line in self._stream:
                message = parse_json(line)
                if "event" in message:
                    self._on_event(message)
                else:
                    self._answers.put(message)
        except (OSError, ValueError):
            pass  # a connection cut in the middle of a line: the end, as an orderly hang-up is
        finally:
            self._closed.set()
            self._answers.put(None)
            self._stream.close()
