"""A machine that was frozen, as files: what a driver makes of one machine, and starts others from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aibemu.errors import ProvisionFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """A machine as it was at one moment. The files are never changed again; any number of machines may start from them.

    disks: qcow2 overlays, oldest first. The first lies on the image; each other one names the one before it as its
    backing file, by the file's name alone, so that a chain works in every folder that holds all of it. memory: what the
    hypervisor wrote of memory and devices; only the same hypervisor with the same hardware can read it. None: the disk
    is as it was between the guest's shutdown and its next boot, and a machine that starts from it boots.
    """

    disks: tuple[Path, ...]
    memory: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """All without which no machine starts from it."""
        return (*self.disks, self.memory) if self.memory is not None else self.disks


class FrozenRefused(ProvisionFailed):
    """The hypervisor came up, read what was frozen, and cannot go on from it: there is no use in trying it again."""
