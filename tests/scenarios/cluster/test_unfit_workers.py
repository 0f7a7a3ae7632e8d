"""Clusters that cannot build, each with its sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.cluster.connecting import Where, connected
from aibemu.errors import BuildCancelled, HostNotReady, UsageError
from tests.scenarios.cluster.clients import Client
from tests.scenarios.cluster.processes import PRELOAD, Processes

OTHER = str(Path(__file__).parent / "other_version.py")


def refusal(address: str) -> HostNotReady:
    deadline = Deadline(clock=SystemClock())
    with (
        pytest.raises(HostNotReady) as found,
        connected(Where(scheduler=address), deadline=deadline, warn=lambda text: None),
    ):
        raise AssertionError("it was taken")
    return found.value


def test_workers_that_cannot_be_used_are_named_with_the_reason(
    processes: Processes, make_client: Callable[[str], Client]
) -> None:
    error = refusal(processes.address)
    assert "has no worker" in error.message and "--preload aibemu.cluster.worker" in error.commands[0]
    processes.start_worker("plain", preload=())
    processes.start_worker("old", preload=(OTHER, PRELOAD))
    error = refusal(processes.address)
    assert "no worker of the cluster" in error.message and "has this aibemu" in error.message
    assert sorted(error.details) == [
        "old: it has aibemu 0.0.1, and here is 0.1.0", "plain: it was started without --preload aibemu.cluster.worker",
    ]  # fmt: skip
    # One that fits: the others are passed over, with a warning; one without memory is no place for a machine.
    processes.start_worker("small", environment={"AIBEMU_MEMORY_RESERVE_MIB": "99999999"})
    client = make_client(processes.address)
    report = client.begin(client.template("well")).wait()
    assert isinstance(report.error, HostNotReady)
    assert "no worker of the cluster has room for the build: it needs 1 CPUs, " in report.error.message
    assert any(detail.startswith("small has ") for detail in report.error.details)
    assert sorted(text.split()[2] for text in client.warnings) == ["old", "plain"]
    assert client.begin(client.template("dry", driver="dryrun")).wait().summary.state == "DryRun"


def test_a_scheduler_that_is_not_there_is_said_soon() -> None:
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in refusal("tcp://127.0.0.1:9").message


def test_a_cancel_ends_the_wait_for_a_scheduler() -> None:
    cancel = CancelToken()
    cancel.cancel("enough")
    deadline = Deadline(clock=SystemClock(), cancel=cancel)
    with (
        pytest.raises(BuildCancelled),
        connected(Where(scheduler="tcp://127.0.0.1:9"), deadline=deadline, warn=lambda text: None),
    ):
        raise AssertionError("it was taken")


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (Where(), "two ways to name a cluster"),
        (Where(scheduler="tcp://a:1", hosts=("a",)), "two ways to name a cluster"),
        (Where(scheduler="lab1:8786"), "is not the address of a Dask scheduler"),
        (Where(scheduler="tls://a:1", tls=Path("/nonexistent")), "ca.pem, cert.pem, key.pem is missing"),
        (Where(scheduler="tls://a:1"), "takes a certificate"),
    ],
)
def test_what_names_no_cluster_is_a_usage_error(where: Where, says: str) -> None:
    with (
        pytest.raises(UsageError, match=says),
        connected(where, deadline=Deadline(clock=SystemClock()), warn=lambda text: None),
    ):
        raise AssertionError("it was taken")
