"""Which communicator talks to a guest: found by its name in the entry-point group `aibemu.communicators`.

An entry point is a class without arguments, a `Connector`: it knows where the guest's server listens, how to wait for
it, how to log in, and what a person would type. Finding one imports no library that talks over a network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from aibemu import plugins
from aibemu.communicators import Access, Communicator, Refusal

if TYPE_CHECKING:
    from aibemu.clock import Deadline
    from aibemu.communicators.depot import Depot

GROUP = "aibemu.communicators"


def nothing() -> None:
    """What is told to nobody."""


def untold(silence: float, answer: str) -> None:
    """A silence that nobody asks for."""


def borne(refusal: Refusal) -> None:
    """A refusal that ends no wait."""


def unwatched(destination: str, sent: int, size: int) -> None:
    """A file whose way nobody watches."""


def zero() -> int:
    """The generation of a machine whose resets nobody counts."""
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What a communicator asks, and tells, about its machine while it waits."""

    # Raises when the machine is dead.
    alive: Callable[[], None] = nothing
    # How often the machine has been reset or shut down, by the hypervisor. When it changes, the connection is dropped
    # at once: TCP would notice minutes later.
    generation: Callable[[], int] = zero
    # Called once per command that is over while a background process keeps its output open. Only where the server tells
    # of the end of the command before that of its output: over SSH, not over WinRM.
    on_held: Callable[[], None] | None = None
    # Called several times a second while somebody waits for the guest, with the seconds since its last sign of life
    # and what is known of why; with 0.0 while it answers.
    on_silence: Callable[[float, str], None] = untold
    # Called after each refused login. It may raise: who knows more of the machine says when to wait no longer.
    on_refused: Callable[[Refusal], None] = borne
    # Where the guest can fetch files itself; None where it cannot, as on a machine without a platform.
    depot: Depot | None = None
    # Called while a file is sent piece by piece: its place in the guest, the bytes that were sent, and all its bytes.
    on_transfer: Callable[[str, int, int], None] = unwatched


class Connector(Protocol):
    """One way to talk to guests."""

    @property
    def title(self) -> str:
        """What people call it: `SSH`."""
        ...

    @property
    def port(self) -> int:
        """The TCP port of the guest on which its server listens."""
        ...

    def warm_up(self) -> None:
        """Import what `connect` needs: while the machine is made there is time for it. May be called in any thread."""
        ...

    def await_server(self, access: Access, *, deadline: Deadline, alive: Callable[[], None]) -> str:
        """Wait until the guest's server answers, without logging in; how it introduces itself. Raises what `alive` and
        `deadline` raise."""
        ...

    def connect(self, access: Access, *, deadline: Deadline, watch: Watch) -> Communicator:
        """Wait until the server answers and accepts the login. `Expired` says what the guest last answered;
        `LoginHopeless` that waiting is of no use."""
        ...

    def describe(self, access: Access) -> str:
        """What a person types to get in."""
        ...

    def shell_program(self) -> str:
        """The program of this host that opens a shell. `HostNotReady` when it is missing, `UsageError` when there is no
        such thing as a shell."""
        ...

    def shell_command(self, access: Access, program: str, *, terminal: bool, entered: Path) -> list[str]:
        """How `program` is started to open a shell for the person at this terminal, or to run what standard input says.

        It makes the file `entered` once it has logged in.
        """
        ...


def connector(name: str) -> Connector:
    """The one of this name. `NotFoundError` if there is none, `HostNotReady` if it cannot be imported."""
    made: Connector = plugins.load(GROUP, name)()
    return made
