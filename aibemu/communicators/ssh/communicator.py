"""The SSH communicator: one connection per machine, one channel per command (facts: provisioners 3).

Only the run's own key is offered: no agent, no other keys, no password. The guest's host key is taken on trust at the
first login and pinned from then on. A connection that is already lost is made anew before the next command; a
command that has been sent is never sent again.
"""

from __future__ import annotations

import errno
import shlex
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.clock import Deadline
from aibemu.communicators import (
    Access,
    Credentials,
    ExitStatus,
    OnLine,
    Refusal,
    Sink,
    Stream,
    UploadFailed,
    cut_of,
    unfinished_of,
)
from aibemu.communicators.factory import borne, nothing, untold, zero
from aibemu.communicators.lines import Lines
from aibemu.communicators.login_shell import in_sh
from aibemu.communicators.ssh.refusals import Refusals
from aibemu.communicators.ssh.session import CHUNK, Exchange, reason_of
from aibemu.communicators.ssh.wait import AFTER_CLOSE, open_greeted
from aibemu.communicators.supervising import Guard, supervise, watching
from aibemu.errors import AibemuError, Expired, HostNotReady, ProvisionFailed
from aibemu.files import replacing

if TYPE_CHECKING:
    import socket

    from paramiko import PKey

    from aibemu.communicators.ssh.pulse import Pulse
    from aibemu.communicators.ssh.transport import GuestTransport

# Seconds for one handshake and login, as Packer allows, and for getting back a lost connection; both x slowness.
HANDSHAKE = 60.0
RECONNECT = 300.0
# Seconds after each refused login: first boot may not have made the user yet. Not faster, or a new sshd (9.8)
# shuts us out for its PerSourcePenalties: 5 s per failure, refused from 15 s on.
AFTER_REFUSAL = (1.0, 2.0, 4.0, 5.0)
# Bytes that are kept of what a command says that is asked for a short answer; what comes after them is passed over.
MOST_HEARD = 16 * 1024 * 1024
# How much of a file is read at once: whole packets, for a small one after them costs as much as a full one.
BLOCK = 8 * CHUNK


