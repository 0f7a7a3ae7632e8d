"""Who a machine is: a fresh name, user, VM id and MAC address for each boot of an image.

A fresh VM id, which SMBIOS has too, makes cloud-init configure the guest again (facts: guest-platform 1.1); the
computer name has the form that AIB's Packer gives its build machines.
"""

from __future__ import annotations

import random
import string
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    hostname: str
    user: str
    vm_id: UUID
    mac: str


def fresh_identity(user: str, rng: random.Random) -> Identity:
    """A new identity: host name `pkrvm` and ten characters, Azure's MAC prefix, a random (version 4) UUID."""
    letters = string.ascii_lowercase + string.digits
    return Identity(
        hostname="pkrvm" + "".join(rng.choice(letters) for _ in range(10)),
        user=user,
        vm_id=UUID(int=rng.getrandbits(128), version=4),
        mac="00:0d:3a:" + ":".join(f"{rng.randrange(256):02x}" for _ in range(3)),
    )
