"""Who a machine is: a fresh name, user, UUID and MAC address for each boot of an image.

A fresh SMBIOS UUID makes cloud-init configure the guest again (facts: guest-platform 1.1); the computer name has the
form that AIB's Packer gives its build machines.
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
    uuid: UUID
    mac: str


def fresh_identity(user: str, rng: random.Random) -> Identity:
    """A new identity: host name `pkrvm` and ten characters, QEMU's own MAC prefix, a random (version 4) UUID."""
    letters = string.ascii_lowercase + string.digits
    return Identity(
        hostname="pkrvm" + "".join(rng.choice(letters) for _ in range(10)),
        user=user,
        uuid=UUID(int=rng.getrandbits(128), version=4),
        mac="52:54:00:" + ":".join(f"{rng.randrange(256):02x}" for _ in range(3)),
    )
