"""Putting a machine's disk aside at the restarts that one step asks for: the last one becomes a layer when the step has
ended well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from aibemu.clock import Deadline
from aibemu.errors import AibemuError, Expired, FreezeFailed
from aibemu.hypervisor import Machine

Look = Callable[[], None]


def no_look() -> None:
    """Nothing is put aside."""


class RestartSaver:
    """Of one step on one machine. give_up: hears why a disk could not be put aside; the restart goes on without."""

    def __init__(self, machine: Machine, give_up: Callable[[AibemuError | OSError], None]) -> None:
        self._machine, self._give_up = machine, give_up
        # The boot that came after the disk was put aside for the last time; "" if it was not at the last restart.
        self.boot_id = ""
        self._saved = False

    @contextmanager
    def during_restart(self, deadline: Deadline) -> Iterator[Look]:
        """Inside, the guest is about to restart. What is given is to be called while its next boot is waited for."""
        self.boot_id, self._saved = "", False
        with ExitStack() as held:
            try:
                saving = held.enter_context(self._machine.saving_at_reset(deadline))
            except (FreezeFailed, Expired, OSError) as error:
                self._give_up(error)
                yield no_look
                return

            def look() -> None:
                try:
                    self._saved = saving() or self._saved
                except (FreezeFailed, Expired, OSError) as error:
                    self._give_up(error)

            yield look

    def restarted(self, boot_id: str) -> None:
        """The guest has come up again."""
        self.boot_id = boot_id if self._saved else ""
