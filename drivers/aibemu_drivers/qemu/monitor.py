"""What QEMU says about one machine: its events, kept in order, and a connection to ask it things.

Events that matter are also appended to `events.ndjson` in the machine's directory (with QEMU's own time and reason): a
diagnosis for people. After taking up a machine again, `events` starts empty.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
from pathlib import Path
from typing import Any

from aibemu.clock import Deadline, forever
from aibemu.errors import ProvisionFailed
from aibemu.files import remove
from aibemu.hypervisor import MachineEventKind
from aibemu.reading import open_writable
from aibemu_drivers.qemu.qmp import LOOK, Client, Message, QmpClient, QmpError

EVENTS_FILE = "events.ndjson"
# Bytes per second. QEMU's own default is for networks.
UNLIMITED = 10**12
# Seconds for QEMU to hear that a migration is given up.
CANCEL_BOUND = 2.0
# Bytes of the file with events, after which those are left out that a guest can cause without end.
MOST_RECORDED = 1 << 20
_WITHOUT_END = frozenset({MachineEventKind.RESET, MachineEventKind.IO_ERROR})
# Why a machine is said to go off that was told to stop at its guest's resets.
STOPPED_AT_RESET = "guest-reset"
_KINDS = {
    "RESET": MachineEventKind.RESET,
    "SHUTDOWN": MachineEventKind.SHUTDOWN,
    "GUEST_PANICKED": MachineEventKind.PANIC,
    "BLOCK_IO_ERROR": MachineEventKind.IO_ERROR,
}


def kind_of(message: Message) -> MachineEventKind | None:
    """What a QMP event means, or None. A read error that the guest was told of is the guest's to deal with; a shutdown
    by somebody else (a signal, `quit`) is none of the guest's (QEMU: qapi/run-state.json, SHUTDOWN)."""
    kind = _KINDS.get(message.get("event", ""))
    data = message.get("data", {})
    if kind is MachineEventKind.SHUTDOWN and data.get("reason") == STOPPED_AT_RESET:
        return MachineEventKind.RESET
    if kind is MachineEventKind.SHUTDOWN and not data.get("guest"):
        return None
    if kind is MachineEventKind.IO_ERROR and data.get("operation") == "read" and data.get("action") != "stop":
        return None
    return kind


def told_by(message: Message) -> str | None:
    """What a guest told with its panic through the crash registers of Hyper-V's interface, as `Machine.panic` gives it;
    None for a panic without: pvpanic only says that there was one (QEMU: qapi/run-state.json, GuestPanicInformation).
    """
    info = message.get("data", {}).get("info") or {}
    numbers = [info.get(f"arg{number}") for number in range(1, 6)]
    if info.get("type") != "hyper-v" or not all(isinstance(number, int) for number in numbers):
        return None
    code, *parameters = (f"0x{number:X}" for number in numbers)
    return f"{code} ({', '.join(parameters)})"


class NoGreeting(ProvisionFailed):
    """QEMU lets nobody in: another process has its monitor."""


class NoAnswer(ProvisionFailed):
    """QEMU is gone, or silent: what it was told to do may be done, or not, or later."""


class MigrationFailed(ProvisionFailed):
    """QEMU itself gave up to load or to save memory."""


