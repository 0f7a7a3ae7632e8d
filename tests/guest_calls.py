"""Calls of a guest of fixtures/guests without a server before it: start a command, wait for its end."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fixtures.guests.executor import Machine, Running, Start, Stream

# More than any single call takes on a machine that is busy with four workers.
PATIENCE = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended; texts as UTF-8 with LF."""

    code: int
    stdout: str
    stderr: str


@dataclass(slots=True)
class Collected:
    """Output that a command left."""

    pieces: list[tuple[Stream, bytes]] = field(default_factory=list)
    code: int | None = None
    over: threading.Event = field(default_factory=threading.Event)
    came: threading.Condition = field(default_factory=threading.Condition)

    def put(self, stream: Stream, data: bytes) -> None:
        with self.came:
            self.pieces.append((stream, data))
            self.came.notify_all()

    def end(self, exit_code: int) -> None:
        assert self.code is None, "a command ends once"
        self.code = exit_code
        self.over.set()

    def raw(self, stream: Stream) -> bytes:
        return b"".join(data for name, data in self.pieces if name == stream)

    def wait_for(self, text: bytes) -> None:
        """Wait until standard output has that text."""
        with self.came:
            assert self.came.wait_for(lambda: text in self.raw("stdout"), PATIENCE), f"no {text!r} in {self.pieces}"


def begin(
    machine: Machine, line: str, *, directory: str | None = None, environment: Mapping[str, str] | None = None,
    skip_cmd_shell: bool = False, code_page: int = 65001,
) -> tuple[Collected, Running]:  # fmt: skip
    """Start a command."""
    output = Collected()
    what = Start(
        command=line, skip_cmd_shell=skip_cmd_shell, environment=environment or {}, directory=directory,
        code_page=code_page, user="packer",
    )  # fmt: skip
    return output, machine.start(what, output)


def call(machine: Machine, line: str, *, stdin: bytes = b"", directory: str | None = None) -> Done:
    """Run a command to its end."""
    output, running = begin(machine, line, directory=directory)
    running.feed(stdin, end=True)
    assert output.over.wait(PATIENCE), f"no end of {line!r} after {PATIENCE} s: {output.pieces}"
    assert output.code is not None
    texts = {name: output.raw(name).decode().replace("\r\n", "\n") for name in ("stdout", "stderr")}
    return Done(code=output.code, stdout=texts["stdout"], stderr=texts["stderr"])


def powershell(script: str, options: str = "") -> str:
    """The line that runs a script with -EncodedCommand."""
    return f"powershell {options} -EncodedCommand {base64.b64encode(script.encode('utf-16-le')).decode()}"


def until(happened: Callable[[], bool]) -> None:
    """Look again and again, until it happened."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
