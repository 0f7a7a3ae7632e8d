"""How to talk to a guest. A result is data, never an exception: a script that fails has an `ExitStatus`.

A lost connection is data too (`ExitStatus.disconnected`): whoever called decides whether it was a reboot.
Nothing here ever runs a command a second time on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aibemu.errors import ProvisionFailed
from aibemu.reading import read_text
from aibemu.redact import cut_by_shape

if TYPE_CHECKING:
    from aibemu.clock import Deadline


class Stream(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"


# Bytes of a file with a password.
LONGEST_PASSWORD = 64 * 1024
# Called once per finished line, without its newline, from the thread that called `run`.
OnLine = Callable[[Stream, str], None]


def unfinished_of(on_line: OnLine | None) -> OnLine | None:
    """An `OnLine` may have a method `unfinished(stream, text)`: it is told what stands after the last newline, whenever
    that changes; "" when nothing does. None for one that only wants whole lines, and for None."""
    found: OnLine | None = getattr(on_line, "unfinished", None)
    return found


def cut_of(on_line: OnLine | None) -> Callable[[str, int], int]:
    """An `OnLine` that knows secrets has a method `cut` (`aibemu.redact.Redactor.cut`): where a text is cut that is too
    long. For another one, and for None, secrets are known by their shapes only."""
    found: Callable[[str, int], int] = getattr(on_line, "cut", cut_by_shape)
    return found


# Gets the bytes of a command's output as they come, in their order, in the thread that called `exchange`.
Sink = Callable[[Stream, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who logs in to a guest, and by what. Secrets are in files of mode 0600, never in this value: it is written into
    the record of a run, which people hand on."""

    user: str
    # A private key, OpenSSH or PEM.
    key_file: Path | None = None
    # What the guest is told of that key: its line in authorized_keys, without the newline.
    public_key: str = ""
    # A password, as the file's whole content.
    password_file: Path | None = None
    # SHA-256 of the certificate (DER) that the guest's server must show, 64 hex digits; "" for any.
    certificate: str = ""

    def password(self) -> str:
        """The password; `OSError` when its file cannot be read, ValueError when there is none."""
        if self.password_file is None:
            raise ValueError(f"{self.user} logs in without a password")
        return read_text(self.password_file, limit=LONGEST_PASSWORD)

    def as_json(self) -> dict[str, Any]:
        """JSON values; those that are not set are left out."""
        given = {
            "user": self.user, "key": self.key_file and str(self.key_file), "public_key": self.public_key,
            "password_file": self.password_file and str(self.password_file), "certificate": self.certificate,
        }  # fmt: skip
        return {name: value for name, value in given.items() if value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Credentials:
        """Read one back; KeyError when nobody is named."""
        return cls(
            user=value["user"], key_file=_path(value.get("key")), public_key=value.get("public_key", ""),
            password_file=_path(value.get("password_file")), certificate=value.get("certificate", ""),
        )  # fmt: skip


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to get into one machine: enough for another process, hours later."""

    # A name in the entry-point group `aibemu.communicators`.
    communicator: str
    # Where the guest's port is reached from this host.
    host: str
    port: int
    credentials: Credentials

    def as_json(self) -> dict[str, Any]:
        """The field `access` of the event `machine.started`."""
        where = {"communicator": self.communicator, "host": self.host, "port": self.port}
        return where | self.credentials.as_json()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Access:
        """Read one back; KeyError, TypeError or ValueError if it is none."""
        return cls(
            communicator=value["communicator"], host=value["host"], port=int(value["port"]),
            credentials=Credentials.from_json(value),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitStatus:
    """How a command ended: `code` as the shell reports it, or None when killed by `signal` or `disconnected`."""

    code: int | None
    signal: str | None = None
    disconnected: bool = False

    @property
    def ok(self) -> bool:
        return self.code == 0


class LoginHopeless(ProvisionFailed):
    """The guest's server answers, and nothing that is waited for can let anybody in."""

    code = "LOGIN_HOPELESS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A guest that lets nobody in, so far."""

    # How often in a row it has refused, and for how many seconds.
    count: int
    seconds: float
    # What it answered last, in a sentence.
    answer: str
    # It says itself that it lets nobody in just now: it boots, or goes down.
    for_now: bool = False


class UploadFailed(Exception):
    """A file could not be written in the guest; str() is the guest's reason.

    `disconnected` when the connection was lost.
    """

    def __init__(self, reason: str, *, disconnected: bool = False) -> None:
        super().__init__(reason)
        self.disconnected = disconnected


class Communicator(Protocol):
    """One connection to one guest. Not for use from two threads at once."""

    @property
    def banner(self) -> str:
        """How the guest's server introduced itself, for the record; "" where it does not."""
        ...

    def run(
        self, command: str, *, deadline: Deadline, on_line: OnLine | None = None, stdin: bytes | None = None
    ) -> ExitStatus:
        """Run `command` by the login shell, no tty; stdin is `stdin`, then end of file. Lines are given as they come,
        and those that have no end yet to one that wants them (`unfinished_of`).

        Raises what `deadline.check` raises; the command may then still run in the guest.
        """
        ...

    def exchange(self, command: str, *, stdin: Iterable[bytes], sink: Sink, deadline: Deadline) -> ExitStatus:
        """Run `command` by the login shell; bytes go in and come out as they are.

        `stdin` is read by another thread, as far as the command wants it; `sink` is called by this one.
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

    def session(self, *, deadline: Deadline) -> int:
        """Process id, in the guest, of the server of this connection; 0 when it is not known."""
        ...

    def become(self, credentials: Credentials) -> None:
        """Log in so from the next connection on; the present one stays."""
        ...

    def reconnect(self, deadline: Deadline) -> None:
        """Make a new connection to the same guest, for after a reboot; raises `OSError` when it does not answer."""
        ...

    def describe(self) -> str:
        """What a person types to get into this guest, e.g. `ssh -i KEY -p PORT user@127.0.0.1`."""
        ...

    def close(self) -> None: ...
