"""A large file that comes in pieces, whoever sends them: it can be gone on with, and is checked by its digest.

The pieces of one digest are appended to one file. Who sends asks how much is there and goes on from that, so that two
that send the same file help each other, and a transfer that broke goes on where it was.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aibemu.disks.convert import ensure_space
from aibemu.errors import AibemuError
from aibemu.files import FileLock, fsync, make_folder, partial_name
from aibemu.reading import hash_rest, open_file, open_writable

# Bytes of one piece: what is in memory at once, for each transfer.
PIECE = 4 << 20
# Seconds after which what nobody goes on with is deleted.
FORGOTTEN = 7 * 86400.0
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SUFFIX = ".incoming"


class TransferFailed(AibemuError):
    """A file did not arrive as it was sent."""

    code = "TRANSFER_FAILED"
    category = "HOST"
    exit_code = 1
    retryable = True


def is_digest(text: str) -> bool:
    """Whether it is a sha256 in lower-case hex: it becomes the name of a file."""
    return _DIGEST.fullmatch(text) is not None


class Incoming:
    """The file that will have `digest` and `size` (bytes), coming into `folder`. For several threads and processes."""

    def __init__(self, folder: Path, digest: str, size: int) -> None:
        if not is_digest(digest):
            raise TransferFailed(f"{digest[:80]!r} is no sha256")
        self.folder, self.digest, self.size = folder, digest, size
        self.path = folder / f"{digest}{_SUFFIX}"

    def offset(self) -> int:
        """How many bytes are there: where to go on."""
        with suppress(FileNotFoundError):
            return self.path.stat().st_size
        return 0

    def add(self, offset: int, piece: bytes) -> int:
        """Append the bytes that belong at `offset`, if these are the next; where to go on now.

        `HostNotReady` when there is no room for the file, `TransferFailed` for more bytes than it has.
        """
        make_folder(self.folder, mode=0o700)
        with FileLock(self.folder / ".lock"):
            there = self.offset()
            if offset != there:
                return there
            if offset + len(piece) > self.size:
                raise TransferFailed(f"more came of {self.digest[:12]} than its {self.size} bytes")
            if not offset:
                ensure_space(self.folder, self.size, f"receiving {self.digest[:12]}")
            descriptor = open_writable(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            with os.fdopen(descriptor, "ab") as stream:
                stream.write(piece)
            return there + len(piece)

    def finish(self, check: Callable[[], None] = lambda: None) -> Path | None:
        """The whole file, on the disk, under a name that the sweep of dead processes knows; the caller moves it on.

        None when somebody else has taken it. `TransferFailed` when it is not the file that was sent: it is deleted, and
        the next transfer begins anew. check: called again and again; what it raises ends the work.
        """
        whole = self.folder / partial_name(self.digest)
        with FileLock(self.folder / ".lock"):
            if not self.path.exists():
                return None
            if self.offset() != self.size:
                raise TransferFailed(f"{self.offset()} of {self.size} bytes came of {self.digest[:12]}")
            self.path.replace(whole)
        try:
            with open_file(whole) as stream:
                found = hash_rest(stream, whole, check=check)
            if found != self.digest:
                raise TransferFailed(f"what came as {self.digest[:12]} is {found[:12]}", hint="try it again")
            fsync(whole)
        except BaseException:
            whole.unlink(missing_ok=True)
            raise
        return whole


def read_piece(path: Path, offset: int) -> bytes:
    """The bytes of a file at `offset`, `PIECE` at most."""
    with open_file(path) as stream:
        stream.seek(offset)
        return stream.read(PIECE)


def forget_old(folder: Path, now: float) -> None:
    """Delete what nobody has gone on with for `FORGOTTEN`. now: seconds since 1970."""
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < now - FORGOTTEN:
                path.unlink()
