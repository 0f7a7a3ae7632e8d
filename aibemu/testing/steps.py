"""What a customizer gets in a test of its own: a guest that follows a script (`aibemu.testing.script`)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from aibemu.clock import CancelToken, Clock, forever
from aibemu.communicators import Credentials, Stream
from aibemu.customizers import Restart
from aibemu.systems import GuestSystem, load
from aibemu.testing.guest import ScriptedCommunicator
from aibemu.testing.script import Script


class ScriptedGuest:
    """An `aibemu.customizers.Guest` around a `ScriptedCommunicator`. `lines`: what a step let people see;
    `said`: what it said for Packer; `kept`: files of the guest's that it kept; `commands`: what it told the log of its
    commands, an exit code or None."""

    def __init__(
        self, system: GuestSystem | None = None, script: Script | None = None, clock: Clock | None = None,
        cancel: CancelToken | None = None, credentials: Credentials | None = None,
    ) -> None:  # fmt: skip
        self.system = system or load("Linux")
        self.communicator = ScriptedCommunicator(script)
        self.deadline = replace(forever(clock), cancel=CancelToken() if cancel is None else cancel)
        self.credentials = credentials or Credentials(user="packer")
        self.lines: list[tuple[Stream, str]] = []
        self.said: list[str] = []
        self.commands: list[tuple[str, int | None]] = []
        self.kept: dict[str, str] = {}
        self._boot = self.communicator.machine.boot_id()

    def say(self, text: str) -> None:
        self.said.append(text)

    def command_started(self, command: str) -> None:
        self.commands.append((command, None))

    def command_ended(self, command: str, exit_code: int) -> None:
        self.commands.append((command, exit_code))

    def on_line(self, stream: Stream, line: str) -> None:
        self.lines.append((stream, line))

    def keep(self, name: str, text: str) -> str:
        self.kept[name] = text
        return name

    def rebooted(self) -> bool:
        before, self._boot = self._boot, self.communicator.machine.boot_id()
        return self._boot != before

    def restart(self, command: str, check: str | None, timeout: float, *, accept: Collection[int] = (0,)) -> Restart:
        status = self.communicator.run(command, deadline=self.deadline)
        restarted = (status.code is None or status.code in accept) and self.rebooted()
        ready = restarted and (check is None or self.communicator.run(check, deadline=self.deadline).ok)
        return Restart(command=status, restarted=restarted, ready=ready, seconds=0.0)
