"""What a client asks of a worker beside its tasks (Dask's `Client.run`): each finds the worker's `BuildHost`.

They run in the worker's event loop, so what touches a disk goes to a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aibemu.cluster.host import BuildHost

# What the plugin of a worker is called, and a place in `Worker.plugins`.
PLUGIN = "aibemu"


async def call(method: str, *words: Any, dask_worker: Any) -> Any:
    """A method of the worker's `BuildHost`, with the `words`."""
    function: Callable[..., Any] = getattr(dask_worker.plugins[PLUGIN].host, method)
    return await asyncio.to_thread(function, *words)


def build(order: Mapping[str, Any]) -> dict[str, Any]:
    """The task: see `BuildHost.build`."""
    from distributed import get_worker

    worker = get_worker()
    host: BuildHost = worker.plugins[PLUGIN].host
    return host.build(order, lambda message: worker.log_event(order["topic"], {**message, "address": worker.address}))
