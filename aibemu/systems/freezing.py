"""What a system whose guests are saved as layers gives and takes: the state of a guest, and going on from it.

A layer has the guest's memory and disk, or its disk alone, as it was at a restart. Where the driver can do both, memory
is frozen, unless the system wants to be asked for that.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

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
    # Whether it boots, from a layer that is a disk alone.
    boots: bool = False


class GuestFreezing(Protocol):
    """Saving a guest in a layer and going on from it, as the guest notices it."""

    @property
    def asks_for_memory(self) -> bool:
        """Whether memory is frozen only where a person asks for it (`--freeze always`)."""
        ...

    @property
    def keeps_identity(self) -> bool:
        """Whether a guest that goes on keeps its name and its login, which are the layer's: then `credentials` is asked
        for them. Otherwise the run makes its own, and `restore` gives them to the guest."""
        ...

    def state(
        self, communicator: Communicator, credentials: Credentials, words: Mapping[str, str], deadline: Deadline
    ) -> Mapping[str, Any]:
        """What must be known to log in to the guest after it is restored: JSON values, opaque to the layer store, which
        keeps them secret. words: names of this run that the guest may have written down, by what they are.

        Asked just before the guest is frozen. OSError when a secret cannot be read.
        """
        ...

    def credentials(self, folder: Path, user: str, state: Mapping[str, Any]) -> Credentials:
        """Those of a guest that keeps its identity, with their secrets in files of `folder`, which exists.
        `FrozenRefused` when `state` is no good."""
        ...

    def restore(self, machine: StartingMachine, before: Restoration, bound: Deadline) -> Ready:
        """Wait until the guest answers, and make it this run's: its clock, entropy, name, and who may log in, as far as
        it does not keep them. `FrozenRefused` when `before` is no good, other `ProvisionFailed` and OSError when the
        guest does not do it."""
        ...

    def set_clock(self, communicator: Communicator, clock: Clock, deadline: Deadline) -> None:
        """Tell a guest that stood still for seconds what time it is; it need not succeed."""
        ...
