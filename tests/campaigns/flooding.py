"""The driver `flooding`, for campaigns: scripted guests, but a step that says `flood NAME` prints for real, through an
SSH server. Options: those of `scripted`, `port` and `key` of the server, `user`, and `told`: a file that gets
`{"bytes": N, "seconds": S}`, how much of a flood arrived in which time."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Credentials, ExitStatus, OnLine, Sink, Stream
from aibemu.communicators.ssh.communicator import SshCommunicator
from aibemu.hypervisor import DriverFolders, Machine
from aibemu.testing.script import Script
from aibemu_drivers.scripted.communicator import TranscriptCommunicator
from aibemu_drivers.scripted.driver import ScriptedDriver
from aibemu_drivers.scripted.machine import RecordedMachine

# What a step prints, without an end. `long-lines`: of 100 MB each. `tokens` cost most to look for secrets in.
FLOODS = {
    "lines": "yes",
    "empty-lines": "tr '\\0' '\\n' </dev/zero",
    "one-line": "tr '\\0' x </dev/zero",
    "long-lines": "while :; do head -c 100000000 /dev/zero | tr '\\0' x; echo; done",
    "both-streams": "yes & exec tr '\\0' x </dev/zero >&2",
    "tokens": "yes -- -eyJ | tr -d '\\n'",
    "bytes": "cat /dev/urandom",
    "progress": "yes '50%' | tr '\\n' '\\r'",
    "commands": "yes '##vso[task.setvariable variable=x]y'",
}
_WANTED = re.compile(r"^flood ([a-z-]+)$", re.MULTILINE)


class CountingCommunicator(SshCommunicator):
    """Counts the bytes that arrive."""

    arrived = 0
    # Is there as soon as a flood arrives.
    told: Path | None = None

    def exchange(self, command: str, *, stdin: Iterable[bytes], sink: Sink, deadline: Deadline) -> ExitStatus:
        def count(stream: Stream, data: bytes) -> None:
            self.arrived += len(data)
            if self.told is not None:
                self.told.write_text("{}")
                self.told = None
            sink(stream, data)

        return super().exchange(command, stdin=stdin, sink=count, deadline=deadline)


class FloodingCommunicator(TranscriptCommunicator):
    """Answers by its script; floods come from the server."""

    def __init__(
        self, script: Script, machine: RecordedMachine, transcripts: Sequence[Path], server: CountingCommunicator,
        told: Path,
    ) -> None:  # fmt: skip
        super().__init__(script, machine, transcripts)
        self._server = server
        self._told = told

    def run(
        self, command: str, *, deadline: Deadline, on_line: OnLine | None = None, stdin: bytes | None = None
    ) -> ExitStatus:
        status = super().run(command, deadline=deadline, on_line=on_line, stdin=stdin)
        text = f"{command}\n{(stdin or b'').decode(errors='replace')}"
        if wanted := _WANTED.search(text):
            return self._flood(FLOODS[wanted[1]], deadline, on_line)
        return status

    def _flood(self, command: str, deadline: Deadline, on_line: OnLine | None) -> ExitStatus:
        begun, before = time.monotonic(), self._server.arrived
        self._server.told = self._told
        try:
            return self._server.run(command, deadline=deadline, on_line=on_line)
        finally:
            measured = {"bytes": self._server.arrived - before, "seconds": time.monotonic() - begun}
            self._told.write_text(json.dumps(measured))

    def close(self) -> None:
        super().close()
        self._server.close()


class FloodingDriver(ScriptedDriver):
    """See `aibemu.hypervisor.HypervisorDriver`."""

    def __init__(self, options: Mapping[str, str], folders: DriverFolders) -> None:
        self._server = {name: options[name] for name in ("port", "key", "user", "told") if name in options}
        super().__init__({name: value for name, value in options.items() if name not in self._server}, folders)

    def communicator(self, machine: Machine, credentials: Credentials, deadline: Deadline) -> Communicator | None:
        assert isinstance(machine, RecordedMachine)
        login = replace(credentials, user=self._server["user"], key_file=Path(self._server["key"]))
        server = CountingCommunicator.connect("127.0.0.1", int(self._server["port"]), login, deadline=deadline)
        assert isinstance(server, CountingCommunicator)
        told = Path(self._server["told"])
        return FloodingCommunicator(self.script, machine, self._transcripts(machine), server, told)