class SshCommunicator:
    """A `Communicator` over SSH.

    alive: raises if the machine is dead. generation: how often the machine has been reset or shut down, by the
    hypervisor; when it changes, the connection is dropped at once, for TCP would notice minutes later.
    on_held: told once per command whose exit status has come while a background process keeps its output open.
    on_silence, on_refused: see `aibemu.communicators.factory.Watch`.
    accept_new_host_key: do not mind another host key when connecting again.
    """

    def __init__(
        self,
        host: str,
        port: int,
        credentials: Credentials,
        *,
        alive: Callable[[], None] = nothing,
        generation: Callable[[], int] = zero,
        on_held: Callable[[], None] | None = None,
        on_silence: Callable[[float, str], None] = untold,
        on_refused: Callable[[Refusal], None] = borne,
        accept_new_host_key: bool = False,
    ) -> None:
        self.host = host
        self.port = port
        self.credentials = credentials
        self.accept_new_host_key = accept_new_host_key
        self.banner = ""
        self._alive = alive
        self._generation = generation
        self._on_held = on_held
        self._on_silence = on_silence
        self._on_refused = on_refused
        self._pulse: Pulse | None = None
        self._connected_in = generation()
        self._host_key: PKey | None = None
        self._transport: GuestTransport | None = None
        self._session = 0
        self._closed = False

    @classmethod
    def connect(
        cls,
        host: str,
        port: int,
        credentials: Credentials,
        *,
        deadline: Deadline,
        alive: Callable[[], None] = nothing,
        generation: Callable[[], int] = zero,
        on_held: Callable[[], None] | None = None,
        on_silence: Callable[[float, str], None] = untold,
        on_refused: Callable[[Refusal], None] = borne,
        accept_new_host_key: bool = False,
    ) -> SshCommunicator:
        """Wait until the guest greets and accepts the login; `Expired` says what it last answered."""
        communicator = cls(
            host, port, credentials, alive=alive, generation=generation, on_held=on_held, on_silence=on_silence,
            on_refused=on_refused, accept_new_host_key=accept_new_host_key,
        )  # fmt: skip
        communicator.reconnect(deadline)
        return communicator

    def reconnect(self, deadline: Deadline) -> None:
        """Connect anew to the same endpoint, however often it takes until `deadline`.

        Raises `ProvisionFailed` for another host key than before, unless `accept_new_host_key`, and `LoginHopeless`.
        """
        from paramiko import SSHException

        from aibemu.communicators.ssh.login import LoginRefused

        self._drop()
        self._closed, self._session = False, 0
        key = self._load_key()
        began, refusals = deadline.clock.monotonic(), Refusals(deadline.clock)
        answer = f"no SSH server answered on {self.host} port {self.port}"

        def alive() -> None:
            self._alive()
            self._on_silence(deadline.clock.monotonic() - began, answer)

        try:
            while True:
                deadline.check()
                generation = self._generation()
                connection, self.banner = open_greeted(self.host, self.port, deadline=deadline, alive=alive)
                try:
                    self._transport = self._log_in(connection, key, generation, deadline)
                    self._connected_in = generation
                    self._on_silence(0.0, "")
                    return
                except LoginRefused as error:
                    answer = str(error)
                    refusals.add(error.for_now, about_user=error.about_user)
                    self._on_refused(refusals.value(answer))
                    deadline.sleep(AFTER_REFUSAL[min(refusals.tries, len(AFTER_REFUSAL)) - 1])
                except (SSHException, EOFError, OSError) as error:
                    answer = f"the SSH handshake failed: {str(error) or type(error).__name__}"
                    deadline.sleep(AFTER_CLOSE)
        except Expired as error:
            raise Expired(answer) from error

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
        try:
            status = self.exchange(
                command,
                stdin=(stdin,) if stdin else (),
                sink=lambda stream, data: cutters[stream].feed(data),
                deadline=deadline,
            )
        except AibemuError:
            over = True
            _flush(cutters)  # a prompt nobody answered is what a person wants to see after a timeout
            raise
        over = True
        _flush(cutters)
        return status

    def exchange(self, command: str, *, stdin: Iterable[bytes], sink: Sink, deadline: Deadline) -> ExitStatus:
        transport = self._connected(deadline)
        if transport is None:
            return ExitStatus(code=None, disconnected=True)
        exchange = Exchange(transport, command, stdin=stdin, sink=sink)
        status = exchange.finish(self._guard(deadline, exchange), clock=deadline.clock, on_held=self._on_held)
        if exchange.unreadable is not None:
            raise exchange.unreadable
        return status

    def output(self, command: str, *, deadline: Deadline) -> tuple[ExitStatus, str]:
        status, heard = self._capture(command, stdin=(), deadline=deadline)
        return status, heard[Stream.STDOUT].decode("utf-8", errors="replace")

    def upload(self, source: Path, destination: str, *, deadline: Deadline, mode: int | None = None) -> None:
        self._put(_blocks(source), destination, deadline=deadline, mode=mode)

    def write(self, content: bytes, destination: str, *, deadline: Deadline, mode: int | None = None) -> None:
        self._put((content,) if content else (), destination, deadline=deadline, mode=mode)

    def download(self, source: str, destination: Path, *, deadline: Deadline) -> None:
        complaint = bytearray()
        with replacing(destination) as partial:
            with partial.open("wb") as file:

                def sink(stream: Stream, data: bytes) -> None:
                    if stream is Stream.STDOUT:
                        file.write(data)
                    else:
                        complaint.extend(data[: MOST_HEARD - len(complaint)])

                status = self.exchange(f"env LC_ALL=C cat -- {_quote(source)}", stdin=(), sink=sink, deadline=deadline)
            if not status.ok:
                reason = reason_of(bytes(complaint), status)
                if "No such file or directory" in reason:
                    raise FileNotFoundError(errno.ENOENT, reason, source)
                raise UploadFailed(reason, disconnected=status.disconnected)

    def session(self, *, deadline: Deadline) -> int:
        if not self._session:
            status, text = self.output(in_sh("echo $PPID"), deadline=deadline)
            self._session = int(text) if status.ok and text.strip().isdigit() else 0
        return self._session

    def become(self, credentials: Credentials) -> None:
        self.credentials = credentials

    def describe(self) -> str:
        access = Access(communicator="ssh", host=self.host, port=self.port, credentials=self.credentials)
        return shlex.join(ssh_command(access))

    def close(self) -> None:
        """Hang up for good; `run` then answers `disconnected`. Only `reconnect` undoes it."""
        self._closed = True
        self._drop()

    def _capture(
        self, command: str, *, stdin: Iterable[bytes], deadline: Deadline
    ) -> tuple[ExitStatus, dict[Stream, bytearray]]:
        heard = {stream: bytearray() for stream in Stream}

        def sink(stream: Stream, data: bytes) -> None:
            heard[stream].extend(data[: MOST_HEARD - len(heard[stream])])

        return self.exchange(command, stdin=stdin, sink=sink, deadline=deadline), heard

    def _put(self, content: Iterable[bytes], destination: str, *, deadline: Deadline, mode: int | None) -> None:
        """Write through `dd`: as fast as `cat` (faster than SFTP), stops at its first error, and says the errno's own
        words whatever the login shell is, where SFTP only says "Failure"."""
        target = _quote(destination)
        command = f"env LC_ALL=C dd of={target} bs=1M iflag=fullblock status=none"
        if mode is not None:
            command += f" && env LC_ALL=C chmod {mode:04o} -- {target}"
        status, heard = self._capture(command, stdin=content, deadline=deadline)
        if not status.ok:
            raise UploadFailed(reason_of(bytes(heard[Stream.STDERR]), status), disconnected=status.disconnected)

    def _connected(self, deadline: Deadline) -> GuestTransport | None:
        """The connection, made anew if it is known to be lost; None when closed or not to be had in time."""
        deadline.check()
        if self._closed:
            return None
        if self._transport is None or not self._transport.is_active() or self._generation() != self._connected_in:
            try:
                self.reconnect(deadline.within(RECONNECT))
            except Expired:
                deadline.check()
                return None
        return self._transport

    def _guard(self, deadline: Deadline, exchange: Exchange) -> Guard:
        began = deadline.clock.monotonic()
        return watching(
            deadline, same=lambda: self._generation() == self._connected_in, alive=self._alive,
            tell=lambda now: self._tell_silence(0.0 if exchange.started else now - began),
        )  # fmt: skip

    def _tell_silence(self, unstarted: float) -> None:
        """unstarted: for how many seconds the guest has not started what it was asked to run."""
        silence = self._pulse.silence() if self._pulse else 0.0
        why = "its SSH server does not answer" if silence >= unstarted else "it does not start the command"
        self._on_silence(max(silence, unstarted), why)

    def _load_key(self) -> PKey:
        from paramiko import SSHException

        from aibemu.communicators.ssh.transport import load_key

        file = self.credentials.key_file
        if file is None:
            raise HostNotReady(f"there is no private key for {self.credentials.user}, and SSH logs in by nothing else")
        try:
            return load_key(file)
        except (OSError, ValueError, SSHException) as error:
            raise HostNotReady(f"the private key {file} cannot be used: {error}") from error

    def _log_in(self, connection: socket.socket, key: PKey, generation: int, deadline: Deadline) -> GuestTransport:
        from aibemu.communicators.ssh.login import log_in
        from aibemu.communicators.ssh.pulse import Pulse
        from aibemu.communicators.ssh.transport import KEEPALIVE_SECONDS, GuestTransport

        patience = HANDSHAKE * deadline.slowness
        transport = GuestTransport(connection, patience=patience)

        def shake_hands() -> PKey:
            user = self.credentials.user
            return log_in(transport, user, key, patience=patience, check_host_key=self._check_host_key)

        def check() -> None:
            deadline.check()
            self._alive()
            # The server that greeted went down with the machine, and nobody will ever answer on this connection.
            if self._generation() != generation:
                raise ConnectionError("the machine restarted meanwhile")

        def hang_up() -> None:
            transport.close()
            connection.close()

        try:
            self._host_key = supervise(shake_hands, guard=check, clock=deadline.clock, abandon=hang_up)
        except BaseException:
            hang_up()
            raise
        transport.set_keepalive(KEEPALIVE_SECONDS)
        self._pulse = Pulse(transport, deadline.clock)
        return transport

    def _check_host_key(self, host_key: PKey) -> None:
        known = self._host_key
        if known is None or self.accept_new_host_key or host_key.asbytes() == known.asbytes():
            return
        raise ProvisionFailed(
            "the guest's SSH host key is not the one it had when aibemu first logged in",
            details=[f"before: {known.fingerprint}", f"now: {host_key.fingerprint}"],
            hint="a step deleted or made new host keys (/etc/ssh/ssh_host_*) and the machine or its sshd restarted; "
            "leave that to the deprovisioning at the end",
        )

    def _drop(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None


def ssh_command(access: Access) -> list[str]:
    """The words that a person types to get in."""
    who = access.credentials
    return [
        "ssh", *(["-i", str(who.key_file)] if who.key_file else []), "-p", str(access.port), "-o", "IdentitiesOnly=yes",
        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", f"{who.user}@{access.host}",
    ]  # fmt: skip


def _cutter(stream: Stream, give: OnLine, on_line: OnLine | None) -> Lines:
    unfinished = unfinished_of(on_line)
    return Lines(partial(give, stream), partial(unfinished, stream) if unfinished else None, cut=cut_of(on_line))


def _flush(cutters: dict[Stream, Lines]) -> None:
    for cutter in cutters.values():
        cutter.close()


def _quote(path: str) -> str:
    if not path or "\0" in path:
        raise UploadFailed(f"{path!r} is not a path: No such file or directory")
    return shlex.quote(path)


def _blocks(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while block := file.read(BLOCK):
            yield block
