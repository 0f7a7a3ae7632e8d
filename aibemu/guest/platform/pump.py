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
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aibemu.guest.platform.link import Link

# The larger of what QEMU and a guest may send: 64 KiB, and a little for the Ethernet header. More is no frame.
LARGEST = 1 << 17
CHUNK = 1 << 18  # bytes that are read at once
WAITING = 1 << 20  # bytes that may wait for one side
TOLD_FAULTS = 20
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


@dataclass(slots=True)
class Hypervisor:
    """Which process the guest's frames come from, as the kernel says; None until it has connected."""

    process: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def learn(self, process: int) -> None:
        with self._lock:
            self.process = process


class Port:
    """One listening unix socket and its latest connection: a hypervisor that starts anew takes the place of the old."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self.listener.bind(os.fsencode(path))
        self.listener.listen(1)
        self.connection: socket.socket | None = None
        self.descriptor = -1  # of the connection, the last one's when there is none
        self._frames = Frames()
        self._waiting: list[bytes] = []
        self._size = 0

    def accept(self) -> int:
        """Take the connection that waits; the id of the process that made it."""
        self.hang_up()
        self.connection, _ = self.listener.accept()
        self.connection.setblocking(False)
        self.descriptor = self.connection.fileno()
        said = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(said)[0])

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection, self._frames, self._waiting, self._size = None, Frames(), [], 0

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
        self.guest = Port(link.nic)
        self.outside = Port(link.uplink)
        self.hypervisor = Hypervisor()
        self._faults = 0
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        self._watched: dict[int, int] = {}
        for descriptor in (self._wake_read, self.guest.listener.fileno(), self.outside.listener.fileno()):
            self._poll.register(descriptor, select.POLLIN)

    def run(self, from_guest: Handle, from_outside: Handle) -> None:
        """Move frames until `stop` is called."""
        ways = ((self.guest, self.outside, from_guest), (self.outside, self.guest, from_outside))
        while True:
            ready = dict(self._poll.poll())
            if self._wake_read in ready:
                return
            for port, other, handle in ways:
                if port.connection is not None and ready.get(port.descriptor, 0) & ~select.POLLOUT:
                    # Hung up, or something to read; for the latter there is room, or it was not asked for.
                    for frame in port.receive() if not other.full else ():
                        self._handle(handle, frame)
                if port.listener.fileno() in ready:
                    self._connect(port)
            self.guest.flush()
            self.outside.flush()
            self._watch(self.guest, self.outside)
            self._watch(self.outside, self.guest)

    def stop(self) -> None:
        """Let `run` end; may be called from any thread or a signal handler."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def close(self) -> None:
        self.guest.close()
        self.outside.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _connect(self, port: Port) -> None:
        if port.descriptor in self._watched:
            self._poll.unregister(port.descriptor)
            del self._watched[port.descriptor]
        process = port.accept()
        if port is self.guest:
            self.hypervisor.learn(process)

    def _watch(self, port: Port, other: Port) -> None:
        """Ask for what can be made use of. The kernel is told only of what has changed: this is done for each frame."""
        if port.connection is None:
            # A closed descriptor must not be asked for; poll would report it for ever.
            if self._watched.pop(port.descriptor, None) is not None:
                self._poll.unregister(port.descriptor)
            return
        wanted = (0 if other.full else select.POLLIN) | (select.POLLOUT if port.pending else 0)
        if self._watched.get(port.descriptor) != wanted:
            self._watched[port.descriptor] = wanted
            self._poll.register(port.descriptor, wanted)

    def _handle(self, handle: Handle, frame: bytes) -> None:
        try:
            handle(frame)
        except Exception:  # noqa: BLE001
            self._faults += 1
            if self._faults <= TOLD_FAULTS:
                sys.stderr.write(f"frame {frame[:128].hex()}\n{traceback.format_exc()}")
