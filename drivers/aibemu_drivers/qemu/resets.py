"""Putting a machine's disk aside while the guest restarts: after its shutdown, before its firmware runs again.

QEMU is told to stop at the guest's own reset instead of doing it (`set-action`, since QEMU 6.0). Nothing runs then and
nothing is in memory that the disk lacks, so the disk alone is a whole machine. A new overlay is put over it, and QEMU
does the reset after all. The time between is what the caller takes to look, and some hundredths of a second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.errors import AibemuError, Expired, FreezeFailed, ProvisionFailed
from aibemu.files import remove
from aibemu_drivers.qemu.disks import Disks
from aibemu_drivers.qemu.freezing import MachineLost, go_on, proceed
from aibemu_drivers.qemu.monitor import Monitor, NoAnswer

# QEMU's name for the state of a machine that stands at its reset, or that has gone off and was not allowed to end.
STANDS = "shutdown"
# Seconds for QEMU to accept to stop at a reset.
CATCH_BOUND = 60.0


class SavingAtReset:
    """One wait for one reset; see `aibemu.hypervisor.Machine.saving_at_reset`.

    fresh: an empty overlay on the one that is written. unless_it_ends: inside, it is no failure that QEMU does not
    answer because it ends.
    """

    def __init__(
        self, monitor: Monitor, disks: Disks, fresh: Path, deadline: Deadline,
        unless_it_ends: Callable[[], AbstractContextManager[None]],
    ) -> None:  # fmt: skip
        self._monitor, self._disks, self._fresh, self._deadline = monitor, disks, fresh, deadline
        self._unless_it_ends = unless_it_ends
        # Whether QEMU would stop at a reset.
        self._catches = False
        # Whether the disk was put aside.
        self.done = False

    def catch(self) -> None:
        """Have QEMU stop at the next reset. `FreezeFailed` when it will not."""
        self._monitor.caught.clear()
        self._catches = True  # which also counts when it is answered too late
        try:
            _act(self._monitor, self._deadline.within(CATCH_BOUND, scaled=False), reboot="shutdown", shutdown="pause")
        except (ProvisionFailed, Expired) as error:
            # Refused: QEMU does as ever. Without an answer it may yet do as it was told.
            self._catches = isinstance(error, NoAnswer | Expired)
            raise _failed(error) from error

    def look(self) -> bool:
        """Where the machine stands at its reset: put the disk aside, and let it boot on; True then."""
        if not self._catches:
            return False
        if self._monitor.went_off.is_set():
            self.leave()
            return False
        if not self._monitor.caught.is_set():
            return False
        failure: AibemuError | None = None
        try:
            self._disks.write_to(self._fresh, self._monitor, self._deadline)
            self.done = True
        except MachineLost:
            raise
        except (ProvisionFailed, Expired) as error:
            failure = error
        finally:
            self._boot_on()
        if failure is not None:
            raise _failed(failure) from failure
        return True

    def leave(self) -> None:
        """Resets are resets again, and the machine does not stand still."""
        try:
            if self._catches:
                self._catches = False
                with self._unless_it_ends():
                    go_on(self._monitor, self._deadline, self._let_go)
        finally:
            if not self.done:
                remove(self._fresh)

    def _boot_on(self) -> None:
        self._catches = False
        go_on(self._monitor, self._deadline, _reset)

    def _let_go(self, monitor: Monitor, bound: Deadline) -> None:
        """In this order: a reset that is under way must find that it is to be stopped at, or QEMU would end of it."""
        try:
            _act(monitor, bound, reboot="reset")
            if not self._end_stand(monitor, bound):
                _act(monitor, bound, shutdown="poweroff")
                self._end_stand(monitor, bound)
        except MachineLost:
            raise
        except ProvisionFailed as error:
            raise MachineLost(error.message, details=error.details) from error

    def _end_stand(self, monitor: Monitor, bound: Deadline) -> bool:
        """End QEMU where the machine has gone off, boot it where it stands at a reset; whether it was either."""
        if monitor.execute("query-status", deadline=bound).get("status") != STANDS:
            return False
        if monitor.went_off.is_set():
            with contextlib.suppress(ProvisionFailed):  # it may hang up before it has answered
                monitor.execute("quit", deadline=bound)
        else:
            _reset(monitor, bound)
        return True


def _reset(monitor: Monitor, bound: Deadline) -> None:
    try:
        _act(monitor, bound, reboot="reset", shutdown="poweroff")
        monitor.execute("system_reset", deadline=bound)
    except ProvisionFailed as error:
        raise MachineLost(error.message, details=error.details) from error
    proceed(monitor, bound)


def _act(monitor: Monitor, bound: Deadline, **actions: str) -> None:
    monitor.execute("set-action", actions, deadline=bound)


def _failed(error: AibemuError) -> FreezeFailed:
    return FreezeFailed(
        f"the machine's disk was not put aside while it restarted: {error.message}", details=error.details
    )
