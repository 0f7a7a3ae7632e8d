"""A guest's wire: two unix sockets of the platform's, to which the hypervisor connects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LONGEST_NAME = "uplink"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Paths: `nic` for the guest's end, `uplink` for the user network's."""

    nic: Path
    uplink: Path

    @classmethod
    def below(cls, folder: Path) -> Link:
        return cls(nic=folder / "nic", uplink=folder / "uplink")
