"""Which CD a guest finds at its first boot: Azure's provisioning DVD, a NoCloud seed, or both when it is not known.

With both, the guest's own configuration decides: cloud-init's default list has NoCloud before Azure, and an image for
Azure lists only that.
"""

from __future__ import annotations

from pathlib import Path

from aibemu.fabric.identity import Identity
from aibemu.fabric.vm import VirtualMachine
from aibemu.images import Provisioning
from aibemu.systems.linux.dvd import write_dvd
from aibemu.systems.linux.seed import write_seed


def write_discs(folder: Path, provisioning: Provisioning, identity: Identity, vm: VirtualMachine) -> tuple[Path, ...]:
    """Write them; Azure's is the first, for agents look at /dev/sr0 before all else."""
    discs = []
    if provisioning.for_azure:
        discs.append(folder / "provisioning.iso")
        write_dvd(discs[-1], vm)
    if provisioning is not Provisioning.AZURE:
        discs.append(folder / "seed.iso")
        write_seed(discs[-1], identity, vm.public_keys[0])
    return tuple(discs)
