"""What a system that freezes its guests gives and takes: the state of a guest, and going on from it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from aibemu.clock import Clock, Deadline
    from aibemu.communicators import Communicator, Credentials
    from aibemu.fabric.identity import Identity
    from aibemu.systems import Ready
    from aibemu.systems.starting import StartingMachine


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """What a machine that was restored from a layer still has of the run that made it."""

    # What `GuestFreezing.state` gave then.
    state: Mapping[str, Any]
    # Who the guest was.
    identity: Identity
    # When it was frozen.
    made: datetime
    # This run's names for what `state` was given `words` of.
    words: Mapping[str, str]
    # Where fresh entropy for the guest comes from.
    rng: random.Random


class GuestFreezing(Protocol):
    """Freezing a guest's memory and going on from it, as the guest notices it."""

    def state(
        self, communicator: Communicator, credentials: Credentials, words: Mapping[str, str], deadline: Deadline
    ) -> Mapping[str, Any]:
        """What must be known to log in to the guest after it is restored: JSON values, opaque to the layer store, which
        keeps them secret. words: names of this run that the guest may have written down, by what they are.

        Asked just before the guest is frozen. OSError when a secret cannot be read.
        """
        ...

    def restore(self, machine: StartingMachine, before: Restoration, bound: Deadline) -> Ready:
        """Make the restored guest this run's: its clock, entropy, name, and who may log in. `FrozenRefused` when
        `before` is no good, other `ProvisionFailed` and OSError when the guest does not do it."""
        ...

    def set_clock(self, communicator: Communicator, clock: Clock, deadline: Deadline) -> None:
        """Tell a guest that stood still for seconds what time it is; it need not succeed."""
        ...
