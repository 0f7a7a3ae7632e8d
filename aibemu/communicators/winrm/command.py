"""One command in a shell of its own: bytes in, bytes out as they come, and how it ended.

All requests are sent by threads of their own, for each may block; the calling thread only hands over what came and asks
its guard, at least ten times a second and after each piece. The command is signalled and its shell deleted whatever
happens, as far as the server answers in bounded time: a user may have 30 shells, and each lives for hours.

What is asked for again is only output: a command is never started a second time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aibemu.clock import Clock
from aibemu.communicators import ExitStatus, Sink, Stream
from aibemu.communicators.supervising import LOOK, Guard
from aibemu.communicators.winrm.trouble import (
    Broken,
    Busy,
    Gone,
    Quota,
    Refused,
    Silent,
    TooLarge,
    Trouble,
    WinrmFailed,
)

if TYPE_CHECKING:
    from aibemu.communicators.winrm.wire import Received, Wire

# Pieces that wait to be handed over; then the guest waits.
WAITING = 8
# How many times as long as the caller the thread waits for each answer while it ends a command.
TIDY = 4
# Bytes of input in one request: as ansible's; the smallest for a server that takes only small requests.
MOST_INPUT, LEAST_INPUT = 250_000, 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds, before scaling."""

    # How long the server waits for output before it answers that there is none: the guest's sign of life.
    operation: int = 10
    # After how long without an answer the connection counts as lost.
    give_up: float = 180.0
    # How long a server that is full is asked again.
    quota: float = 60.0
    # How long is waited until a command that is given up was ended in the guest; not scaled, for somebody waits.
    tidy: float = 5.0
    # Between two tries.
    pause: float = 0.5


