"""Moving frames: a connection to the guest's NIC and one to its user network, each of them made by the hypervisor.

On both a frame is preceded by its length, four bytes, most significant first. One thread; what comes in one piece goes
out in one piece, for a system call per frame is what would make the network slow. Neither side can hold up the other:
what one does not take waits, up to a bound, and then no more is read for it.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from aibemu.fabric.link import Link

# The larger of what QEMU and a guest may send: 64 KiB, and a little for the Ethernet header. More is no frame.
LARGEST = 1 << 17
CHUNK = 1 << 18  # bytes that are read at once
WAITING = 1 << 20  # bytes that may wait for one side
TOLD_FAULTS = 20
GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL
_LENGTH = struct.Struct("!I")
_CREDENTIALS = struct.Struct("3i")
Handle = Callable[[bytes], None]


class Garbled(Exception):
    """What came is no sequence of frames."""


class Frames:
    """Cuts a stream into frames, whatever pieces it comes in."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> list[bytes]:
        """The frames that are complete now, oldest first. `Garbled` when a length cannot be one."""
        data = self._rest + data
        frames, at, end = [], 0, len(data)
        while end - at >= _LENGTH.size:
            start = at + _LENGTH.size
            length = int.from_bytes(data[at:start], "big")
            if length > LARGEST:
                raise Garbled(f"a frame of {length} bytes")
            if end - start < length:
                break
            at = start + length
            frames.append(data[start:at])
        self._rest = data[at:]
        return frames


class Port:
    """One listening unix socket and its latest connection: a hypervisor that starts anew takes the place of the old."""

    def __init__(self, path: Path, poll: select.poll) -> None:
        path.unlink(missing_ok=True)
        self._poll = poll
        self._watched: int | None = None  # what the poll is asked of the connection
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self.listener.bind(os.fsencode(path))
        self.listener.listen(1)
        poll.register(self.listener.fileno(), select.POLLIN)
        self.connection: socket.socket | None = None
        self.process: int | None = None  # which one connected, as the kernel says
        self._frames = Frames()
        self._waiting: list[bytes] = []
        self._size = 0

    def accept(self) -> None:
        """Take the connection that waits, and note who made it. One that has gone again is passed over."""
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        self.hang_up()
        connection.setblocking(False)
        self.connection = connection
        said = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.process = int(_CREDENTIALS.unpack(said)[0])

    def hang_up(self) -> None:
        if self.connection is not None:
            if self._watched is not None:  # or the next to get this descriptor would be taken for it
                self._poll.unregister(self.descriptor)
            self.connection.close()
        self.connection, self.process, self._watched = None, None, None
        self._frames, self._waiting, self._size = Frames(), [], 0

    @property
    def descriptor(self) -> int:
        """Of the connection; -1 without one."""
        return -1 if self.connection is None else self.connection.fileno()

    def watch(self, events: int) -> None:
        """Let the poll ask for these, and in any case whether it hung up. It is told of changes only, for this is done
        with each frame."""
        if self.connection is not None and events != self._watched:
            self._poll.register(self.descriptor, events)
            self._watched = events

    @property
    def full(self) -> bool:
        """No more should be read that would have to be sent here."""
        return self._size > WAITING

    @property
    def pending(self) -> bool:
        return self._size > 0

    def send(self, frame: bytes) -> None:
        """Let a frame go out with the next `flush`; lost when nobody is connected, or far too much waits."""
        if self.connection is not None and self._size <= 2 * WAITING:
            self._waiting += (_LENGTH.pack(len(frame)), frame)
            self._size += _LENGTH.size + len(frame)

    def flush(self) -> None:
        """Send what waits, as much as is taken now."""
        if self.connection is None or not self._size:
            return
        data = b"".join(self._waiting)
        try:
            sent = self.connection.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.hang_up()
            return
        self._waiting = [data[sent:]] if sent < len(data) else []
        self._size -= sent

    def receive(self) -> list[bytes]:
        """The frames that are there. A side that hangs up, or sends what is no frame, is let go."""
        assert self.connection is not None
        try:
            data = self.connection.recv(CHUNK)
            if data:
                return self._frames.cut(data)
        except BlockingIOError:
            return []
        except (OSError, Garbled):
            pass
        self.hang_up()
        return []

    def close(self) -> None:
        self.hang_up()
        self.listener.close()


class Pump:
    """`run` until `stop`. The handlers decide what is sent where. One that raises has a bug: its frame is lost, and the
    first few are told on standard error; nothing that a guest sends may end its platform.
    """

    def __init__(self, link: Link) -> None:
        self._poll = select.poll()
        self.guest = Port(link.nic, self._poll)
        self.outside = Port(link.uplink, self._poll)
        self._faults = 0
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll.register(self._wake_read, select.POLLIN)

    def run(self, from_guest: Handle, from_outside: Handle) -> None:
        """Move frames until `stop` is called."""
        ways = ((self.guest, self.outside, from_guest), (self.outside, self.guest, from_outside))
        while True:
            ready = dict(self._poll.poll())
            if self._wake_read in ready:
                return
            for port, _, _ in ways:  # before anything is sent, or what is meant for who has just connected is lost
                if port.listener.fileno() in ready:
                    port.accept()
            for port, other, handle in ways:
                event = ready.get(port.descriptor, 0)
                # One that hung up is heard to its end, even if that is more than should wait.
                if event & GONE or (event & select.POLLIN and not other.full):
                    for frame in port.receive():
                        self._handle(handle, frame)
            self.guest.flush()
            self.outside.flush()
            for port, other, _ in ways:
                port.watch((0 if other.full else select.POLLIN) | (select.POLLOUT if port.pending else 0))

    def stop(self) -> None:
        """Let `run` end; may be called from any thread or a signal handler."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def close(self) -> None:
        self.guest.close()
        self.outside.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _handle(self, handle: Handle, frame: bytes) -> None:
        try:
            handle(frame)
        except Exception:  # noqa: BLE001
            self._faults += 1
            if self._faults <= TOLD_FAULTS:
                sys.stderr.write(f"frame {frame[:128].hex()}\n{traceback.format_exc()}")
