"""QEMU's own monitor through libvirt: the same commands and events as the QEMU driver's, by another way.

libvirt says of a machine marked by this that it is tainted ("custom monitor"); that changes nothing.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aibemu.clock import Deadline, forever
from aibemu.errors import HostNotReady
from aibemu.records import parse_json
from aibemu_drivers.libvirt import library
from aibemu_drivers.libvirt.connection import Connection
from aibemu_drivers.libvirt.failures import SYSTEM, Lost, Refused, is_gone
from aibemu_drivers.qemu.monitor import Monitor
from aibemu_drivers.qemu.qmp import ANSWER, Client, Message, QmpError

# Bytes that the kernel moves from a file into a pipe at once.
PIECE = 1 << 20
# Commands that libvirt has calls of its own for: it would not notice otherwise what a machine does.
_OWN: Mapping[str, Callable[[Any], object]] = {
    "stop": lambda domain: domain.suspend(),
    "cont": lambda domain: domain.resume(),
}


class LibvirtMonitor(Monitor):
    """Of one machine."""

    def __init__(self, machine_id: str, directory: Path, connection: Connection, uuid: str) -> None:
        super().__init__(machine_id, directory, directory)
        self._connection, self._uuid = connection, uuid

    def _open(self, greeting: float) -> Client:
        try:
            return DomainClient(self._connection, self._uuid, self._heard, greeting)
        except (Refused, Lost, HostNotReady) as error:
            raise ConnectionRefusedError("; ".join([error.message, *error.details])) from error

    def migrate(self, command: str, file: int, deadline: Deadline) -> None:
        """See `Monitor.migrate`. Memory that is loaded comes through a pipe, after QEMU has answered.

        A QEMU reads a file to its end before it answers, and ends when it cannot use what is in it. libvirt then loses
        the event that says so, together with the connection; the exit status it does not tell.
        """
        if command != "migrate-incoming":
            super().migrate(command, file, deadline)
            return
        with Piped(file) as piped:
            self._begin_migration(command, piped.reader, deadline)
            piped.start()
            self._await_migration(deadline)


class Piped:
    """What is in a file from where it stands, as a pipe that another process reads."""

    def __init__(self, file: int) -> None:
        self.reader, self._writer = os.pipe()
        self._file = file
        self._feeding = threading.Thread(target=self._feed, name="piped memory", daemon=True)

    def start(self) -> None:
        """Let it come."""
        self._feeding.start()

    def _feed(self) -> None:
        try:
            # The reader may be gone, and a file that cannot be read ends too early: who reads it says so.
            with contextlib.suppress(OSError):
                while os.sendfile(self._writer, self._file, None, PIECE):
                    pass
        finally:
            os.close(self._writer)

    def __enter__(self) -> Piped:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.reader)  # with nobody left who reads, what feeds it ends
        if self._feeding.ident is None:
            os.close(self._writer)
        else:
            self._feeding.join()


class DomainClient:
    """One machine's events and commands. See `aibemu_drivers.qemu.qmp.QmpClient`, whose errors it has."""

    def __init__(
        self, connection: Connection, uuid: str, on_event: Callable[[Message], None], seconds: float
    ) -> None:  # fmt: skip
        """Watch the machine. `Refused` when libvirt has no such machine."""
        self.uuid = uuid
        self._connection, self._on_event = connection, on_event
        self._over = threading.Event()
        self._asking = threading.Lock()
        # The events of this machine belong to the run that asks for them.
        self._context = contextvars.copy_context()
        connection.watch(self)
        try:
            connection.call(lambda virt: virt.lookupByUUIDString(uuid), seconds=seconds)
        except BaseException:
            self.close()
            raise

    def heard(self, event: Message) -> None:
        """See `Watcher`."""
        self._context.run(self._on_event, event)

    def ended(self) -> None:
        """See `Watcher`."""
        self._over.set()

    lost = ended

    @property
    def closed(self) -> bool:
        """True when the machine ended, the daemon was lost, or `close` was called."""
        return self._over.is_set()

    def execute(
        self,
        command: str,
        arguments: Message | None = None,
        *,
        timeout: float = ANSWER,
        descriptor: int | None = None,
        deadline: Deadline | None = None,
    ) -> Any:
        """Run a command; its return value. `descriptor` goes with it (`getfd`)."""
        request = {"execute": command, "arguments": dict(arguments or {})}
        bound = deadline or forever()
        with self._asking:
            if self.closed:
                raise ConnectionResetError("the machine has ended")
            try:
                return self._connection.call(
                    lambda virt: self._ask(virt, request, descriptor), seconds=timeout, deadline=bound
                )
            except Refused as error:
                if is_gone(error):
                    self._over.set()
                    raise ConnectionResetError("the machine has ended") from error
                # What QEMU refuses of our own words is in its answer: here libvirt did not reach it, or lost it.
                if command not in _OWN or error.number == SYSTEM:
                    raise ConnectionAbortedError(error.words) from error
                raise QmpError(error.words) from error
            except (Lost, HostNotReady) as error:
                raise ConnectionAbortedError("; ".join([error.message, *error.details])) from error

    def _ask(self, virt: Any, request: Message, descriptor: int | None) -> Any:
        domain = virt.lookupByUUIDString(self.uuid)
        if own := _OWN.get(request["execute"]):
            own(domain)
            return {}
        files = [] if descriptor is None else [descriptor]
        said, _ = library.load_qemu().qemuMonitorCommandWithFiles(domain, json.dumps(request), files)
        answer = parse_json(said)
        if "error" in answer:  # a refused command raises nothing
            raise QmpError(str(answer["error"].get("desc", answer["error"])))
        return answer["return"]

    def drain(self, seconds: float) -> None:
        """After the machine ended: wait until all that it said has been heard."""
        self._over.wait(seconds)

    def close(self) -> None:
        """Hear no more of it; the machine goes on running."""
        self._connection.unwatch(self)
        self._over.set()
