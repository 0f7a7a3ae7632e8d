"""The side of a worker, without Dask: who asks is a function call away, or does not answer any more."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from aibemu.arm.expressions.surroundings import SUBSCRIPTION
from aibemu.clock import SystemClock
from aibemu.cluster.host import BuildHost
from aibemu.cluster.orders import Order, Piece
from aibemu.cluster.relay import BEGUN
from aibemu.engine.preparing.options import BuildOptions, DriverChoice, Sent
from aibemu.errors import NotFoundError
from aibemu.paths import Home
from aibemu.runs.store import RunStore
from aibemu.submission.request import Document, TemplateRequest

PATIENCE = 60  # seconds for what takes no time
TEMPLATE = Path(__file__).parents[2] / "scenarios/cases/gallery-latest/template.json"
MISSING = Piece(kind="file", digest="a" * 64, size=3)


def order(tmp_path: Path, *pieces: Piece) -> dict[str, Any]:
    """A dry run of a template."""
    document = Document(text=TEMPLATE.read_text(), name="gallery-latest.json", base=tmp_path)
    options = BuildOptions(
        template=TemplateRequest(document=document, folder=tmp_path),
        subscription_id=SUBSCRIPTION, resource_group="g", driver=DriverChoice(name="dryrun"), sent=Sent(),
    )  # fmt: skip
    return Order(run="12345678", topic="t", options=options, settings={}, secrets=(), pieces=pieces).to_json()


class Asking:
    """Builds in a thread, and has what was told."""

    def __init__(self, host: BuildHost, value: dict[str, Any]) -> None:
        self.told: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.outcome: dict[str, Any] = {}
        self.thread = threading.Thread(target=self._build, args=(host, value), daemon=True)
        self.thread.start()
        first = self.told.get(timeout=PATIENCE)
        assert first["what"] == BEGUN
        self.attempt = first["attempt"]

    def _build(self, host: BuildHost, value: dict[str, Any]) -> None:
        self.outcome = host.build(value, self.told.put)

    def wait(self) -> dict[str, Any]:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return self.outcome


def make(tmp_path: Path, lease: float = 600.0) -> BuildHost:
    return BuildHost(Home.at(tmp_path / "home"), SystemClock(), "lab1", lease=lease)


def test_a_client_that_is_not_heard_of_leaves_no_build(tmp_path: Path) -> None:
    host = make(tmp_path, lease=0.2)
    outcome = Asking(host, order(tmp_path, MISSING)).wait()
    assert outcome["error"]["code"] == "CANCELLED"
    assert outcome["error"]["message"].startswith("nothing was heard for 0.2 s of the computer that asked")


def test_a_build_begins_when_its_files_are_there(tmp_path: Path) -> None:
    host = make(tmp_path)
    asking = Asking(host, order(tmp_path))
    assert not RunStore(host.home.runs).runs()
    host.go(asking.attempt)
    outcome = asking.wait()
    assert outcome["error"] is None and not outcome["made"]
    assert asking.told.qsize() == outcome["count"] - 1
    (run,) = RunStore(host.home.runs).runs()
    assert run.id == outcome["run"] and run.finished()


def test_an_ended_worker_ends_its_builds(tmp_path: Path) -> None:
    host = make(tmp_path)
    asking = Asking(host, order(tmp_path, MISSING))
    host.cancel_all("the worker lab1 is ended")
    assert asking.wait()["error"]["message"] == "the worker lab1 is ended"
    with pytest.raises(NotFoundError, match="there is no build"):
        host.beat(asking.attempt)


def test_only_files_of_the_order_are_taken(tmp_path: Path) -> None:
    host = make(tmp_path)
    asking = Asking(host, order(tmp_path, MISSING))
    with pytest.raises(NotFoundError, match="the order names no file"):
        host.put(asking.attempt, "b" * 64, 0, b"abc")
    with pytest.raises(NotFoundError, match="there is no finished disk"):
        host.read(asking.attempt, 0)
    host.cancel(asking.attempt, "enough")
    assert asking.wait()["error"]["message"] == "enough"
