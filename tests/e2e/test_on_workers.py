"""Two templates in one call, built by real machines on the workers of a cluster; one worker is lost in the middle.

Both start from the layer of the provisioned machine that the workers' homes have: how a machine starts is not the
subject, nor is what the cluster does with dry runs (tests/scenarios/cluster).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import forever
from aibemu.disks.guestfs import GuestFiles
from tests.e2e.lab import (
    MEMORY_MIB,
    QUICK,
    WARM,
    Base,
    Build,
    aibemu,
    answer,
    fresh_home,
    left_over,
    machine_processes,
    read_events,
    until,
    write_template,
)  # fmt: skip
from tests.scenarios.cluster.processes import Processes

pytestmark = pytest.mark.vm


@pytest.fixture
def cluster(tmp_path: Path, warm_base: Base) -> Iterator[Processes]:
    """Two workers, each with room for one build at a time."""
    (tmp_path / "cluster").mkdir()
    found = Processes(folder=tmp_path / "cluster")
    own = {"AIBEMU_MEMORY_CAP_MIB": str(MEMORY_MIB)}
    try:
        found.start_scheduler()
        for name in ("one", "two"):
            fresh_home(found.folder / name, warm_base)
            found.start_worker(name, environment=own, threads=1)
        yield found
    finally:
        found.close()


def steps(name: str) -> list[dict[str, Any]]:
    return [
        {"type": "Shell", "name": "Marks", "inline": [f"echo {name} | sudo tee /etc/made-by", "uname -s"]},
        # A worker is killed here; whatever it has done by then must not be in any image.
        {"type": "Shell", "name": "Waits", "inline": ["sleep 5", QUICK]},
    ]


def test_two_real_builds_end_although_a_worker_is_lost(cluster: Processes, base: Base, tmp_path: Path) -> None:
    home = fresh_home(tmp_path / "home", base)
    paths = [write_template(tmp_path / "work", name, customize=steps(name)) for name in ("web", "db")]
    build = Build(home, [*paths, *WARM, "--scheduler", cluster.address], tmp_path / "build")
    try:
        until(lambda: all(in_last_step(record) for record in records(home, build, 2)), "not both came to the last step")
        own = cluster.workers["one"].home.runs.parent
        for worker in cluster.workers.values():
            assert machine_processes(worker.home.runs.parent) == {"QEMU", "platform"}
        cluster.workers["one"].kill()
        assert build.wait() == 0, build.stderr
    finally:
        build.close()
    assert "2 templates: 2 Succeeded" in build.stdout
    told = [str(event["message"]) for record in records(home, build, 2) for event in record if "message" in event]
    assert told.count("the worker one was lost: the build starts again on two") == 1
    assert len([text for text in told if text.startswith("built on two,")]) == 2
    for name in ("web", "db"):
        check_image(home, name, tmp_path)
    # The next command there cleans up, as after a killed `aibemu run`.
    assert aibemu(own, "status").returncode == 0
    assert left_over(own / "runs", cluster.workers["two"].home.runs, home) == []


def records(home: Path, build: Build, number: int) -> list[list[dict[str, Any]]]:
    """The events of this many runs, once there are as many."""
    found: list[list[dict[str, Any]]] = []

    def there() -> bool:
        assert build.process.poll() in (None, 0), build.stdout + build.stderr
        runs = home / "runs"
        found[:] = [read_events(path) for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []
        return len(found) == number

    until(there, f"there are not {number} runs")
    return found


def in_last_step(events: list[dict[str, Any]]) -> bool:
    return any(event["kind"] == "step.started" and event.get("step") == "c2" for event in events)


def check_image(home: Path, name: str, folder: Path) -> None:
    """It is in the local cloud here, whole, and what the guest wrote is in it."""
    (run,) = [run["id"] for run in answer(home, "status")["runs"] if run["template"] == name]
    (output,) = answer(home, "outputs", run)["outputs"]
    (file,) = output["files"]
    path = Path(file["path"])
    with path.open("rb") as disk:
        assert hashlib.file_digest(disk, "sha256").hexdigest() == file["image"]
    files = GuestFiles.open_disk(path, "qcow2", folder / f"view-{name}", forever())
    assert files is not None
    with files:
        assert files.read("/etc/made-by") == f"{name}\n"
    log = (home / "runs" / run / "customization.log").read_text(encoding="utf-8")
    assert "azure-arm: Linux" in log
