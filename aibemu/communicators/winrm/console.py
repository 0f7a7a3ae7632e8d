"""An interactive PowerShell in a guest, line by line, for the person at this terminal: what `aibemu shell` starts.

WinRM has no terminal: a loop in the guest's PowerShell takes a line, runs it, and says when it is ready for the next.
Editing of lines and their history are this host's. Without a terminal, PowerShell runs what standard input says.
"""

from __future__ import annotations

import base64
import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.communicators import Access, Communicator, ExitStatus, Stream
from aibemu.communicators.factory import Watch
from aibemu.communicators.winrm import powershell
from aibemu.communicators.winrm.communicator import WinrmCommunicator
from aibemu.errors import AibemuError, BuildCancelled
from aibemu.records import parse_json

# What ssh ends with when nobody gets in, or the connection is lost.
LOST = 255
LOGIN = 30.0  # seconds
BLOCK = 64 * 1024
# Before each prompt: no text that a person sees begins so.
MARK = "\x02aibemu\x03"
PLAIN = "powershell.exe -NoLogo -NoProfile -ExecutionPolicy Bypass -OutputFormat Text -Command -"

# Lines of base64 on standard input. A line that is not complete is kept until the next ones make it so; an empty line
# ends it.
LOOP = """
function Write-Mark { [Console]::Out.Write(MARK + $args[0] + [char]10); [Console]::Out.Flush() }
$aibemuKept = ''
Write-Mark "PS $(Get-Location)> "
while ($null -ne ($aibemuLine = [Console]::In.ReadLine())) {
    $aibemuLine = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($aibemuLine))
    $aibemuErrors = $null
    $aibemuText = $aibemuKept + $aibemuLine
    [void][Management.Automation.Language.Parser]::ParseInput($aibemuText, [ref]$null, [ref]$aibemuErrors)
    if ($aibemuLine -and ($aibemuErrors | Where-Object { $_.IncompleteInput })) {
        $aibemuKept = $aibemuText + [char]10
        Write-Mark '>> '
        continue
    }
    $aibemuKept = ''
    try { . ([scriptblock]::Create($aibemuText)) | Out-Default } catch { $_ | Out-Default }
    Write-Mark "PS $(Get-Location)> "
}
"""


def main(told: str) -> int:
    """Talk until the person has enough; what the process ends with."""
    asked: dict[str, Any] = parse_json(told.encode())
    cancel = CancelToken()
    deadline = Deadline(clock=SystemClock(), cancel=cancel)
    guest = WinrmCommunicator(Access.from_json(asked["access"]), Watch())
    try:
        guest.reconnect(deadline.within(LOGIN))
        Path(asked["entered"]).touch()
        status = converse(guest, deadline, cancel) if asked["terminal"] else run_input(guest, deadline)
    except (BuildCancelled, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # nobody reads any more: `aibemu shell | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except AibemuError as error:
        _say(f"{error.message}\n", Stream.STDERR)
        return LOST
    finally:
        guest.close()
    if status.disconnected:
        _say("the connection to the guest was lost\n", Stream.STDERR)
    return LOST if status.code is None else min(status.code, LOST - 1)


def run_input(guest: Communicator, deadline: Deadline) -> ExitStatus:
    """PowerShell runs what standard input says."""

    def blocks() -> Iterator[bytes]:
        while block := os.read(0, BLOCK):
            yield block

    return guest.exchange(PLAIN, stdin=blocks(), sink=_pass_on, deadline=deadline)


def converse(guest: Communicator, deadline: Deadline, cancel: CancelToken) -> ExitStatus:
    """Lines of a person, each after a prompt. Ctrl-C at a prompt drops the line; while a command runs, it ends all."""
    person = Person()
    command = powershell.command(powershell.filled(LOOP, MARK=MARK))
    ended: list[ExitStatus | BaseException] = []

    def talk() -> None:
        try:
            ended.append(guest.exchange(command, stdin=person.lines(), sink=person.hear, deadline=deadline))
        except BaseException as error:  # noqa: BLE001 - raised again below
            ended.append(error)
        person.prompts.put(None)

    talking = threading.Thread(target=talk, name="winrm-console", daemon=True)
    talking.start()
    try:
        person.ask()
    except KeyboardInterrupt:
        cancel.cancel("interrupted")
    talking.join()
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]


class Person:
    """Asks for a line whenever the guest has said its prompt, and shows what comes meanwhile."""

    def __init__(self) -> None:
        self.prompts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._typed: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._rest = b""

    def hear(self, stream: Stream, data: bytes) -> None:
        """A `Sink`: show it; a prompt is taken out."""
        if stream is Stream.STDERR:
            _pass_on(stream, data)
            return
        mark = MARK.encode()
        before, *prompts = (self._rest + data).split(mark)
        if not prompts:
            keep = next((size for size in range(len(mark) - 1, 0, -1) if before.endswith(mark[:size])), 0)
            self._rest = before[len(before) - keep :]
            _pass_on(stream, before[: len(before) - keep])
            return
        _pass_on(stream, before)
        prompt, end, after = prompts[-1].partition(b"\n")
        if not end:
            self._rest = mark + prompt
            return
        self._rest = b""
        _pass_on(stream, after)
        self.prompts.put(prompt.decode("utf-8", "replace"))

    def ask(self) -> None:
        """Prompt by prompt, until the person has enough or the guest does."""
        with suppress(ImportError):
            import readline  # noqa: F401 - editing and history for `input`
        while (prompt := self.prompts.get()) is not None:
            try:
                self._typed.put(input(prompt))
            except EOFError:
                _say("\n", Stream.STDOUT)
                self._typed.put(None)
            except KeyboardInterrupt:
                _say("\n", Stream.STDOUT)
                self.prompts.put(prompt)

    def lines(self) -> Iterable[bytes]:
        """What was typed, as the loop in the guest wants it."""
        while (line := self._typed.get()) is not None:
            yield base64.b64encode(line.encode("utf-8", "replace")) + b"\r\n"


def _pass_on(stream: Stream, data: bytes) -> None:
    _say(data.decode("utf-8", "replace").replace("\r\n", "\n"), stream)


def _say(text: str, stream: Stream) -> None:
    """The guest has the terminal, as with ssh: nothing is taken out."""
    where = sys.stdout if stream is Stream.STDOUT else sys.stderr
    # A terminal that is not UTF-8 shows what it can.
    encoding = where.encoding or "utf-8"
    where.write(text.encode(encoding, "replace").decode(encoding))
    where.flush()
