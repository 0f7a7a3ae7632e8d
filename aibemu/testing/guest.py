"""A guest that follows a script (`aibemu.testing.script`) and runs nothing; it records what it was asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from aibemu.clock import Deadline
from aibemu.communicators import Credentials, ExitStatus, OnLine, Sink, Stream, UploadFailed
from aibemu.testing.script import Rule, Script

# A command that asks for these lines gets them, for the engine trusts nothing else (aibemu.customizers.shell).
_STARTED = re.compile(r"AIBEMU-STARTED-[0-9a-f]+")
_STOPPING = re.compile(r"AIBEMU-STOPPING-[0-9a-f]+")
# A command that asks which boot this is, in whatever words. It is the engine's own, so no rule and no transcript.
_BOOT_ID = re.compile(r"\bboot_id$|LastBootUpTime")
_LONGEST_TEXT = 65536  # characters of a file's text that a transcript keeps

Record = Callable[[Mapping[str, Any]], None]


class ScriptedGuestMachine(Protocol):
    """What a scripted guest needs of its machine."""

    @property
    def id(self) -> str: ...

    def is_up(self) -> bool: ...

    def boot_id(self) -> str: ...

    def reboot(self) -> None: ...

    def power_off(self) -> None: ...

    def say(self, lines: Sequence[str]) -> None:
        """On its console."""
        ...


class ScriptedMachine:
    """A machine in memory, for tests of a communicator alone."""

    id = "scripted"

    def __init__(self) -> None:
        self.boots = 1
        self.on = True
        self.said: list[str] = []

    def is_up(self) -> bool:
        return self.on

    def boot_id(self) -> str:
        return f"boot-{self.boots}"

    def reboot(self) -> None:
        self.boots += 1

    def power_off(self) -> None:
        self.on = False

    def say(self, lines: Sequence[str]) -> None:
        self.said += lines


class ScriptedCommunicator:
    """An `aibemu.communicators.Communicator` that follows a `Script`. `transcript` is all that was asked, in order.

    A question for the boot's id, or for the time of the last boot, is answered with the machine's boot id, and is in no
    transcript.
    """

    banner = ""

    def __init__(
        self, script: Script | None = None, machine: ScriptedGuestMachine | None = None, record: Record | None = None
    ) -> None:
        self.script = script or Script()
        self.machine: ScriptedGuestMachine = machine or ScriptedMachine()
        self.transcript: list[Mapping[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.closed = False
        self._record = record

    def run(
        self, command: str, *, deadline: Deadline, on_line: OnLine | None = None, stdin: bytes | None = None
    ) -> ExitStatus:
        deadline.check()
        text = "" if stdin is None else stdin.decode(errors="replace")
        said: list[tuple[Stream, str]] = []
        if self.machine.is_up():
            rule = self.script.answer(f"{command}\n{text}", self.machine.id)
            said = _lines(rule, command)
        else:
            rule = Rule(match=re.compile(""), disconnect=True)
        self._note(op="run", command=command, stdin=None if stdin is None else text, **_outcome(rule))
        if rule.console:
            self.machine.say(rule.console)
        _wait(rule, deadline)
        for stream, line in said:
            if on_line is not None:
                on_line(stream, line)
        self._after(rule)
        return ExitStatus(code=None, disconnected=True) if rule.disconnect else ExitStatus(code=rule.exit)

    def exchange(self, command: str, *, stdin: Iterable[bytes], sink: Sink, deadline: Deadline) -> ExitStatus:
        return self.run(
            command, deadline=deadline, stdin=b"".join(stdin),
            on_line=lambda stream, line: sink(stream, f"{line}\n".encode()),
        )  # fmt: skip

    def output(self, command: str, *, deadline: Deadline) -> tuple[ExitStatus, str]:
        if _BOOT_ID.search(command):
            return self._which_boot(deadline)
        lines: list[str] = []

        def on_line(stream: Stream, line: str) -> None:
            if stream is Stream.STDOUT:
                lines.append(f"{line}\n")

        status = self.run(command, deadline=deadline, on_line=on_line)
        return status, "".join(lines)

    def upload(self, source: Path, destination: str, *, deadline: Deadline, mode: int | None = None) -> None:
        self._put(source.read_bytes(), destination, deadline, mode, str(source))

    def write(self, content: bytes, destination: str, *, deadline: Deadline, mode: int | None = None) -> None:
        self._put(content, destination, deadline, mode, None)

    def download(self, source: str, destination: Path, *, deadline: Deadline) -> None:
        """What was uploaded there, or the stdout of a rule for `download:SOURCE`; else `FileNotFoundError`."""
        rule = self._transfer(f"download:{source}", deadline, op="download", source=source)
        content = self.files.get(source)
        if rule.stdout:
            content = "".join(f"{line}\n" for line in rule.stdout).encode()
        if content is None:
            raise FileNotFoundError(source)
        destination.write_bytes(content)

    def session(self, *, deadline: Deadline) -> int:
        deadline.check()
        return 0

    def become(self, credentials: Credentials) -> None:
        return

    def reconnect(self, deadline: Deadline) -> None:
        deadline.check()
        if not self.machine.is_up():
            raise ConnectionError(f"the machine {self.machine.id} is off")
        self.closed = False

    def describe(self) -> str:
        return f"(no connection: {self.machine.id} is a scripted machine)"

    def close(self) -> None:
        self.closed = True

    def _which_boot(self, deadline: Deadline) -> tuple[ExitStatus, str]:
        deadline.check()
        if not self.machine.is_up():
            return ExitStatus(code=None, disconnected=True), ""
        return ExitStatus(code=0), f"{self.machine.boot_id()}\n"

    def _put(self, content: bytes, destination: str, deadline: Deadline, mode: int | None, source: str | None) -> None:
        self._transfer(
            f"upload:{destination}", deadline, op="upload", source=source, destination=destination, size=len(content),
            mode=None if mode is None else f"{mode:04o}", text=content.decode(errors="replace")[:_LONGEST_TEXT],
        )  # fmt: skip
        self.files[destination] = content

    def _transfer(self, asked: str, deadline: Deadline, /, **entry: Any) -> Rule:
        deadline.check()
        if not self.machine.is_up():
            raise UploadFailed("the connection was lost", disconnected=True)
        rule = self.script.answer(asked, self.machine.id)
        self._note(**entry, **_outcome(rule))
        _wait(rule, deadline)
        self._after(rule)
        if rule.disconnect:
            raise UploadFailed("the connection was lost", disconnected=True)
        if rule.exit:
            raise UploadFailed("\n".join(rule.stderr) or f"exit status {rule.exit}")
        return rule

    def _after(self, rule: Rule) -> None:
        if rule.reboot:
            self.machine.reboot()
        if rule.poweroff:
            self.machine.power_off()

    def _note(self, **entry: Any) -> None:
        entry = {"n": len(self.transcript) + 1, **entry}
        self.transcript.append(entry)
        if self._record is not None:
            self._record(entry)


def _outcome(rule: Rule) -> dict[str, Any]:
    return {"exit": None if rule.disconnect else rule.exit, "disconnected": rule.disconnect}


def _lines(rule: Rule, command: str) -> list[tuple[Stream, str]]:
    """All that the guest says, with the lines that the command itself asks for."""
    said: list[tuple[Stream, str]] = []
    if rule.started and (marker := _STARTED.search(command)):
        said.append((Stream.STDOUT, marker[0]))
    said += [(Stream.STDOUT, line) for line in rule.stdout]
    said += [(Stream.STDERR, line) for line in rule.stderr]
    if rule.reboot and not rule.disconnect and (marker := _STOPPING.search(command)):
        said.append((Stream.STDERR, marker[0]))
    return said


def _wait(rule: Rule, deadline: Deadline) -> None:
    if rule.delay:
        deadline.sleep(rule.delay)
    if rule.until:
        deadline.poll(Path(rule.until).exists, every=0.02)
