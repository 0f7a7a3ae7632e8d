"""What a step on Windows gets in tests that run it: a machine of fixtures/guests, without a server before it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from aibemu.clock import Deadline, forever
from aibemu.communicators import Credentials, ExitStatus, OnLine, Sink, Stream, UploadFailed
from aibemu.customizers import Restart
from aibemu.errors import Expired
from aibemu.systems import GuestSystem, load
from fixtures.guests.machine import WindowsMachine
from tests.guest_calls import PATIENCE, Collected, begin


class DirectCommunicator:
    """An `aibemu.communicators.Communicator` that asks the machine itself. `told`: the command lines."""

    banner = ""

    def __init__(self, machine: WindowsMachine) -> None:
        self.machine = machine
        self.told: list[str] = []
        self._going: Collected | None = None
        machine.on_power(self._power)

    def _power(self, kind: str, seconds: float) -> None:
        """What runs when the machine goes down has no end."""
        if self._going is not None:
            self._going.over.set()

    def _call(self, command: str, stdin: bytes = b"") -> tuple[ExitStatus, str, str]:
        output, running = begin(self.machine, command)
        self._going = output
        running.feed(stdin, end=True)
        assert output.over.wait(PATIENCE), f"no end of {command!r}"
        self._going = None
        stdout, stderr = (output.raw(name).decode().replace("\r\n", "\n") for name in ("stdout", "stderr"))
        return ExitStatus(code=output.code, disconnected=output.code is None), stdout, stderr

    def run(
        self, command: str, *, deadline: Deadline, on_line: OnLine | None = None, stdin: bytes | None = None
    ) -> ExitStatus:
        deadline.check()
        self.told.append(command)
        status, stdout, stderr = self._call(command, stdin or b"")
        for stream, text in ((Stream.STDOUT, stdout), (Stream.STDERR, stderr)):
            for line in text.splitlines():
                if on_line is not None:
                    on_line(stream, line)
        return status

    def exchange(self, command: str, *, stdin: Iterable[bytes], sink: Sink, deadline: Deadline) -> ExitStatus:
        raise NotImplementedError

    def output(self, command: str, *, deadline: Deadline) -> tuple[ExitStatus, str]:
        status, stdout, _ = self._call(command)
        return status, stdout

    def upload(self, source: Path, destination: str, *, deadline: Deadline, mode: int | None = None) -> None:
        self.write(source.read_bytes(), destination, deadline=deadline)

    def write(self, content: bytes, destination: str, *, deadline: Deadline, mode: int | None = None) -> None:
        self.told.append(f"write {destination}")
        try:
            self.machine.host(destination.replace("/", "\\")).write_bytes(content)
        except OSError as error:
            raise UploadFailed(str(error)) from error

    def download(self, source: str, destination: Path, *, deadline: Deadline) -> None:
        destination.write_bytes(self.machine.host(source).read_bytes())

    def session(self, *, deadline: Deadline) -> int:
        return 0

    def become(self, credentials: Credentials) -> None:
        return

    def reconnect(self, deadline: Deadline) -> None:
        return

    def describe(self) -> str:
        return "(no connection)"

    def close(self) -> None:
        return


@dataclass(kw_only=True)
class WindowsGuest:
    """An `aibemu.customizers.Guest`."""

    communicator: DirectCommunicator
    credentials: Credentials
    deadline: Deadline = field(default_factory=forever)
    system: GuestSystem = field(default_factory=lambda: load("Windows"))
    lines: list[tuple[Stream, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    # The boot that is known.
    booted: str = ""

    def __post_init__(self) -> None:
        self.booted = self._boot()

    def _boot(self) -> str:
        return (self.communicator.machine.guest.state / "boot").read_text(encoding="ascii")

    def on_line(self, stream: Stream, line: str) -> None:
        self.lines.append((stream, line))

    def say(self, text: str) -> None:
        self.said.append(text)

    def command_started(self, command: str) -> None:
        self.said.append(f"starting {command}")

    def command_ended(self, command: str, exit_code: int) -> None:
        self.said.append(f"{exit_code} from {command}")

    def keep(self, name: str, text: str) -> str:
        self.kept[name] = text
        return name

    @property
    def text(self) -> str:
        """All that the step let people see."""
        return "\n".join(line for _, line in self.lines)

    def rebooted(self) -> bool:
        try:
            self.deadline.within(10.0).poll(lambda: self._boot() not in ("", self.booted))
        except Expired:
            return False
        self.booted = self._boot()
        return True

    def restart(self, command: str, check: str | None, timeout: float, *, accept: Collection[int] = (0,)) -> Restart:
        """As the engine does: until the boot time has changed."""
        before = self._boot_id()
        status = self.communicator.run(command, deadline=self.deadline)
        if status.code is not None and status.code not in accept:
            return Restart(command=status, restarted=False, ready=False, seconds=0.0)
        self.deadline.within(300.0).poll(lambda: self._boot_id() not in ("", before))
        return Restart(command=status, restarted=True, ready=True, seconds=0.0)

    def _boot_id(self) -> str:
        try:
            return self.system.boot_id(self.communicator, self.deadline)
        except ConnectionError:
            return ""


def guest_of(machine: WindowsMachine, folder: Path) -> WindowsGuest:
    """A step's guest on that machine, with its user's password in a file of `folder`."""
    password = folder / "password"
    password.write_text(machine.settings.password, encoding="utf-8")
    credentials = Credentials(user=machine.settings.user, password_file=password)
    return WindowsGuest(communicator=DirectCommunicator(machine), credentials=credentials)
