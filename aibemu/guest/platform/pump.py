"""Moving frames: two datagram sockets, one towards the guest's NIC and one towards the user network.

One thread, and no frame is kept: what QEMU does not take within a moment is lost, as on any wire. QEMU's own sockets
never block, so neither side can wait for the other.
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

# The larger of what QEMU and a guest may send: 64 KiB, and a little for the Ethernet header.
LARGEST = 1 << 17
BUFFER = 4 << 20  # bytes; the kernel gives what it allows
# Frames taken from one side before the other gets its turn.
TURN = 64
# Seconds that a full queue may hold up the pump. A guest that has stopped for good must not stop the platform.
PATIENCE = 0.5
TOLD_FAULTS = 20
_CREDENTIALS = struct.Struct("3i")


@dataclass(slots=True)
class Hypervisor:
    """Which process the guest's frames come from, as the kernel says; None until the first one came."""

    process: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def learn(self, process: int) -> None:
        with self._lock:
            self.process = process

    def forget(self) -> None:
        """It is gone; the next frame tells who came after it."""
        with self._lock:
            self.process = None


class Port:
    """One bound datagram socket and the path at its other end."""

    def __init__(self, own: Path, other: Path) -> None:
        self.other = os.fsencode(other)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        own.unlink(missing_ok=True)
        self.socket.bind(os.fsencode(own))
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        # The kernel's own bound, for sending only: Python's timeout would make each receive wait too.
        patience = struct.pack("ll", 0, int(PATIENCE * 1_000_000))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)

    def send(self, frame: bytes) -> None:
        """Deliver, or lose: the hypervisor may not be there yet, not any more, or too slow."""
        with contextlib.suppress(OSError):
            self.socket.sendto(frame, self.other)


class Pump:
    """`run` until `stop`. The handlers decide what is sent where. One that raises has a bug: its frame is lost, and the
    first few are told on standard error; nothing that a guest sends may end its platform.
    """

    def __init__(self, link: Link) -> None:
        self.guest = Port(link.to_nic, link.nic)
        self.outside = Port(link.to_uplink, link.uplink)
        self.hypervisor = Hypervisor()
        self.guest.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._faults = 0
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self, from_guest: Callable[[bytes], None], from_outside: Callable[[bytes], None]) -> None:
        """Move frames until `stop` is called."""
        poll = select.poll()
        for descriptor in (self.guest.socket.fileno(), self.outside.socket.fileno(), self._wake_read):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self._wake_read in ready:
                return
            if self.guest.socket.fileno() in ready:
                known = self._knows_sender()
                self._drain(self.guest.socket, from_guest, TURN if known else 1)
            if self.outside.socket.fileno() in ready:
                self._drain(self.outside.socket, from_outside, TURN)

    def stop(self) -> None:
        """Let `run` end; may be called from any thread or a signal handler."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def close(self) -> None:
        for one in (self.guest.socket, self.outside.socket):
            one.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _drain(self, source: socket.socket, handle: Callable[[bytes], None], most: int) -> None:
        for _ in range(most):
            try:
                frame = source.recv(LARGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            try:
                handle(frame)
            except Exception:  # noqa: BLE001
                self._faults += 1
                if self._faults <= TOLD_FAULTS:
                    sys.stderr.write(f"frame {frame[:128].hex()}\n{traceback.format_exc()}")

    def _knows_sender(self) -> bool:
        """Whether it is known who sends; if not, the kernel is asked about the frame that waits, which stays there.

        It knows only of frames that were sent while the socket wanted to know.
        """
        if self.hypervisor.process is not None:
            return True
        one = self.guest.socket
        one.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            _, ancillary, _, _ = one.recvmsg(
                1, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_PEEK | socket.MSG_DONTWAIT
            )
        except BlockingIOError:
            return False
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                process = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0]
                if process > 0:
                    self.hypervisor.learn(process)
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        return self.hypervisor.process is not None
