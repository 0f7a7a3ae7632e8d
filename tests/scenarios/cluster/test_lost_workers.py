"""Six templates on two workers, one of which is killed in the middle; and what else may be lost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aibemu.cluster.connecting import ClusterFailed
from aibemu.events import Kind
from tests.scenarios.cluster.clients import Client, in_step, worker_of
from tests.scenarios.cluster.processes import Processes, until

SLOW = "- {match: '#two#', delay: 600}"
GALLERY = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.Compute"
SHARED = {
    "type": "SharedImage", "galleryImageId": f"{GALLERY}/galleries/all/images/web", "runOutputName": "image",
    "replicationRegions": ["westeurope"],
}  # fmt: skip
VHD = {"type": "VHD", "runOutputName": "image"}


def test_all_of_six_builds_end_though_a_worker_is_killed(
    processes: Processes, make_client: Callable[[str], Client]
) -> None:
    for name in ("one", "two"):
        processes.start_worker(name)
    client = make_client(processes.address)
    slow = client.begin(client.template("slow", guest=SLOW, distribute=[SHARED]))
    others = [
        client.begin(client.template("shared", distribute=[SHARED])),
        client.begin(client.template("vhd", distribute=[VHD])),
        client.begin(client.template("managed")),
        client.begin(client.template("both", distribute=[{**VHD, "runOutputName": "disk"}, SHARED])),
        client.begin(client.template("dry", driver="dryrun")),
    ]  # fmt: skip
    in_step(slow.run, "c2")
    (client.folder / "slow.yaml").write_text("[]")  # the next time it is fast
    lost = worker_of(slow.run)
    processes.workers[lost].kill()
    reports = [handle.wait() for handle in (slow, *others)]
    states = [report.summary.state for report in reports]
    assert states == ["Succeeded"] * 5 + ["DryRun"], [str(report.error) for report in reports]
    assert slow.wait().summary.attempts == 2
    assert any(f"the worker {lost} was lost" in str(notice) for notice in slow.wait().summary.notices)
    # Nothing twice, nothing half, and each output is what its name says.
    versions = [json.loads(path.read_text()) for path in client.home.cloud.rglob("versions/*/resource.json")]
    assert sorted(version["name"] for version in versions) == ["1.0.0", "1.0.1", "1.0.2"]
    assert {version["properties"]["provisioningState"] for version in versions} == {"Succeeded"}
    for version in versions:
        assert digest_of(client.home.images / "blobs" / f"{version['aibemu']['digest']}.qcow2") == (
            version["aibemu"]["digest"]
        )  # fmt: skip
    paths = [Path(path) for report in reports for one in report.summary.outputs for path in one.paths]
    assert len(paths) == 6 and all(path.is_file() for path in paths)
    assert not [path for path in client.home.runs.parent.rglob("*") if path.name.endswith((".partial", ".incoming"))]
    for name in ("one", "two"):
        assert not list(processes.workers[name].home.cloud.rglob("versions")), "a worker has published something"


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_build_that_loses_two_workers_fails_and_says_so(
    processes: Processes, make_client: Callable[[str], Client]
) -> None:
    first = processes.start_worker("first")
    client = make_client(processes.address)
    handle = client.begin(client.template("slow", guest=SLOW))
    in_step(handle.run, "c2")
    second = processes.start_worker("second")
    first.kill()
    until(lambda: worker_of(handle.run) == "second", "the second start")
    processes.start_worker("third")
    second.kill()
    report = handle.wait()
    assert isinstance(report.error, ClusterFailed)
    assert "the build was lost with its worker 2 times, the last time with second" in report.error.message
    assert not list(client.home.cloud.rglob("images/*"))


def test_a_scheduler_that_is_lost_ends_the_build_here_and_on_the_worker(
    processes: Processes, make_client: Callable[[str], Client]
) -> None:
    worker = processes.start_worker("one")
    client = make_client(processes.address)
    handle = client.begin(client.template("slow", guest=SLOW))
    in_step(handle.run, "c2")
    assert processes.scheduler is not None
    processes.scheduler.kill()
    report = handle.wait()
    assert isinstance(report.error, ClusterFailed)
    assert "the connection to the scheduler" in report.error.message
    until(lambda: _ends(worker.home.runs) == ["Canceled"], "the end of the build on the worker")


def _ends(runs: Path) -> list[Any]:
    from aibemu.runs.store import RunStore

    return [
        event.fields["state"] for run in RunStore(runs).runs() for event in run.events()
        if event.kind is Kind.RUN_FINISHED
    ]  # fmt: skip
