"""What makes a Dask worker one of aibemu's: `dask worker tcp://... --preload aibemu.cluster.worker`.

It keeps everything in the home of its user, or in $AIBEMU_HOME, as `aibemu run` does there.
"""

from __future__ import annotations

import asyncio
from socket import gethostname
from typing import Any

from distributed import WorkerPlugin

from aibemu.clock import SystemClock
from aibemu.cluster.calls import PLUGIN
from aibemu.cluster.host import BuildHost
from aibemu.cluster.resources import offered
from aibemu.paths import Home
from aibemu.runs.leftovers import find_suspects
from aibemu.runs.sweep import sweep


class HostPlugin(WorkerPlugin):  # type: ignore[misc]
    """Holds the worker's `BuildHost`."""

    def __init__(self, host: BuildHost, facts: dict[str, Any]) -> None:
        self.host, self.facts = host, facts

    def teardown(self, worker: Any) -> None:
        """The worker ends: its builds end, and clean up."""
        self.host.cancel_all(f"the worker {self.host.name} is ended")


async def dask_setup(worker: Any) -> None:
    """Dask calls it before the worker tells the scheduler of itself."""
    # Those that Dask starts by SSH are only numbered.
    name = worker.name if isinstance(worker.name, str) else f"{gethostname()}-{worker.name}"
    host = await asyncio.to_thread(_host, name)
    facts = await asyncio.to_thread(host.facts)
    await worker.plugin_add(HostPlugin(host, facts), name=PLUGIN)
    for name, quantity in offered(facts).items():
        worker.state.total_resources[name] = worker.state.available_resources[name] = quantity


def _host(name: str) -> BuildHost:
    """After what earlier workers left is cleaned up, as each command of aibemu does."""
    home, clock = Home.discover(), SystemClock()
    if suspects := find_suspects(home):
        for _ in sweep(home, clock, suspects):
            pass
    return BuildHost(home, clock, name)
