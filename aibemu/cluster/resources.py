"""What workers have and builds need, as Dask's resources: a build goes where all that it needs is free.

The version is a resource, too: a build goes to workers with this aibemu only, also to those that come later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aibemu import __version__
from aibemu.engine.services import Services
from aibemu.errors import HostNotReady
from aibemu.plan.model import Plan
from aibemu.template.publishers import System

CPUS, MEMORY, KVM = "CPUS", "MEMORY_MIB", "KVM"
# What one machine may have there. Nobody takes it: it is told in this way.
MACHINE = "MACHINE_MIB"
VERSION = f"aibemu-{__version__}"
# Of what does not get less by being used.
_PLENTY = 1_000_000


def offered(facts: Mapping[str, Any]) -> dict[str, float]:
    """The resources of a worker (`BuildHost.facts`)."""
    found = {
        CPUS: facts["cpus"], MEMORY: facts["memory_mib"], MACHINE: facts["machine_mib"], VERSION: _PLENTY,
    }  # fmt: skip
    return {**found, KVM: _PLENTY} if facts["kvm"] else found


def needed(services: Services, plan: Plan) -> dict[str, float]:
    """The resources that a build takes. A dry run makes no machine."""
    can = services.driver.capabilities()
    found: dict[str, float] = {VERSION: 1}
    if can.dry:
        return found
    found |= {CPUS: plan.machine.cpus, MEMORY: plan.machine.memory_mib}
    slow = services.options.guest.slow or services.settings.slow
    if can.boots_guests and plan.source.image.info.os_type == System.WINDOWS and not slow:
        found[KVM] = 1
    return found


def check_room(need: Mapping[str, float], workers: Mapping[str, Mapping[str, float]]) -> None:
    """`HostNotReady` when no worker could ever take it. workers: name -> all its resources."""
    if any(_fits(need, has) for has in workers.values()):
        return
    words = listed(need)
    raise HostNotReady(
        f"no worker of the cluster has room for the build: it needs {words}",
        details=[f"{name} has {listed(has)}" for name, has in workers.items()],
        hint="add a worker that has it, or choose a smaller vmSize",
    )


def listed(resources: Mapping[str, float]) -> str:
    """For people."""
    words: Sequence[str] = [
        f"{int(resources.get(CPUS, 0))} CPUs", f"{int(resources.get(MEMORY, 0))} MiB of memory",
        *(["KVM"] if KVM in resources else []), *(name for name in sorted(resources) if name.startswith("aibemu-")),
    ]  # fmt: skip
    return ", ".join(words)


def _fits(need: Mapping[str, float], has: Mapping[str, float]) -> bool:
    return all(has.get(name, 0) >= quantity for name, quantity in need.items())
