"""`aibemu run --scheduler` and `--hosts`, as people type them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aibemu.cli.cluster_options import where_of
from aibemu.clock import Deadline, SystemClock
from aibemu.cluster import connecting
from aibemu.cluster.connecting import Where, connected
from aibemu.errors import HostNotReady, UsageError
from aibemu.events import Kind
from aibemu.paths import Home
from aibemu.runs.store import RunStore
from aibemu.settings import Settings
from tests.scenarios.cluster.clients import worker_of
from tests.scenarios.cluster.processes import PATIENCE, Processes, until

CASE = Path(__file__).parents[1] / "cases/gallery-latest/template.json"
DRY = ("--driver", "dryrun")


def templates(folder: Path, *names: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    for name in names:
        document = json.loads(CASE.read_text())
        resource = document["resources"][0]
        resource["name"] = name
        resource["properties"]["customize"] = [{"type": "Shell", "name": "one", "inline": ["echo #one#"]}]
        (folder / f"{name}.json").write_text(json.dumps(document))
    return [str(folder / f"{name}.json") for name in names]


def start(home: Home, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "aibemu", "run", *words], env={**os.environ, "AIBEMU_HOME": str(home.runs.parent)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(home: Home, *words: str) -> tuple[int, str, str]:
    process = start(home, *words)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def test_one_template_is_built_and_answered_as_here(lasting: Processes, scenario_home: Home, tmp_path: Path) -> None:
    (file,) = templates(tmp_path / "work", "web")
    code, out, err = run(
        scenario_home, file, "--scheduler", lasting.address, "--driver", "scripted", "--output", "json"
    )
    assert code == 0, err
    data = json.loads(out)["data"]
    assert data["lastRunStatus"]["runState"] == "Succeeded"
    assert data["outputs"][0]["artifact"].endswith("/versions/1.0.0")
    assert all(Path(path).is_file() for path in (*data["logs"].values(), *data["outputs"][0]["paths"]))
    assert f"connecting to the cluster {lasting.address}" in err and "built on " in err
    assert "distributed" not in err, "Dask's own log is in the view"


def test_several_templates_are_built_beside_each_other(lasting: Processes, scenario_home: Home, tmp_path: Path) -> None:
    files = templates(tmp_path / "work", "a", "b", "c")
    code, out, err = run(scenario_home, *files, "--scheduler", lasting.address, "--driver", "scripted")
    assert code == 0, err
    assert "3 templates: 3 Succeeded" in out
    numbers = sorted(path.parent.name for path in scenario_home.cloud.rglob("versions/*/resource.json"))
    assert numbers == ["1.0.0", "1.0.1", "1.0.2"]


def test_a_dry_run_goes_to_a_worker_too(lasting: Processes, scenario_home: Home, tmp_path: Path) -> None:
    (file,) = templates(tmp_path / "work", "web")
    code, out, err = run(scenario_home, file, "--scheduler", lasting.address, *DRY)
    assert code == 0, err
    assert "nothing was run, nothing was written" in out
    (made,) = RunStore(scenario_home.runs).runs()
    assert worker_of(made) in ("one", "two")


def test_ctrl_c_ends_the_build_here_and_there(lasting: Processes, scenario_home: Home, tmp_path: Path) -> None:
    (file,) = templates(tmp_path / "work", "web")
    script = tmp_path / "guest.yaml"
    script.write_text("- {match: '#one#', delay: 600}")
    process = start(
        scenario_home, file, "--scheduler", lasting.address, "--driver", "scripted", "--driver-option",
        f"script={script}",
    )  # fmt: skip
    try:
        store = RunStore(scenario_home.runs)
        made = until(lambda: next(iter(store.runs()), None), "the run")
        until(lambda: any(event.kind is Kind.STEP_STARTED for event in made.events()), "the step")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 130, err
    theirs = RunStore(lasting.workers[worker_of(made)].home.runs).runs()[0]
    until(theirs.finished, "the end of the build on the worker")
    assert list(theirs.events())[-1].fields["state"] == "Canceled"
    assert list(made.events())[-1].fields["state"] == "Canceled"


def test_a_client_that_is_killed_leaves_a_dead_run_and_no_output(
    lasting: Processes, scenario_home: Home, tmp_path: Path
) -> None:
    """The worker's own end is the business of the lease: tests/unit/cluster/test_build_host.py."""
    (file,) = templates(tmp_path / "work", "web")
    script = tmp_path / "guest.yaml"
    script.write_text("- {match: '#one#', delay: 600}")
    process = start(
        scenario_home, file, "--scheduler", lasting.address, "--driver", "scripted", "--driver-option",
        f"script={script}",
    )  # fmt: skip
    store = RunStore(scenario_home.runs)
    made = until(lambda: next(iter(store.runs()), None), "the run")
    until(lambda: any(event.kind is Kind.STEP_STARTED for event in made.events()), "the step")
    worker = lasting.workers[worker_of(made)]
    process.kill()
    process.communicate()
    assert not made.alive() and not list(scenario_home.cloud.rglob("versions/*"))
    theirs = RunStore(worker.home.runs).runs()[0]
    until(theirs.finished, "the end of the build on the worker, by its lease")
    assert "nothing was heard for 60 s" in str(list(theirs.events())[-1].fields["error"])


