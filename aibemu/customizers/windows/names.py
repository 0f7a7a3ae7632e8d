"""What the files of a step are called in the guest, as Packer calls them (facts: provisioners 1.2)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from uuid import UUID

FOLDER = "c:/Windows/Temp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of one step; each has an id of its own in it."""

    script: str
    # Sets the environment variables.
    environment: str
    # Runs the step's command as a scheduled task.
    elevated: str
    # The task; its log is `%SYSTEMROOT%/Temp/NAME.out`.
    task: str

    @property
    def log(self) -> str:
        return f"%SYSTEMROOT%/Temp/{self.task}.out"


def fresh_names(rng: random.Random) -> Names:
    """Names that no other step has."""
    return Names(
        script=f"{FOLDER}/script-{fresh_id(rng)}.ps1", environment=f"{FOLDER}/packer-ps-env-vars-{fresh_id(rng)}.ps1",
        elevated=f"C:/Windows/Temp/packer-elevated-shell-{fresh_id(rng)}.ps1", task=f"packer-{fresh_id(rng)}",
    )  # fmt: skip


def fresh_id(rng: random.Random) -> str:
    """A UUID."""
    return str(UUID(int=rng.getrandbits(128), version=4))