class Exchange:
    """Run `command` with `stdin` and give what it says to `sink`; used once.

    wires: two connections to the guest, for input is sent while output is waited for.
    """

    def __init__(
        self, wires: tuple[Wire, Wire], command: str, *, stdin: Iterable[bytes], sink: Sink, clock: Clock, pace: Pace
    ) -> None:
        self._wire, self._input = wires
        self._command = command
        self._stdin = stdin
        self._sink = sink
        self._clock = clock
        self._pace = pace
        # Whether the guest may have run it; whether it said that it did.
        self.sent = self.started = False
        # When the guest last answered.
        self.heard = clock.monotonic()
        # What ended it without an exit status.
        self.trouble: Trouble | None = None
        # Reading `stdin` failed on this side.
        self.unreadable: OSError | None = None
        self._pieces: deque[tuple[Stream, bytes]] = deque()
        self._news, self._room, self._stopped, self._over = (threading.Event() for _ in range(4))
        self._gone = False
        self._most = MOST_INPUT
        self._shell = self._id = ""
        self._bug: BaseException | None = None
        self._status = ExitStatus(code=None, disconnected=True)

    def finish(self, guard: Guard) -> ExitStatus:
        """Wait for the end. `disconnected` if there was no exit status, or `guard` answered False."""
        threading.Thread(target=self._drive, name="winrm-command", daemon=True).start()
        try:
            while True:
                self._news.clear()
                over = self._over.is_set()
                lost = not self._hand_over(guard, over)
                if over:
                    break
                if lost or not guard():
                    self._gone = True
                    break
                self._clock.wait(self._news, LOOK)
        finally:
            self._end()
        if self._bug is not None:
            raise self._bug
        return ExitStatus(code=None, disconnected=True) if self._gone else self._status

    def _hand_over(self, guard: Guard, over: bool) -> bool:
        while self._pieces:
            self._sink(*self._pieces.popleft())
            self._room.set()
            if not guard() and not over:
                return False
        return True

    def _end(self) -> None:
        """Have the guest's side ended: waited for for a moment only, and not at all when the guest is gone. The thread
        goes on with it, and hangs up at its end."""
        if self._over.is_set():
            return
        self._stopped.set()
        self._room.set()
        self._wire.patience = self._input.patience = TIDY * self._pace.tidy
        if self._gone:
            self._hang_up()
            return
        # With output on its way the thread looks up at once; and a new connection costs a handshake.
        if not self._clock.wait(self._over, self._pace.tidy / 4) and self._shell:
            # Without a shell one may be about to be made, and nobody could delete it.
            self._wire.abort()
        self._clock.wait(self._over, self._pace.tidy)

    def _hang_up(self) -> None:
        self._wire.close()
        self._input.close()

    def _drive(self) -> None:
        """What the thread does."""
        try:
            self._status = ExitStatus(code=self._converse())
        except Trouble as error:
            self.trouble = error
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            self._bug = error
        finally:
            self._tidy()
            if self._status.code is None:
                self._hang_up()
            self._over.set()
            self._news.set()

    def _converse(self) -> int:
        self._shell = self._patiently(lambda: self._wire.open_shell())
        self._go_on()
        self._id = self._patiently(self._start)
        self.started = True
        self._feed()
        while True:
            received = self._receive()
            for piece in received.pieces:
                self._put(piece)
            if received.exit_code is not None:
                return received.exit_code

    def _start(self) -> str:
        self.sent = True
        try:
            return self._wire.start(self._shell, self._command, piped=self._stdin != ())
        except (Refused, Busy, Quota, TooLarge, Gone):
            self.sent = False  # it says so
            raise

    def _patiently(self, work: Callable[[], str]) -> str:
        """Do it; while the server is full, again."""
        until = self._clock.monotonic() + self._pace.quota
        while True:
            try:
                done = work()
            except Quota as error:
                if self._clock.monotonic() >= until or self._stopped.is_set():
                    raise WinrmFailed(
                        f"the guest's WinRM has no room for another command: {error}",
                        hint="something in the guest keeps shells or commands open, or its quotas are small: "
                        "winrm get winrm/config/winrs shows them",
                    ) from error
                self.heard = self._clock.monotonic()
                self._clock.wait(self._stopped, self._pace.pause)
                continue
            self.heard = self._clock.monotonic()
            return done

    def _receive(self) -> Received:
        """The next output, however often it has to be asked for. What is lost with a connection, its command goes on
        without it: output that was on its way then does not come again."""
        self.heard = self._clock.monotonic()
        while True:
            self._go_on()
            self._wire.patience = max(1.0, self.heard + self._pace.give_up - self._clock.monotonic())
            try:
                received = self._wire.receive(self._shell, self._id)
            except Silent:
                self.heard = self._clock.monotonic()
            except (Broken, Busy, Quota):
                if self._stopped.is_set() or self._clock.monotonic() >= self.heard + self._pace.give_up:
                    raise
                self._clock.wait(self._stopped, self._pace.pause)
            else:
                self.heard = self._clock.monotonic()
                return received

    def _put(self, piece: tuple[Stream, bytes]) -> None:
        self._pieces.append(piece)
        self._news.set()
        while len(self._pieces) >= WAITING:
            self._room.clear()
            self._go_on()  # after the clear: who stops this sets both, in the other order
            if len(self._pieces) >= WAITING:
                self._room.wait()

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise Broken("given up")

    def _feed(self) -> None:
        """Send the input: its end at once if there is none, else beside the output."""
        if self._stdin == ():
            self._give(self._wire, b"", True)
        else:
            threading.Thread(target=self._feed_all, name="winrm-stdin", daemon=True).start()

    def _feed_all(self) -> None:
        try:
            for block in self._stdin:
                if not self._give(self._input, block, False):
                    return
        except OSError as error:
            self.unreadable = error
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            # Without the end of its input the command would wait for ever.
            self._bug = error
        self._give(self._input, b"", True)

    def _give(self, wire: Wire, data: bytes, end: bool) -> bool:
        """Send it in pieces that the server takes; False when nobody wants it any more."""
        at = 0
        while at < len(data) or end:
            if self._stopped.is_set() or self._over.is_set():
                return False
            piece = data[at : at + self._most]
            try:
                wire.send(self._shell, self._id, piece, end=end and at + len(piece) >= len(data))
            except TooLarge:
                if self._most <= LEAST_INPUT:
                    return False
                self._most //= 2
                continue
            except Trouble:  # the command reads no more, or its output will say why
                return False
            at += len(piece)
            if at >= len(data):
                return True
        return True

    def _tidy(self) -> None:
        if not self._shell or self._gone or (isinstance(self.trouble, Broken) and not self._stopped.is_set()):
            return
        self._wire.patience = min(self._wire.patience, TIDY * self._pace.tidy)
        try:
            if self._id:
                self._wire.terminate(self._shell, self._id)
        except Trouble:
            pass  # it is over, or was ended by the connection's end; the shell goes all the same
        for _ in range(2):
            try:
                self._wire.delete(self._shell)
            except Broken:
                continue  # a busy guest did not answer in time
            except Trouble:
                return
            return