def test_options_that_need_a_machine_here_are_refused(lasting: Processes, scenario_home: Home, tmp_path: Path) -> None:
    (file,) = templates(tmp_path / "work", "web")
    code, _, err = run(
        scenario_home, file, "--scheduler", lasting.address, "--on-error", "keep", "--pause-before", "one", *DRY
    )
    assert code == 2
    assert "--on-error, --pause-before and --pause-after: not with builds on other computers" in err


def test_the_extra_that_is_missing_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(HostNotReady) as found,
        connected(Where(scheduler="tcp://127.0.0.1:9"), deadline=Deadline(clock=SystemClock()), warn=print),
    ):
        raise AssertionError("it was taken")
    assert found.value.commands == ("pip install 'aibemu[cluster]'",)


def test_what_is_typed_names_a_cluster(tmp_path: Path) -> None:
    assert where_of(Settings(), None, None) is None
    assert where_of(Settings(cluster_python="/x/python"), "lab1, lab2", None) == Where(
        hosts=("lab1", "lab2"), python="/x/python"
    )
    for hosts in ("", ",", "lab1,-oProxyCommand=x"):
        with pytest.raises(UsageError, match="--hosts names no host"):
            where_of(Settings(), hosts, None)


def test_hosts_are_started_by_dask_for_themselves_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed to Dask's SSHCluster; tests/contract/test_cluster_by_ssh.py does it with a real sshd."""
    import distributed

    asked: dict[str, Any] = {}

    def cluster(hosts: list[str], **options: Any) -> Any:
        asked.update(options, hosts=hosts)
        raise OSError("Permission denied for user lab")

    monkeypatch.setattr(distributed, "SSHCluster", cluster)
    warnings: list[str] = []
    with (
        pytest.raises(HostNotReady) as found,
        connected(Where(hosts=("lab1", "lab2")), deadline=Deadline(clock=SystemClock()), warn=warnings.append),
    ):
        raise AssertionError("it was taken")
    assert "the workers on lab1, lab2 could not be started by SSH" in found.value.message
    assert found.value.details == ("OSError: Permission denied for user lab",)
    assert asked["hosts"] == ["lab1", "lab1", "lab2"]
    assert asked["scheduler_options"]["host"] == "lab1" and asked["scheduler_options"]["idle_timeout"]
    assert asked["worker_options"]["preload"] == ["aibemu.cluster.worker"]
    assert any("no TLS: whoever on the network reaches the scheduler on lab1" in text for text in warnings)
    assert connecting.START < 300
