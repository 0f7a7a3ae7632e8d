"""One command on one channel: bytes in, bytes out as they come, and how it ended.

Every call into paramiko that may block (open, exec, send) happens in a thread of its own; the calling thread only
drains and asks its guard: at least ten times a second, and after each piece that it hands over. So neither a guest that
is gone nor one that prints without end holds up a cancel.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from aibemu.clock import Clock
from aibemu.communicators import ExitStatus, Sink, Stream
from aibemu.communicators.supervising import LOOK, Guard

if TYPE_CHECKING:
    from paramiko import Channel

    from aibemu.communicators.ssh.transport import GuestTransport

# Seconds until somebody is told that an ended command's output is held open.
HELD_AFTER = 10.0
# Seconds for which a channel that the server refuses is asked for again.
REFUSED_FOR = 5.0
CHUNK = 32 * 1024 - 64  # what fits into one SSH packet


class Exchange:
    """Run `command` with `stdin` and give what it says to `sink`; used once."""

    def __init__(self, transport: GuestTransport, command: str, *, stdin: Iterable[bytes], sink: Sink) -> None:
        from aibemu.communicators.ssh.transport import Watch

        self.transport = transport
        self.command = command
        self.stdin = stdin
        self.sink = sink
        self.watch = Watch()
        self.channel: Channel | None = None
        self.started = False
        self.fed = False
        # Reading `stdin` failed on this side.
        self.unreadable: OSError | None = None
        self._gave_up = False

    def finish(self, guard: Guard, *, clock: Clock, on_held: Callable[[], None] | None = None) -> ExitStatus:
        """Wait for the end. `disconnected` if there was no exit status, or `guard` answered False."""
        threading.Thread(target=self._drive, args=(clock,), name="ssh-stdin", daemon=True).start()
        ended_at: float | None = None
        try:
            while True:
                self.watch.activity.clear()
                over = self._over()
                moved = lost = False
                for stream, data in self._arrived():
                    self.sink(stream, data)
                    moved = True
                    if lost := not guard() and not over:
                        break
                if over:
                    return self._status()
                if lost or not guard():
                    self.transport.close()
                    return ExitStatus(code=None, disconnected=True)
                if self._has_status() and on_held is not None:
                    ended_at = clock.monotonic() if ended_at is None else ended_at
                    if clock.monotonic() - ended_at >= HELD_AFTER:
                        on_held()
                        on_held = None
                if moved:
                    continue
                clock.wait(self.watch.activity, LOOK)
        finally:
            self._close(clock)

    def _drive(self, clock: Clock) -> None:
        import paramiko

        try:
            channel = self._open(clock)
            self.transport.watches[channel.get_id()] = self.watch
            self.channel = channel
            channel.exec_command(self.command)
            self.started = True
            self._feed(channel)
            channel.shutdown_write()
            self.fed = self.unreadable is None
        except (paramiko.SSHException, EOFError, OSError):
            self._gave_up = not self.started
        self.watch.activity.set()

    def _open(self, clock: Clock) -> Channel:
        """A channel. A server that allows few of them (MaxSessions) refuses the next until it has seen that the last
        one is closed, which it does a moment later; nothing has been run then."""
        from paramiko import ChannelException

        began, never = clock.monotonic(), threading.Event()
        while True:
            try:
                return self.transport.open_session()
            except ChannelException:
                if clock.monotonic() - began >= REFUSED_FOR or not self.transport.is_active():
                    raise
            clock.wait(never, LOOK)

    def _feed(self, channel: Channel) -> None:
        chunks = iter(self.stdin)
        while True:
            try:
                chunk = next(chunks, None)
            except OSError as error:
                self.unreadable = error
                return
            if chunk is None:
                return
            view = memoryview(chunk)
            while view:
                sent = channel.send(view[:CHUNK].tobytes())
                if not sent:  # the other side wants no more
                    raise EOFError
                view = view[sent:]

    def _arrived(self) -> Iterator[tuple[Stream, bytes]]:
        """What is there, in the order in which it came, in pieces: what is made of one must not take long."""
        arrivals, channel = self.watch.arrivals, self.channel
        while arrivals and channel is not None:
            stream, size = arrivals.popleft()
            while arrivals and arrivals[0][0] is stream and size + arrivals[0][1] <= CHUNK:
                size += arrivals.popleft()[1]
            yield stream, (channel.recv if stream is Stream.STDOUT else channel.recv_stderr)(size)

    def _has_status(self) -> bool:
        return self.channel is not None and (self.channel.exit_status != -1 or self.watch.signal is not None)

    def _over(self) -> bool:
        if self._gave_up:
            return True
        if self.channel is None:
            return False
        # A background process may hold the streams open long after the exit status has come: then it is not over.
        return self.channel.closed or (bool(self.channel.eof_received) and self._has_status())

    def _status(self) -> ExitStatus:
        if self.channel is not None and self.channel.exit_status != -1:
            return ExitStatus(code=self.channel.exit_status)
        if self.watch.signal is not None:
            return ExitStatus(code=None, signal=self.watch.signal)
        return ExitStatus(code=None, disconnected=True)

    def _close(self, clock: Clock) -> None:
        """Close the channel without waiting for a guest that may not answer; the process in the guest is not killed."""
        channel = self.channel
        if channel is None:
            self.transport.close()
            return
        if not channel.closed:
            closed = threading.Event()

            def close() -> None:
                channel.close()
                closed.set()

            threading.Thread(target=close, name="ssh-close", daemon=True).start()
            if not clock.wait(closed, 0.3):
                self.transport.close()
        self.transport.watches.pop(channel.get_id(), None)


def reason_of(complaint: bytes, status: ExitStatus) -> str:
    """What the guest's tool said, without the tool's name; else how it ended."""
    lines = [line.strip() for line in complaint.decode("utf-8", errors="replace").splitlines() if line.strip()]
    said = "; ".join(line.removeprefix("dd: ").removeprefix("cat: ") for line in lines)
    if said:
        return said
    if status.disconnected:
        return "the connection to the guest was lost"
    return f"killed by signal {status.signal}" if status.signal else f"exit status {status.code}"
