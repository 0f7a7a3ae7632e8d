"""The WinRM communicator: HTTPS with the run's own certificate pinned, a shell of the guest's for each command.

Nothing of this process's environment is used: no proxy, no certificates, no .netrc. A command that may have been
started is never started again; a lost connection is data.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.clock import Deadline
from aibemu.communicators import Access, Credentials, ExitStatus, OnLine, Sink, Stream, cut_of, unfinished_of
from aibemu.communicators.factory import Watch
from aibemu.communicators.lines import Lines
from aibemu.communicators.supervising import Guard, supervise, watching
from aibemu.communicators.winrm.clixml import Unwrapper
from aibemu.communicators.winrm.command import Exchange, Pace
from aibemu.communicators.winrm.files import Files
from aibemu.communicators.winrm.greeting import Greeting, await_greeting
from aibemu.communicators.winrm.refusals import Refusals
from aibemu.communicators.winrm.trouble import (
    Broken,
    CommandTooLong,
    Fault,
    Refused,
    TooLarge,
    Trouble,
    WinrmFailed,
    no_common_method,
    wrong_certificate,
)
from aibemu.errors import AibemuError, Expired, HostNotReady

if TYPE_CHECKING:
    from aibemu.communicators.winrm.wire import Wire

# Seconds for getting back a lost connection, and for the first login of one; both x slowness.
RECONNECT = 300.0
LOGIN = 60.0
# Seconds after each refused login: first boot may not have made the user yet. Windows shuts out an account for ten
# minutes after ten wrong passwords in ten minutes.
AFTER_REFUSAL = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
AFTER_TROUBLE = 0.5
# Bytes that are kept of what a command says that is asked for a short answer; what comes after them is passed over.
MOST_HEARD = 16 * 1024 * 1024
# What cmd.exe takes, in UTF-16 units.
LONGEST_COMMAND = 8191


class WinrmCommunicator:
    """A `Communicator` over WinRM."""

    def __init__(self, access: Access, watch: Watch, pace: Pace | None = None) -> None:
        self.access = access
        self.credentials = access.credentials
        self.banner = ""
        self._watch = watch
        self._pace = pace or Pace()
        self._wires: tuple[Wire, Wire] | None = None
        self._connected_in = watch.generation()
        self._closed = False
        self._files = Files(self.exchange, watch)

    def reconnect(self, deadline: Deadline) -> None:
        """Log in anew, however often it takes until `deadline`; raises `LoginHopeless`, and what `Watch` raises."""
        self._drop()
        self._closed = False
        self._files.forget()
        self._password()
        clock, refusals = deadline.clock, Refusals(deadline.clock)
        began, self._answer = clock.monotonic(), f"nothing answered on {self.access.host} port {self.access.port}"

        def alive() -> None:
            self._watch.alive()
            self._watch.on_silence(clock.monotonic() - began, self._answer)

        try:
            while True:
                deadline.check()
                generation = self._watch.generation()
                greeting = await_greeting(
                    self.access.host, self.access.port, deadline=deadline, alive=alive, heard=self._hear
                )
                self.banner = greeting.server
                try:
                    self._wires = self._log_in(greeting, generation, deadline)
                    self._connected_in = generation
                    self._watch.on_silence(0.0, "")
                    return
                except Refused as error:
                    self._answer = f"the guest refused the login of {self.credentials.user}: {error}"
                    self._watch.on_refused(refusals.add(self._answer))
                    deadline.sleep(AFTER_REFUSAL[min(refusals.count, len(AFTER_REFUSAL)) - 1])
                except Trouble as error:
                    self._hear(f"{error}")
                    deadline.sleep(AFTER_TROUBLE)
        except Expired as error:
            raise Expired(self._answer) from error

    def run(
        self, command: str, *, deadline: Deadline, on_line: OnLine | None = None, stdin: bytes | None = None
    ) -> ExitStatus:
        over = False

        def give(stream: Stream, line: str) -> None:
            if not over:  # a piece may have thousands of lines, and what each of them costs is the caller's affair
                deadline.check()
            if on_line is not None:
                on_line(stream, line)

        cutters = {stream: _cutter(stream, give, on_line) for stream in Stream}
        plain = Unwrapper(cutters[Stream.STDERR].feed)
        feeds = {Stream.STDOUT: cutters[Stream.STDOUT].feed, Stream.STDERR: plain.feed}

        def flush() -> None:
            nonlocal over
            over = True
            plain.close()
            for cutter in cutters.values():
                cutter.close()

        try:
            status = self.exchange(
                command, stdin=(stdin,) if stdin else (), sink=lambda stream, data: feeds[stream](data),
                deadline=deadline,
            )  # fmt: skip
        except AibemuError:
            flush()  # a prompt nobody answered is what a person wants to see after a timeout
            raise
        flush()
        return status

    def exchange(self, command: str, *, stdin: Iterable[bytes], sink: Sink, deadline: Deadline) -> ExitStatus:
        check_command(command)
        for again in (True, False):
            wires = self._connected(deadline)
            if wires is None:
                break
            exchange = Exchange(
                wires, command, stdin=stdin, sink=sink, clock=deadline.clock, pace=self._scaled(deadline)
            )
            try:
                status = exchange.finish(self._guard(deadline, exchange))
            except BaseException:
                self._wires = None  # the exchange hangs up once it has tidied up
                raise
            if exchange.unreadable is not None:
                raise exchange.unreadable
            if status.code is not None:
                return status
            self._drop()
            if isinstance(exchange.trouble, Fault | TooLarge):
                raise WinrmFailed(f"the guest's WinRM refused a command: {exchange.trouble}")
            if exchange.sent or not again:
                break
        return ExitStatus(code=None, disconnected=True)

    def output(self, command: str, *, deadline: Deadline) -> tuple[ExitStatus, str]:
        heard = bytearray()

        def sink(stream: Stream, data: bytes) -> None:
            if stream is Stream.STDOUT:
                heard.extend(data[: MOST_HEARD - len(heard)])

        status = self.exchange(command, stdin=(), sink=sink, deadline=deadline)
        return status, heard.decode("utf-8", errors="replace")

    def upload(self, source: Path, destination: str, *, deadline: Deadline, mode: int | None = None) -> None:
        """Windows has no modes: `mode` is passed over."""
        self._files.upload(source, destination, deadline)

    def write(self, content: bytes, destination: str, *, deadline: Deadline, mode: int | None = None) -> None:
        self._files.write(content, destination, deadline)

    def download(self, source: str, destination: Path, *, deadline: Deadline) -> None:
        self._files.download(source, destination, deadline)

    def session(self, *, deadline: Deadline) -> int:
        """WinRM has no server of a connection's own."""
        deadline.check()
        return 0

    def become(self, credentials: Credentials) -> None:
        self.credentials = credentials

    def describe(self) -> str:
        return typed(self.access)

    def close(self) -> None:
        """Hang up for good; `run` then answers `disconnected`. Only `reconnect` undoes it."""
        self._closed = True
        self._drop()

    def _hear(self, answer: str) -> None:
        self._answer = f"the guest's WinRM is not ready: {answer}"

    def _password(self) -> str:
        try:
            return self.credentials.password()
        except (OSError, ValueError) as error:
            raise HostNotReady(f"there is no password for {self.credentials.user}: {error}") from error

    def _connected(self, deadline: Deadline) -> tuple[Wire, Wire] | None:
        """The connections, made anew if they are known to be lost; None when closed or not to be had in time."""
        deadline.check()
        if self._closed:
            return None
        if self._wires is None or self._watch.generation() != self._connected_in:
            try:
                self.reconnect(deadline.within(RECONNECT))
            except Expired:
                deadline.check()
                return None
        for wire in self._wires or ():
            wire.patience = self._pace.give_up * deadline.slowness
        return self._wires

    def _log_in(self, greeting: Greeting, generation: int, deadline: Deadline) -> tuple[Wire, Wire]:
        """Two connections, the first of which has had a shell."""
        self._check_certificate(greeting)
        first, second = self._wire(greeting, deadline), self._wire(greeting, deadline)

        def try_shell() -> None:
            first.delete(first.open_shell())

        def check() -> None:
            deadline.check()
            self._watch.alive()
            if self._watch.generation() != generation:
                raise Broken("the machine restarted meanwhile")

        def hang_up() -> None:
            first.close()
            second.close()

        try:
            supervise(try_shell, guard=check, clock=deadline.clock, abandon=hang_up)
        except BaseException:
            hang_up()
            raise
        return first, second

    def _wire(self, greeting: Greeting, deadline: Deadline) -> Wire:
        from aibemu.communicators.winrm.wire import Wire

        negotiates = {"negotiate", "ntlm"} & set(greeting.methods)
        if not negotiates and "basic" not in greeting.methods:
            raise no_common_method(", ".join(greeting.methods))
        return Wire(
            self.access.host, self.access.port, self.credentials.user, self._password(),
            method="ntlm" if negotiates else "basic", certificate=self.credentials.certificate or greeting.certificate,
            operation=self._pace.operation, patience=LOGIN * deadline.slowness,
        )  # fmt: skip

    def _check_certificate(self, greeting: Greeting) -> None:
        expected = self.credentials.certificate.replace(":", "").lower()
        if expected and greeting.certificate != expected:
            raise wrong_certificate(expected, greeting.certificate)

    def _scaled(self, deadline: Deadline) -> Pace:
        pace, factor = self._pace, deadline.slowness
        return Pace(
            operation=pace.operation, give_up=pace.give_up * factor, quota=pace.quota * factor, tidy=pace.tidy,
            pause=pace.pause,
        )  # fmt: skip

    def _guard(self, deadline: Deadline, exchange: Exchange) -> Guard:
        began = deadline.clock.monotonic()
        return watching(
            deadline, same=lambda: self._watch.generation() == self._connected_in, alive=self._watch.alive,
            tell=lambda now: self._tell_silence(now, exchange, began),
        )  # fmt: skip

    def _tell_silence(self, now: float, exchange: Exchange, began: float) -> None:
        """It answers each time that it was asked to wait for output is over."""
        if not exchange.started:
            self._watch.on_silence(now - began, "it does not start the command")
            return
        silence = now - exchange.heard
        answers = silence < 2 * self._pace.operation
        self._watch.on_silence(0.0 if answers else silence, "" if answers else "its WinRM server does not answer")

    def _drop(self) -> None:
        wires, self._wires = self._wires, None
        for wire in wires or ():
            wire.close()


