"""Files between this host and a guest: nothing of them passes through a command line.

A file of some size the guest fetches itself, from the run's own platform (`aibemu.communicators.depot`). Where there is
none, or the guest does not reach it, and for what fits into one request, bytes go through a command's standard input.
Either way the SHA-256 that the guest has counted is compared.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

from aibemu.clock import Deadline
from aibemu.communicators import ExitStatus, Sink, Stream, UploadFailed
from aibemu.communicators.factory import Watch
from aibemu.communicators.winrm import powershell
from aibemu.files import replacing

# Bytes of a file on one line: as base64 they fit into one request.
BLOCK = 180_000
# Up to so many bytes a file is sent, and not fetched: it takes a request or two either way.
SMALL = BLOCK
MOST_WORDS = 64 * 1024
# A line of a download has 65,536 characters.
LONGEST_LINE = 1024 * 1024


class ExchangeCall(Protocol):
    """`aibemu.communicators.Communicator.exchange`."""

    def __call__(self, command: str, *, stdin: Iterable[bytes], sink: Sink, deadline: Deadline) -> ExitStatus: ...


class Files:
    """What a communicator does with files."""

    def __init__(self, exchange: ExchangeCall, watch: Watch) -> None:
        self._exchange = exchange
        self._depot = watch.depot
        self._told = watch.on_transfer
        self._unreachable = False

    def forget(self) -> None:
        """After a new connection: the guest may reach the depot now."""
        self._unreachable = False

    def upload(self, source: Path, destination: str, deadline: Deadline) -> None:
        """See `aibemu.communicators.Communicator.upload`."""
        size = source.stat().st_size
        if size > SMALL and self._fetched(source, _sum_of(source), destination, deadline):
            return
        self._store(_blocks(source), size, destination, deadline)

    def write(self, content: bytes, destination: str, deadline: Deadline) -> None:
        """See `aibemu.communicators.Communicator.write`."""
        expected = hashlib.sha256(content).hexdigest()
        if len(content) > SMALL and self._fetched(content, expected, destination, deadline):
            return
        blocks = (content[at : at + BLOCK] for at in range(0, len(content), BLOCK))
        self._store(blocks, len(content), destination, deadline)

    def download(self, source: str, destination: Path, deadline: Deadline) -> None:
        """See `aibemu.communicators.Communicator.download`."""
        with replacing(destination) as partial:
            with partial.open("wb") as file:
                arriving = _Arriving(file)
                status = self._exchange(
                    powershell.command(powershell.filled(powershell.READ, PATH=_path(source))), stdin=(),
                    sink=arriving, deadline=deadline,
                )  # fmt: skip
            if status.code == powershell.ABSENT:
                raise FileNotFoundError(errno.ENOENT, "there is no such file", source)
            arriving.check(status)

    def _fetched(self, content: Path | bytes, expected: str, destination: str, deadline: Deadline) -> bool:
        """Have the guest fetch it; False when it does not reach the depot, or something else than the file arrived."""
        if self._depot is None or self._unreachable:
            return False
        heard = _Heard()
        try:
            with self._depot.lend(content) as address:
                script = powershell.filled(powershell.FETCH, PATH=_path(destination), ADDRESS=address)
                status = self._exchange(powershell.command(script), stdin=(), sink=heard, deadline=deadline)
        except OSError:  # there is no room for a copy on this host
            return False
        if status.disconnected or status.code == powershell.UNUSABLE:
            heard.check(status)
        self._unreachable = not status.ok
        return status.ok and heard.sum == expected

    def _store(self, blocks: Iterable[bytes], size: int, destination: str, deadline: Deadline) -> None:
        digest, heard, sent = hashlib.sha256(), _Heard(), 0

        def lines() -> Iterator[bytes]:
            nonlocal sent
            for block in blocks:
                digest.update(block)
                yield base64.b64encode(block) + b"\r\n"
                sent += len(block)
                self._told(destination, sent, size)

        command = powershell.command(powershell.filled(powershell.STORE, PATH=_path(destination)))
        heard.check(self._exchange(command, stdin=lines(), sink=heard, deadline=deadline))
        if heard.sum != digest.hexdigest():
            raise UploadFailed(f"{destination} is damaged: its SHA-256 in the guest is {heard.sum or 'not known'}")


class _Heard:
    """What one of our scripts says: a sum, or why not."""

    def __init__(self) -> None:
        self._said = {stream: bytearray() for stream in Stream}

    def __call__(self, stream: Stream, data: bytes) -> None:
        self._said[stream].extend(data[: MOST_WORDS - len(self._said[stream])])

    @property
    def sum(self) -> str:
        """In lower case, without dashes; "" when there is none."""
        words = self._said[Stream.STDOUT].decode("ascii", "replace").split()
        return words[-1].replace("-", "").lower() if words else ""

    def check(self, status: ExitStatus) -> None:
        """Raise `UploadFailed` with the guest's reason, unless it went well."""
        if status.ok:
            return
        if status.disconnected:
            raise UploadFailed("the connection to the guest was lost", disconnected=True)
        words = " ".join(self._said[Stream.STDERR].decode("utf-8", "replace").split())
        raise UploadFailed(words or f"PowerShell ended with {status.code}")


class _Arriving(_Heard):
    """A file that comes as lines of base64; used as a `Sink`."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._digest = hashlib.sha256()
        self._rest = bytearray()
        self._told = ""

    def __call__(self, stream: Stream, data: bytes) -> None:
        if stream is not Stream.STDOUT:
            super().__call__(stream, data)
            return
        self._rest += data
        *lines, rest = self._rest.split(b"\n")
        self._rest = bytearray(rest[:LONGEST_LINE])
        for line in lines:
            self._take(bytes(line).strip())

    def check(self, status: ExitStatus) -> None:
        super().check(status)
        if self._told != self._digest.hexdigest():
            raise UploadFailed("the file did not arrive as it is in the guest: another SHA-256")

    def _take(self, line: bytes) -> None:
        if line.startswith(b"="):
            self._told = line[1:].decode("ascii", "replace").replace("-", "").lower()
            return
        try:
            block = base64.b64decode(line, validate=True)
        except binascii.Error:
            return  # the sum will not be right
        self._digest.update(block)
        self._file.write(block)


def _path(path: str) -> str:
    if not path or "\0" in path:
        raise UploadFailed(f"{path!r} is not a path")
    return path


def _blocks(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _sum_of(source: Path) -> str:
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