class Monitor:
    """The QMP connection of one machine: made when first needed, made again when it was lost."""

    def __init__(self, machine_id: str, socket: Path, directory: Path) -> None:
        self.machine_id = machine_id
        self.socket = socket
        self.file = directory / EVENTS_FILE
        self._client: Client | None = None
        self._events: list[MachineEventKind] = []
        self._told: str | None = None
        self._lock = threading.Lock()
        self._migrations: queue.SimpleQueue[str] = queue.SimpleQueue()
        # Set when the guest has reset itself and stands there, and when it has gone off; see `resets`.
        self.caught, self.went_off = threading.Event(), threading.Event()

    @property
    def connected(self) -> bool:
        return self._client is not None and not self._client.closed

    def restart(self) -> None:
        """Forget the events of an earlier start."""
        self.close()
        remove(self.file)
        with self._lock:
            self._events, self._told = [], None
        self.caught.clear()
        self.went_off.clear()

    def connect(self, *, greeting: float = 15.0) -> Client:
        """The connection. `OSError` when QEMU is not there; `NoGreeting` when another process has its monitor."""
        if self._client is not None and not self._client.closed:
            return self._client
        try:
            self._client = self._open(greeting)
        except TimeoutError:
            raise NoGreeting(
                f"the monitor of the machine {self.machine_id} is in use by another process",
                details=[f"{self.socket} did not greet within {greeting:.0f} s; QEMU talks to one client at a time"],
                hint="end the other aibemu that holds this machine, then try again",
            ) from None
        return self._client

    def _open(self, greeting: float) -> Client:
        return QmpClient(self.socket, self._heard, greeting=greeting)

    def execute(
        self,
        command: str,
        arguments: Message | None = None,
        *,
        descriptor: int | None = None,
        deadline: Deadline | None = None,
    ) -> Any:
        """Run a QMP command; `ProvisionFailed` with QEMU's words when refused, `NoAnswer` when it does not say."""
        try:
            return self.connect().execute(command, arguments, descriptor=descriptor, deadline=deadline)
        except QmpError as error:
            raise ProvisionFailed(
                f"QEMU did not accept {command!r} for the machine {self.machine_id}", details=[str(error)]
            ) from error
        except OSError as error:
            raise NoAnswer(
                f"QEMU gave no answer to {command!r} for the machine {self.machine_id}", details=[str(error)]
            ) from error

    def events(self) -> tuple[MachineEventKind, ...]:
        with self._lock:
            return tuple(self._events)

    def panic(self) -> str | None:
        """What the guest told of its first panic since the start; see `aibemu.hypervisor.Machine.panic`."""
        with self._lock:
            return self._told

    def migrate(self, command: str, file: int, deadline: Deadline) -> None:
        """`migrate` or `migrate-incoming` to or from an open file, to its end. Only QEMU's events tell: nothing polls.

        `MigrationFailed` with QEMU's words, other `ProvisionFailed` when it is gone; `Expired` when it takes too long,
        and what else `deadline` raises: after these QEMU goes on with it.
        """
        self._begin_migration(command, file, deadline)
        self._await_migration(deadline)

    def _begin_migration(self, command: str, file: int, deadline: Deadline) -> None:
        while not self._migrations.empty():
            self._migrations.get_nowait()
        capabilities = [{"capability": "events", "state": True}]
        self.execute("migrate-set-capabilities", {"capabilities": capabilities}, deadline=deadline)
        self.execute("migrate-set-parameters", {"max-bandwidth": UNLIMITED}, deadline=deadline)
        self.execute("getfd", {"fdname": "memory"}, descriptor=file, deadline=deadline)
        self.execute(command, {"uri": "fd:memory"}, deadline=deadline)

    def give_up_migration(self) -> None:
        """No error if there is none, or if QEMU does not hear it."""
        with contextlib.suppress(ProvisionFailed):
            self.execute("migrate_cancel", deadline=forever().within(CANCEL_BOUND))

    def _await_migration(self, deadline: Deadline) -> None:
        while True:
            deadline.check()
            # What it said before it ended is heard first: it may have said why.
            if self._migrations.empty() and (self._client is None or self._client.closed):
                raise NoAnswer(f"QEMU ended while it loaded or saved the machine {self.machine_id}")
            try:
                status = self._migrations.get(timeout=min(LOOK, deadline.remaining()))
            except queue.Empty:
                continue
            if status == "completed":
                return
            if status == "failed":
                why = "QEMU does not say why"
                with contextlib.suppress(ProvisionFailed):  # one that loads ends of it, in the midst of saying
                    why = self.execute("query-migrate", deadline=deadline).get("error-desc", why)
                raise MigrationFailed(f"the memory of the machine {self.machine_id} was not saved", details=[why])

    def drain(self) -> None:
        """The machine has ended: hear all that it said."""
        if self._client is not None:
            self._client.drain(5.0)

    def close(self) -> None:
        """Hang up; the machine goes on."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _heard(self, message: Message) -> None:
        if message.get("event") == "MIGRATION":
            self._migrations.put(message["data"]["status"])
        kind = kind_of(message)
        if kind is None:
            return
        if message.get("event") == "SHUTDOWN":
            (self.caught if kind is MachineEventKind.RESET else self.went_off).set()
        with self._lock:
            self._events.append(kind)
            if kind is MachineEventKind.PANIC:
                self._told = self._told or told_by(message)
        try:
            with os.fdopen(open_writable(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as stream:
                if kind not in _WITHOUT_END or os.fstat(stream.fileno()).st_size < MOST_RECORDED:
                    stream.write(json.dumps(message).encode() + b"\n")
        except OSError:  # a full disk, or the machine is being destroyed: the event itself is not lost
            return
