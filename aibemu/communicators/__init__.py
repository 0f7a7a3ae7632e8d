"""How to talk to a guest. A result is data, never an exception: a script that fails has an `ExitStatus`.

A lost connection is data too (`ExitStatus.disconnected`): whoever called decides whether it was a reboot.
Nothing here ever runs a command a second time on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aibemu.clock import Deadline


class Stream(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"


# Called once per finished line, without its newline, from the thread that called `run`.
OnLine = Callable[[Stream, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who logs in, with which private key (OpenSSH or PEM file, mode 0600)."""

    user: str
    key_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitStatus:
    """How a command ended: `code` as the shell reports it, or None when killed by `signal` or `disconnected`."""

    code: int | None
    signal: str | None = None
    disconnected: bool = False

    @property
    def ok(self) -> bool:
        return self.code == 0


class UploadFailed(Exception):
    """A file could not be written in the guest; str() is the guest's reason.

    `disconnected` when the connection was lost.
    """

    def __init__(self, reason: str, *, disconnected: bool = False) -> None:
        super().__init__(reason)
        self.disconnected = disconnected


class Communicator(Protocol):
    """One connection to one guest. Not for use from two threads at once."""

    def run(
        self, command: str, *, deadline: Deadline, on_line: OnLine | None = None, stdin: bytes | None = None
    ) -> ExitStatus:
        """Run `command` by the login shell, no tty; stdin is `stdin`, then end of file. Lines are given as they come.

        Raises what `deadline.check` raises; the command may then still run in the guest.
        """
        ...

    def output(self, command: str, *, deadline: Deadline) -> tuple[ExitStatus, str]:
        """Run `command`; its standard output as text (UTF-8, undecodable bytes replaced)."""
        ...

    def upload(self, source: Path, destination: str, *, deadline: Deadline, mode: int | None = None) -> None:
        """Write the file `source` to `destination`; `mode` for the new file. Raises `UploadFailed`."""
        ...

    def write(self, content: bytes, destination: str, *, deadline: Deadline, mode: int | None = None) -> None:
        """Like `upload`, from memory."""
        ...

    def download(self, source: str, destination: Path, *, deadline: Deadline) -> None:
        """Fetch one file; raises `FileNotFoundError` or `UploadFailed`."""
        ...

    def boot_id(self, *, deadline: Deadline) -> str:
        """What changes with each boot (/proc/sys/kernel/random/boot_id); raises `ConnectionError` when unreachable."""
        ...

    def session(self, *, deadline: Deadline) -> int:
        """Process id, in the guest, of the server of this connection; 0 when it is not known."""
        ...

    def become(self, login: Login) -> None:
        """Log in so from the next connection on; the present one stays."""
        ...

    def reconnect(self, deadline: Deadline) -> None:
        """Make a new connection to the same guest, for after a reboot; raises `OSError` when it does not answer."""
        ...

    def describe(self) -> str:
        """The command a person types to get into this guest, e.g. `ssh -i KEY -p PORT user@127.0.0.1`."""
        ...

    def close(self) -> None: ...