def check_command(command: str) -> None:
    """Refuse what cmd.exe would not run whole, before it is sent."""
    length = len(command.encode("utf-16-le", "surrogatepass")) // 2
    if length > LONGEST_COMMAND:
        raise CommandTooLong(
            f"the command has {length} characters; Windows runs {LONGEST_COMMAND} at most over WinRM",
            details=[f"it begins: {command[:80]}"],
            hint="put it into a script: a PowerShell step, or a file that is uploaded and run",
        )
    if bad := next((character for character in command if not _writable(character)), None):
        raise WinrmFailed(f"the command holds the character U+{ord(bad):04X}, which WinRM cannot carry")


def _writable(character: str) -> bool:
    """Whether XML 1.0 can hold it."""
    return character in "\t\n\r" or " " <= character < "\ud800" or "\ue000" <= character not in "\ufffe\uffff"


def typed(access: Access) -> str:
    """What a person types to get in: no program of this host speaks WinRM but aibemu itself."""
    return f"aibemu shell  # WinRM, as {access.credentials.user}, {access.host}:{access.port}"


def _cutter(stream: Stream, give: OnLine, on_line: OnLine | None) -> Lines:
    unfinished = unfinished_of(on_line)
    return Lines(partial(give, stream), partial(unfinished, stream) if unfinished else None, cut=cut_of(on_line))
