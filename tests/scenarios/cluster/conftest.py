"""Clusters for tests: one with two workers for those that leave it whole, and pieces for those that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from aibemu.clock import SystemClock
from aibemu.engine.api import Installation
from aibemu.paths import Home
from aibemu.settings import Settings
from tests.scenarios.cluster.clients import Client
from tests.scenarios.cluster.processes import Processes


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """A scheduler without workers."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    found = Processes(folder=folder)
    try:
        found.start_scheduler()
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """A scheduler and two workers, for all tests of a module."""
    found = Processes(folder=tmp_path_factory.mktemp("cluster"))
    try:
        found.start_scheduler()
        for name in ("one", "two"):
            found.start_worker(name)
        yield found
    finally:
        found.close()


@pytest.fixture
def make_client(tmp_path: Path, scenario_home: Home) -> Iterator[Callable[[str], Client]]:
    """Makes the client of the scheduler at an address."""
    with ExitStack() as at_the_end:
        (tmp_path / "work").mkdir(exist_ok=True)
        installation = Installation(home=scenario_home, settings=Settings(), clock=SystemClock())

        def make(address: str) -> Client:
            client = Client(installation=installation, folder=tmp_path / "work", address=address)
            at_the_end.callback(client.close)
            return client

        yield make
