"""Two builds at once in one home, as two processes: both end well, with different numbers in one gallery."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from aibemu.paths import Home
from aibemu.runs.store import Run, RunStore

TEMPLATE = Path(__file__).parent / "cases/gallery-latest/template.json"
PATIENCE = 60  # seconds


def test_two_builds_at_once_take_different_versions(tmp_path: Path, scenario_home: Home) -> None:
    environment = {**os.environ, "AIBEMU_HOME": str(scenario_home.runs.parent)}
    document = json.loads(TEMPLATE.read_text())
    document["resources"][0]["properties"]["customize"] = [{"type": "Shell", "name": "meet", "inline": ["true"]}]
    template = tmp_path / "template.json"
    template.write_text(json.dumps(document))
    command = [
        sys.executable, "-m", "aibemu", "run", str(template), "--output", "json", "--driver", "scripted",
        "--pause-before", "meet",
    ]  # fmt: skip
    with ExitStack() as at_the_end:
        builds = [
            subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]  # fmt: skip
        for build in builds:
            at_the_end.callback(build.kill)
        # Neither goes on until the other one is there.
        for run in waiting_runs(scenario_home, builds):
            run.answer("go-on")
        answers = [build.communicate(timeout=PATIENCE) for build in builds]
    assert [build.returncode for build in builds] == [0, 0], [err for _, err in answers]
    data = [json.loads(out)["data"] for out, _ in answers]
    starts = [value["lastRunStatus"]["startTime"] for value in data]
    ends = [value["lastRunStatus"]["endTime"] for value in data]
    assert max(starts) < min(ends), "they did not run at the same time"
    versions = {value["outputs"][0]["artifact"].rpartition("/")[2] for value in data}
    assert versions == {"1.0.0", "1.0.1"}
    documents = [json.loads(path.read_text()) for path in scenario_home.cloud.rglob("versions/*/resource.json")]
    assert sorted(document["name"] for document in documents) == ["1.0.0", "1.0.1"]
    assert all(document["properties"]["provisioningState"] == "Succeeded" for document in documents)
    assert not list(scenario_home.runs.parent.rglob("*.partial"))
    assert not list(scenario_home.runs.glob("*/machines"))


def waiting_runs(home: Home, builds: list[subprocess.Popen[str]]) -> list[Run]:
    """The runs of `builds`, as soon as all their records say that they wait for an answer."""
    for _ in range(int(PATIENCE / 0.02)):
        runs = [run for run in RunStore(home.runs).runs() if run.events_file.exists()]
        waiting = [run for run in runs if '"run.waiting"' in run.events_file.read_text()]
        if len(waiting) == len(builds):
            return waiting
        assert all(build.poll() is None for build in builds), "one ended before"
        threading.Event().wait(0.02)
    raise AssertionError("they do not wait")
