"""What a system may know and ask of a machine that comes up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aibemu.clock import Clock, Deadline
    from aibemu.communicators import Communicator, Credentials
    from aibemu.fabric.identity import Identity


class StartingMachine(Protocol):
    """A machine that comes up, as far as its system may use it; given by the engine."""

    @property
    def clock(self) -> Clock: ...

    @property
    def identity(self) -> Identity:
        """Who the guest is, or is about to be."""
        ...

    @property
    def credentials(self) -> Credentials:
        """Who may log in in this run."""
        ...

    @property
    def folder(self) -> Path:
        """For files of the machine that are this run's and secret; removed with the machine."""
        ...

    @property
    def awaits_first_boot(self) -> bool:
        """Whether the first boot must be over before a step runs (a setting)."""
        ...

    @property
    def boots_guest(self) -> bool:
        """False when a script plays the guest: no operating system runs, and the console says nothing."""
        ...

    def console(self) -> Callable[[], str]:
        """A reader of the serial console: each call gives what is new, the first one all since the start."""
        ...

    def check(self) -> None:
        """Raise `ProvisionFailed` when the machine is lost; to be called while waiting."""
        ...

    def warn(self, message: str) -> None:
        """Tell people."""
        ...

    def await_server(self, bound: Deadline) -> None:
        """Wait until the guest's server answers, without logging in."""
        ...

    def connect(self, bound: Deadline, credentials: Credentials | None = None) -> Communicator:
        """Log in, by `credentials` or this run's own, however often it takes until `bound`; the record says when."""
        ...
