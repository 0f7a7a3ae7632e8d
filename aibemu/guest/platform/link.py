"""A guest's wire: four unix datagram sockets, two of the hypervisor's and two of the platform's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LONGEST_NAME = "n.q"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Paths. The hypervisor binds `nic` (its end of the guest's NIC) and `uplink` (that of its user network); the
    platform binds `to_nic` and `to_uplink`, and the hypervisor sends there.
    """

    nic: Path
    to_nic: Path
    uplink: Path
    to_uplink: Path

    @classmethod
    def below(cls, folder: Path) -> Link:
        return cls(nic=folder / "n.q", to_nic=folder / "n.p", uplink=folder / "u.q", to_uplink=folder / "u.p")
