"""The bytes of a disk image of any format, at any place: `qemu-nbd` serves it on a private socket, this asks.

So nothing is converted and nothing is mounted: some kilobytes of a disk of a hundred gigabytes are there in a tenth of
a second. `qemu-nbd` ends with its one connection, and when aibemu is killed.

Source: the NBD protocol, newstyle negotiation with NBD_OPT_EXPORT_NAME and simple replies.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Self

from aibemu.clock import Deadline
from aibemu.disks import Unreadable, convert
from aibemu.errors import Expired, host_error
from aibemu.files import temporary_folder
from aibemu.processes import Finished, RunningTool
from aibemu.sockets import make_socket_directory, remove_socket_directory, socket_directory

PROGRAM = "qemu-nbd"
# Seconds for the server to be there, for one answer, and for all that is asked of one disk, before scaling.
START_BOUND, ASK_BOUND, WHOLE_BOUND = 30.0, 30.0, 300.0
_END_BOUND = 2.0  # for its last words, once the connection is gone
_IN_USE = "Is another process using the image"  # QEMU's hint
_LOOK = 0.5  # seconds between two looks at the deadline while an answer is waited for
_HELLO, _OPTION_MAGIC = b"NBDMAGIC", b"IHAVEOPT"
_FIXED_NEWSTYLE, _NO_ZEROES, _EXPORT_NAME = 1, 2, 1
_REQUEST, _REPLY = 0x25609513, 0x67446698
_READ, _WRITE, _DISCONNECT, _FLUSH = 0, 1, 2, 3
# Bytes that are fetched at once, and how many such blocks are kept: what is looked up lies close together.
_BLOCK, _KEPT = 64 * 1024, 512
# Readings between two looks at the deadline, where all is there already: a damaged disk can lead somebody round and
# round in what was fetched.
_UNLOOKED = 256


class DiskBytes:
    """One disk image that is off; a context manager, for one thread. Whoever writes must `flush` in the end."""

    def __init__(self, image: convert.DiskInfo, deadline: Deadline, *, writable: bool = False) -> None:
        """Raises `HostNotReady` when qemu-nbd is missing, `Unreadable`, and what `deadline` does."""
        self.image = image
        self._deadline = deadline
        self._whole = deadline.within(WHOLE_BOUND)
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._readings = 0
        self._open = contextlib.ExitStack()
        try:
            self._connect(writable)
            self.size = self._negotiate()
        except BaseException:
            self._open.close()
            raise

    def read(self, at: int, length: int) -> bytes:
        """`length` bytes from byte `at` on; fewer at the end of the disk. Raises `Unreadable`."""
        self._readings += 1
        if self._readings % _UNLOOKED == 0:
            self._still(self._whole)
        end = min(at + max(length, 0), self.size)
        if at < 0 or at >= end:
            return b""
        first = at // _BLOCK
        found = b"".join(self._block(number) for number in range(first, -(-end // _BLOCK)))
        return found[at - first * _BLOCK : end - first * _BLOCK]

    def write(self, at: int, data: bytes) -> None:
        """Replace the bytes from `at` on; they are within the disk. `Unreadable`, `HostNotReady` without room."""
        if at < 0 or at + len(data) > self.size:
            raise Unreadable(f"{self.image.path} ends before byte {at + len(data)}")
        for number in range(at // _BLOCK, -(-(at + len(data)) // _BLOCK)):
            self._kept.pop(number, None)
        self._ask(_WRITE, at, len(data), data)

    def flush(self) -> None:
        """Whatever was written is on the host's disk afterwards."""
        self._ask(_FLUSH, 0, 0)

    def close(self) -> None:
        """The server ends; what was not flushed may be lost."""
        with contextlib.suppress(OSError):
            self._socket.sendall(struct.pack(">IHHQQI", _REQUEST, 0, _DISCONNECT, 0, 0, 0))
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self, writable: bool) -> None:
        folder = self._open.enter_context(temporary_folder())
        sockets = socket_directory(folder, "s")
        if sockets != folder:  # TMPDIR may be deeper than a socket's path may be long
            make_socket_directory(sockets)
            self._open.callback(remove_socket_directory, sockets, folder)
        path = sockets / "s"
        words: list[str | Path] = [PROGRAM, "--socket", path, *([] if writable else ["--read-only"]), self.image.spec]
        self._server = self._open.enter_context(RunningTool(words))
        self._socket = self._open.enter_context(socket.socket(socket.AF_UNIX))
        try:
            self._deadline.within(START_BOUND).poll(lambda: self._is_connected(path), every=0.01)
        except Expired:
            raise Unreadable(f"{self.image.path} cannot be opened: qemu-nbd does not start") from None

    def _is_connected(self, path: Path) -> bool:
        if (ended := self._server.ended()) is not None:
            raise self._refused(ended)
        with contextlib.suppress(OSError):
            self._socket.connect(os.fspath(path))
            self._socket.settimeout(_LOOK)
            return True
        return False

    def _negotiate(self) -> int:
        """The size of the disk."""
        if self._receive(16) != _HELLO + _OPTION_MAGIC:
            raise self._strange()
        self._receive(2)
        self._send(struct.pack(">I8sII", _FIXED_NEWSTYLE | _NO_ZEROES, _OPTION_MAGIC, _EXPORT_NAME, 0))
        size, _ = struct.unpack(">QH", self._receive(10))
        return int(size)

    def _block(self, number: int) -> bytes:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        at = number * _BLOCK
        found = self._kept[number] = self._ask(_READ, at, min(_BLOCK, self.size - at))
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    def _ask(self, command: int, at: int, length: int, data: bytes = b"") -> bytes:
        self._send(struct.pack(">IHHQQI", _REQUEST, 0, command, at, at, length) + data)
        magic, error, handle = struct.unpack(">IIQ", self._receive(16))
        if magic != _REPLY or handle != at:
            raise self._strange()
        if error:
            if error == errno.ENOSPC and (full := host_error(OSError(error, "", str(self.image.path)))):
                raise full
            what = "read" if command == _READ else "written"
            raise Unreadable(f"{self.image.path} cannot be {what} at byte {at}: {os.strerror(error)}")
        return self._receive(length) if command == _READ else b""

    def _send(self, data: bytes) -> None:
        bound = self._whole.within(ASK_BOUND)
        left = memoryview(data)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except TimeoutError:
                self._still(bound)
            except OSError as error:
                raise self._gone() from error

    def _receive(self, length: int) -> bytes:
        bound = self._whole.within(ASK_BOUND)
        heard = bytearray()
        while len(heard) < length:
            try:
                piece = self._socket.recv(length - len(heard))
            except TimeoutError:
                self._still(bound)
                continue
            except OSError as error:
                raise self._gone() from error
            if not piece:
                raise self._gone()
            heard += piece
        self._still(self._whole)
        return bytes(heard)

    def _still(self, bound: Deadline) -> None:
        """Raise what the caller's deadline does; `Unreadable` when only this disk takes too long."""
        try:
            bound.check()
        except Expired:
            self._deadline.check()
            raise Unreadable(f"{self.image.path}: reading it takes too long") from None

    def _gone(self) -> Unreadable:
        """The connection ended. It listens before it opens the image, so that may be why."""
        with contextlib.suppress(Expired):
            self._whole.within(_END_BOUND).poll(lambda: self._server.ended() is not None, every=0.01)
        ended = self._server.ended()
        if ended is not None and ended.status != 0:
            return self._refused(ended)
        return Unreadable(f"{self.image.path}: qemu-nbd ended while the disk was read")

    def _refused(self, ended: Finished) -> Unreadable:
        lines = ended.stderr.strip().splitlines() or [f"qemu-nbd ended with {ended.status}"]
        why = "another process is using it" if _IN_USE in ended.stderr else lines[-1].removeprefix("qemu-nbd: ")
        return Unreadable(f"{self.image.path} cannot be opened: {why}")

    def _strange(self) -> Unreadable:
        return Unreadable(f"{self.image.path}: qemu-nbd gave an answer that is not understood")
