"""What people are told of a file that takes long to reach a guest, because it is sent piece by piece."""

from __future__ import annotations

from aibemu.communicators.silence import Growing
from aibemu.engine.services import Services
from aibemu.events import Kind

# Seconds until people are told of a file, then whenever twice as long has passed.
FIRST = 10.0
MIB = 1024 * 1024


class Transfers:
    """An `aibemu.communicators.factory.Watch.on_transfer`. May be called from any thread, one at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._file = ""
        self._began = 0.0
        self._growing = Growing(FIRST)

    def __call__(self, destination: str, sent: int, size: int) -> None:
        now = self._services.clock.monotonic()
        if destination != self._file or sent <= 0:
            self._file, self._began, self._growing = destination, now, Growing(FIRST)
        if sent >= size:
            self._file = ""
        elif self._growing.due(now - self._began):
            self._services.emit(
                Kind.NOTICE, level="note",
                message=f"{destination}: {sent / MIB:.1f} of {size / MIB:.1f} MiB sent to the guest",
            )  # fmt: skip
