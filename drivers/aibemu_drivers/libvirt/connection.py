"""The connection of one driver to one libvirt: made when it is first needed, and again when it was lost.

Each call is made in a thread of its own, because libvirt may be silent for as long as it likes: whoever asked hears of
a cancel and of the end of the build meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol, TypeVar

from aibemu.clock import Deadline, forever
from aibemu.errors import Expired
from aibemu.interruptible import Interruptible
from aibemu.records import parse_json
from aibemu_drivers.libvirt import library
from aibemu_drivers.libvirt.addresses import Address, Kind
from aibemu_drivers.libvirt.failures import NO_DOMAIN, lost, not_reached, translated

T = TypeVar("T")

# Seconds for one call. Milliseconds as a rule; libvirt's first one asks each QEMU of the host what it can: 4 to 18.
CALL_BOUND = 120.0
# Seconds between two questions whether the daemon is there, and how many may stay without an answer.
ALIVE_EVERY, ALIVE_MISSED = 5, 3


class Watcher(Protocol):
    """Hears what happens to one machine, in a thread of libvirt's: it must not ask libvirt anything there."""

    @property
    def uuid(self) -> str: ...

    def heard(self, event: Mapping[str, Any]) -> None:
        """QEMU said something; in the form of its own monitor."""
        ...

    def ended(self) -> None:
        """The machine is off."""
        ...

    def lost(self) -> None:
        """Nothing more will be heard: the connection is lost."""
        ...


def connection_to(address: Address) -> Connection:
    """A connection of the caller's own; the process's one where libvirt is in this very process."""
    return _embedded(address) if address.kind is Kind.EMBED else Connection(address)


@cache  # each opening registers libvirt's driver once more, and there is room for about thirty in a process
def _embedded(address: Address) -> Connection:
    return Connection(address)


class Connection:
    """To the libvirt at `address`. Can be used from any thread."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._opening = threading.Lock()
        self._open: Any = None
        self._watchers: set[Watcher] = set()

    def call(self, work: Callable[[Any], T], *, seconds: float = CALL_BOUND, deadline: Deadline | None = None) -> T:
        """What `work` gives, called with the `libvirt.virConnect`.

        `Refused` with libvirt's words and number, `Lost` when the daemon is gone or does not answer in time,
        `HostNotReady` when it cannot be reached at all; and what `deadline` raises at the build's end.
        """
        thread = Interruptible(deadline or forever(), name=f"libvirt {self.address.uri}")
        try:
            return thread.call(lambda: self._asked(work), seconds=seconds)
        except Expired:
            raise lost(self.address, f"no answer within {seconds:.0f} s") from None
        finally:
            thread.end()

    def domain(self, uuid: str, *, deadline: Deadline | None = None) -> Any:
        """The `libvirt.virDomain` of this UUID, or None."""
        return self.call(lambda connection: _looked_up(connection, uuid), deadline=deadline)

    def watch(self, watcher: Watcher) -> None:
        """From the next call on, tell it what happens to its machine."""
        self._watchers.add(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell it nothing more."""
        self._watchers.discard(watcher)

    def _asked(self, work: Callable[[Any], T]) -> T:
        connection = self._opened()
        from libvirt import libvirtError  # it is there by now

        try:
            return work(connection)
        except libvirtError as error:
            raise translated(error, self.address) from error

    def _opened(self) -> Any:
        virt = library.load()
        with self._opening:
            if self._open is not None and self._open.isAlive():
                return self._open
            try:
                connection = virt.open(self.address.uri)
                connection.getVersion()  # the first that really asks something
            except virt.libvirtError as error:
                if self._open is not None:
                    raise lost(self.address, str(error)) from error
                raise not_reached(error, self.address) from error
            # Once for all machines: of several registrations for one each, libvirt's client tells the daemon the first.
            connection.domainEventRegisterAny(None, virt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._changed, None)
            library.load_qemu().qemuMonitorEventRegister(connection, None, None, self._said, None)
            with contextlib.suppress(virt.libvirtError):  # where there is no daemon there is none to be lost
                connection.registerCloseCallback(self._lost, None)
                connection.setKeepAlive(ALIVE_EVERY, ALIVE_MISSED)
            self._open = connection
            return connection

    def _watching(self, domain: Any) -> list[Watcher]:
        return [watcher for watcher in tuple(self._watchers) if watcher.uuid == domain.UUIDString()]

    def _changed(self, _: Any, domain: Any, event: int, __: int, ___: object) -> None:
        if event == library.load().VIR_DOMAIN_EVENT_STOPPED:
            for watcher in self._watching(domain):
                watcher.ended()

    def _said(
        self, _: Any, domain: Any, event: str, seconds: int, micros: int, details: str | None, __: object
    ) -> None:  # fmt: skip
        for watcher in self._watching(domain):
            data = parse_json(details) if details else {}
            watcher.heard(
                {"event": event, "data": data, "timestamp": {"seconds": seconds, "microseconds": micros}}
            )  # fmt: skip

    def _lost(self, _: Any, __: int, ___: object) -> None:
        for watcher in tuple(self._watchers):
            watcher.lost()


def _looked_up(connection: Any, uuid: str) -> Any:
    from libvirt import libvirtError

    try:
        return connection.lookupByUUIDString(uuid)
    except libvirtError as error:
        if error.get_error_code() == NO_DOMAIN:
            return None
        raise
