"""What this host has to give to a machine."""

from __future__ import annotations

import os
from pathlib import Path

from aibemu.engine.preparing.options import Continued
from aibemu.plan.planner import Host

# A guest may have at most this share of the free memory; the rest is for the host and a second build.
MEMORY_SHARE = 0.5
_MEMINFO = Path("/proc/meminfo")


def this_host(memory_cap_mib: int, earlier: Continued | None) -> Host:
    """Logical CPUs this process may use; the memory a machine may have: the cap, else a share of what is free.

    Where a run goes on, what makes a machine as large as that of the `earlier` one, as long as there is as much: one of
    another size could not start from its layers.
    """
    with _MEMINFO.open(encoding="ascii") as stream:
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in stream}
    free = sizes["MemAvailable"] // 1024
    share = _step_below(int(free * MEMORY_SHARE))
    # One that takes the place of a machine which still runs needs no more than that.
    if earlier and earlier.machine_mib and (earlier.alive or earlier.machine_mib <= free):
        capped = earlier.machine_mib >= earlier.host_mib
        share = earlier.machine_mib if capped else max(share, earlier.machine_mib)
    return Host(cpus=len(os.sched_getaffinity(0)), memory_mib=memory_cap_mib or share)


def _step_below(mib: int) -> int:
    """The next smaller of 512, 768, 1024, 1536, 2048...: what is free changes all the time, and a machine of another
    size cannot start from this one's layers."""
    power = 1 << max(0, mib.bit_length() - 1)
    return power + power // 2 if mib >= power + power // 2 else power
