"""Guests with WinRM for tests of the communicator: a few words that each command understands, and aibemu's own scripts
for files, played by Python on folders of this host. What PowerShell itself makes of the scripts: test_scripts.py.
"""

from __future__ import annotations

import base64
import hashlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from aibemu.clock import CancelToken, Clock, Deadline, SystemClock
from aibemu.communicators import Access, Credentials
from aibemu.communicators.factory import Watch
from aibemu.communicators.winrm import powershell
from aibemu.communicators.winrm.command import Pace
from aibemu.communicators.winrm.communicator import WinrmCommunicator
from fixtures.guests.scripted import Call, Scripted
from fixtures.guests.winrm.certificate import Certificate, make_certificate
from fixtures.guests.winrm.server import WinrmServer
from fixtures.guests.winrm.settings import Settings

USER, PASSWORD = "packer", "open sesame"
# Fast enough for tests of what happens when a guest does not answer.
BRISK = Pace(operation=1, give_up=2.0, quota=1.0, tidy=2.0, pause=0.05)


class Speaking(Scripted):
    """Understands `say TEXT`, `complain TEXT`, `fail CODE`, `echo`, `hang`, `flood`, and the scripts for files."""

    def __init__(self) -> None:
        super().__init__()
        self.learn()

    def learn(self) -> None:
        """Take the methods as they are now."""
        for word in ("say", "complain", "fail", "echo", "hang", "flood"):
            self.on(re.compile(rf"^{word}( |$)"), play=getattr(self, word))
        for script, play in (
            (powershell.STORE, self.store),
            (powershell.READ, self.read),
            (powershell.FETCH, self.fetch),
        ):
            self.on(pattern_of(script), play=play)

    def say(self, call: Call) -> int:
        call.print(call.text.partition(" ")[2] + "\r\n")
        return 0

    def complain(self, call: Call) -> int:
        call.print(call.text.partition(" ")[2] + "\r\n", "stderr")
        return 0

    def fail(self, call: Call) -> int:
        return int(call.text.partition(" ")[2])

    def echo(self, call: Call) -> int:
        call.stdin_ended.wait(30)
        call.print(bytes(call.stdin))
        return 0

    def hang(self, call: Call) -> int:
        call.print("hanging\r\n")
        call.stopped.wait(60)
        return 1

    def flood(self, call: Call) -> int:
        while not call.stopped.is_set():
            call.print(b"all work and no play makes a long log\r\n" * 200)
        return 1

    def store(self, call: Call) -> int:
        call.stdin_ended.wait(30)
        return _put(call, b"".join(base64.b64decode(line) for line in bytes(call.stdin).split()), texts_of(call)[0])

    def fetch(self, call: Call) -> int:
        address, path = texts_of(call)
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                content = answer.read()
        except (urllib.error.URLError, OSError) as error:
            call.print(f"{error}\r\n", "stderr")
            return powershell.UNREACHABLE
        return _put(call, content, path)

    def read(self, call: Call) -> int:
        path = Path(texts_of(call)[0])
        if not path.exists():
            return powershell.ABSENT
        content = path.read_bytes()
        for at in range(0, len(content), 49152):
            call.print(base64.b64encode(content[at : at + 49152]) + b"\r\n")
        call.print(f"={_sum(content)}\r\n")
        return 0


def pattern_of(script: str) -> re.Pattern[str]:
    """A script as it is sent, whatever texts are in it."""
    sent = powershell.dense(powershell.filled(script))
    return re.compile("^" + re.sub("PATH|ADDRESS", ".*?", re.escape(sent)) + "$", re.DOTALL)


def texts_of(call: Call) -> list[str]:
    """The addresses and paths in a script of ours, each once."""
    found = re.findall(r"(?:Create|Exists|Open)\('((?:[^']|'')*)'", call.text)
    return list(dict.fromkeys(text.replace("''", "'") for text in found))


def _put(call: Call, content: bytes, path: str) -> int:
    try:
        Path(path).write_bytes(content)
    except OSError:
        call.print(f"Could not find a part of the path '{path}'.\r\n", "stderr")
        return powershell.UNUSABLE
    call.print(_sum(content) + "\r\n")
    return 0


def _sum(content: bytes) -> str:
    """As .NET's BitConverter writes it."""
    return hashlib.sha256(content).digest().hex("-").upper()


@contextmanager
def serving(
    scratch: Path, machine: Scripted | None = None, settings: Settings | None = None
) -> Iterator[tuple[WinrmServer, Access]]:
    """A server with its own certificate, and how to get in."""
    certificate = make_certificate(scratch)
    with WinrmServer(
        machine or Speaking(), user=USER, password=PASSWORD, certificate=certificate, settings=settings
    ) as server:  # fmt: skip
        yield server, access_to(server, certificate, scratch)


def access_to(server: WinrmServer, certificate: Certificate, scratch: Path) -> Access:
    """How to get in, with the password in a file."""
    file = scratch / "password"
    file.write_text(PASSWORD)
    who = Credentials(user=USER, password_file=file, certificate=certificate.sha256)
    return Access(communicator="winrm", host="127.0.0.1", port=server.port, credentials=who)


def with_password(access: Access, file: Path, password: str) -> Access:
    """The same with another password."""
    file.write_text(password)
    return replace(access, credentials=replace(access.credentials, password_file=file))


def connected(access: Access, watch: Watch | None = None, pace: Pace = BRISK) -> WinrmCommunicator:
    """A communicator that has logged in."""
    made = WinrmCommunicator(access, watch or Watch(), pace)
    made.reconnect(soon())
    return made


def soon(seconds: float = 30.0, cancel: CancelToken | None = None, clock: Clock | None = None) -> Deadline:
    """A bound for what takes a moment."""
    return Deadline(clock=clock or SystemClock(), cancel=CancelToken() if cancel is None else cancel).within(seconds)
