"""Pictures of the screen of a machine that boots, where its console says too little: they show what it waits for."""

from __future__ import annotations

import contextlib

from aibemu.engine.services import Services
from aibemu.errors import AibemuError
from aibemu.files import make_folder, remove
from aibemu.hypervisor import Machine

# Seconds between two; and how many are kept, the newest.
EVERY, MOST = 120.0, 30


class Pictures:
    """Of one machine, called at each look at it. They are kept with the run: `console/ROLE-NUMBER.png`."""

    def __init__(self, services: Services, machine: Machine, role: str) -> None:
        self._services, self._machine, self._role = services, machine, role
        self._last = services.clock.monotonic()
        self._count = 0

    def __call__(self) -> None:
        now = self._services.clock.monotonic()
        if now - self._last < EVERY:
            return
        self._last = now
        folder = self._services.run.console
        # Nobody waits for a picture: a full disk, or a screen that is not there, ends no boot.
        with contextlib.suppress(OSError, AibemuError):
            make_folder(folder)
            if self._machine.screenshot(folder / f"{self._role}-{self._count + 1:03}.png"):
                self._count += 1
                remove(folder / f"{self._role}-{self._count - MOST:03}.png")
