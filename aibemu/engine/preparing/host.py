"""What this host has to give to a machine."""

from __future__ import annotations

from aibemu.plan.planner import Host

# A guest may have at most this share of the host's memory; the rest is for the host and a second build.
MEMORY_SHARE = 0.5


def shape_host(memory_mib: int, cpus: int, memory_cap_mib: int) -> Host:
    """What a host with so much memory in all gives one machine: the cap, or where there is none (0) a share.

    The same whatever is free and whatever else runs: a machine of another size could not start from the layers that
    earlier ones left. Whether there is room for it now is `aibemu.runs.admission`'s question.
    """
    return Host(cpus=cpus, memory_mib=memory_cap_mib or _step_below(int(memory_mib * MEMORY_SHARE)))


def _step_below(mib: int) -> int:
    """The next smaller of 512, 768, 1024, 1536, 2048...: what the kernel keeps of a host's memory for itself changes
    with its version, and a machine of another size cannot start from this one's layers."""
    power = 1 << max(0, mib.bit_length() - 1)
    return power + power // 2 if mib >= power + power // 2 else power
