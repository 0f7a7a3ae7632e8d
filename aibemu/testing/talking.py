"""A communicator that is not SSH: lines of JSON over TCP, with a password. And a guest that listens for it.

One connection is one command: `{"user", "password", "command", "stdin"}` (bytes as base64) is answered by
`{"stream", "data"}` lines and at last `{"code"}`; the end of the connection without it is a lost one.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol

from aibemu.clock import Deadline
from aibemu.communicators import Access, Credentials, ExitStatus, OnLine, Sink, Stream, UploadFailed
from aibemu.communicators.factory import Watch
from aibemu.communicators.lines import Lines
from aibemu.errors import Expired, HostNotReady, UsageError
from aibemu.files import replacing

GREETING = "FAKE-1"
DENIED = "denied"
LOOK = 0.05  # seconds between two looks at the deadline


class FakeConnector:
    """See `aibemu.communicators.factory.Connector`."""

    title = "Fake"
    port = 564

    def warm_up(self) -> None:
        return

    def await_server(self, access: Access, *, deadline: Deadline, alive: Callable[[], None]) -> str:
        while True:
            deadline.check()
            alive()
            try:
                with socket.create_connection((access.host, access.port), timeout=1) as connection:
                    if greeting := connection.makefile("rb").readline():
                        return greeting.decode().strip()
            except OSError:
                pass
            deadline.sleep(LOOK)

    def connect(self, access: Access, *, deadline: Deadline, watch: Watch) -> FakeCommunicator:
        made = FakeCommunicator(access, watch)
        made.reconnect(deadline)
        return made

    def describe(self, access: Access) -> str:
        return f"talk {access.credentials.user}@{access.host}:{access.port}"

    def shell_program(self) -> str:
        raise UsageError("Plan9 has no shell", hint="aibemu exec runs one command")

    def shell_command(self, access: Access, program: str, *, terminal: bool, entered: Path) -> list[str]:
        raise UsageError("Plan9 has no shell", hint="aibemu exec runs one command")


class FakeCommunicator:
    """See `aibemu.communicators.Communicator`."""

    banner = GREETING

    def __init__(self, access: Access, watch: Watch) -> None:
        self.access, self.credentials, self.watch = access, access.credentials, watch
        self.closed = True

    def run(
        self, command: str, *, deadline: Deadline, on_line: OnLine | None = None, stdin: bytes | None = None
    ) -> ExitStatus:
        give = on_line or (lambda stream, line: None)
        cutters = {stream: Lines(lambda line, stream=stream: give(stream, line)) for stream in Stream}  # type: ignore[misc]
        status = self.exchange(
            command, stdin=(stdin or b"",), sink=lambda stream, data: cutters[stream].feed(data), deadline=deadline
        )  # fmt: skip
        for cutter in cutters.values():
            cutter.close()
        return status

    def exchange(self, command: str, *, stdin: Iterable[bytes], sink: Sink, deadline: Deadline) -> ExitStatus:
        deadline.check()
        if self.closed:
            return ExitStatus(code=None, disconnected=True)
        asked = {"command": command, "stdin": base64.b64encode(b"".join(stdin)).decode()}
        try:
            for answer in self._ask(asked, deadline):
                if "code" in answer:
                    return ExitStatus(code=answer["code"])
                sink(Stream(answer["stream"]), base64.b64decode(answer["data"]))
        except OSError:
            pass
        return ExitStatus(code=None, disconnected=True)

    def output(self, command: str, *, deadline: Deadline) -> tuple[ExitStatus, str]:
        heard = bytearray()

        def sink(stream: Stream, data: bytes) -> None:
            if stream is Stream.STDOUT:
                heard.extend(data)

        return self.exchange(command, stdin=(), sink=sink, deadline=deadline), heard.decode("utf-8", "replace")

    def upload(self, source: Path, destination: str, *, deadline: Deadline, mode: int | None = None) -> None:
        self.write(source.read_bytes(), destination, deadline=deadline, mode=mode)

    def write(self, content: bytes, destination: str, *, deadline: Deadline, mode: int | None = None) -> None:
        said = bytearray()
        status = self.exchange(
            f"write {destination}", stdin=(content,), sink=lambda _, data: said.extend(data), deadline=deadline
        )  # fmt: skip
        if not status.ok:
            raise UploadFailed(said.decode() or "the connection was lost", disconnected=status.disconnected)

    def download(self, source: str, destination: Path, *, deadline: Deadline) -> None:
        with replacing(destination) as partial:
            with partial.open("wb") as file:
                status = self.exchange(
                    f"read {source}", stdin=(), sink=lambda _, data: (file.write(data), None)[1], deadline=deadline
                )  # fmt: skip
            if status.disconnected:
                raise UploadFailed("the connection was lost", disconnected=True)
            if not status.ok:
                raise FileNotFoundError(source)

    def session(self, *, deadline: Deadline) -> int:
        deadline.check()
        return 0

    def become(self, credentials: Credentials) -> None:
        self.credentials = credentials

    def reconnect(self, deadline: Deadline) -> None:
        """Ask whether the login is good until it is."""
        answer = f"nothing answered on {self.access.host} port {self.access.port}"
        self.closed = True
        try:
            while self.closed:
                self.watch.alive()
                with suppress(OSError, ValueError):
                    (first, *_) = self._ask({"command": "", "stdin": ""}, deadline)
                    self.closed = first.get("code") != 0
                    answer = f"the guest refused the login of {self.credentials.user}"
                if self.closed:
                    deadline.sleep(LOOK)
        except Expired as error:
            raise Expired(answer) from error

    def describe(self) -> str:
        return FakeConnector().describe(self.access)

    def close(self) -> None:
        self.closed = True

    def _ask(self, asked: dict[str, Any], deadline: Deadline) -> Iterator[dict[str, Any]]:
        """The answers, as they come; OSError when the connection is not to be had."""
        try:
            password = self.credentials.password()
        except (OSError, ValueError) as error:
            raise HostNotReady(f"there is no password: {error}") from error
        with socket.create_connection((self.access.host, self.access.port), timeout=5) as connection:
            who = {"user": self.credentials.user, "password": password}
            connection.sendall(json.dumps(asked | who).encode() + b"\n")
            connection.settimeout(LOOK)
            rest = bytearray()
            while piece := _receive(connection, deadline):
                *lines, last = (bytes(rest) + piece).split(b"\n")
                rest[:] = last
                yield from (json.loads(line) for line in lines if line.startswith(b"{"))


def _receive(connection: socket.socket, deadline: Deadline) -> bytes:
    while True:
        deadline.check()
        try:
            return connection.recv(65536)
        except TimeoutError:
            continue


class Answer(Protocol):
    """Says something on a stream."""

    def __call__(self, stream: Stream, data: bytes) -> None: ...


class FakeGuest:
    """A guest that listens on a port of this host until `close`; it knows one user, a few commands, and files.

    Commands: `say TEXT`, `complain TEXT`, `fail CODE`, `echo` (its input), `write PATH`, `read PATH`, `boot_id`,
    `sysname`, `restart`, `lose` (the connection), `hang`.
    """

    def __init__(self, user: str, password: str) -> None:
        self.user, self.password = user, password
        self.files: dict[str, bytes] = {}
        self.boots = 1
        self._over = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        port: int = self._server.getsockname()[1]
        return port

    def close(self) -> None:
        self._over.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._answer, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        with closing(connection):
            try:
                connection.settimeout(10)
                connection.sendall(f"{GREETING}\n".encode())
                line = connection.makefile("rb").readline()
                if not line:
                    return
                asked = json.loads(line)

                def say(stream: Stream, data: bytes) -> None:
                    told = {"stream": stream.value, "data": base64.b64encode(data).decode()}
                    connection.sendall(json.dumps(told).encode() + b"\n")

                known = (asked["user"], asked["password"]) == (self.user, self.password)
                code = self._run(asked["command"], base64.b64decode(asked["stdin"]), say) if known else 255
                if code is not None:
                    connection.sendall(json.dumps({"code": code}).encode() + b"\n")
            except OSError:
                return

    def _run(self, command: str, stdin: bytes, say: Answer) -> int | None:
        """The exit status; None when the connection is lost."""
        verb, _, text = command.partition(" ")
        if verb == "hang":
            self._over.wait()
        if verb in ("lose", "restart", "hang"):
            self.boots += verb == "restart"
            return None
        if verb == "write":
            self.files[text] = stdin
        elif verb == "read" and text not in self.files:
            return 1
        elif verb == "fail":
            return int(text)
        known: dict[str, tuple[Stream, bytes]] = {
            "say": (Stream.STDOUT, f"{text}\n".encode()), "complain": (Stream.STDERR, f"{text}\n".encode()),
            "echo": (Stream.STDOUT, stdin), "read": (Stream.STDOUT, self.files.get(text, b"")),
            "boot_id": (Stream.STDOUT, f"boot-{self.boots}\n".encode()), "sysname": (Stream.STDOUT, b"gnot\n"),
        }  # fmt: skip
        if verb in known:
            say(*known[verb])
        return 0
