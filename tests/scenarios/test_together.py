"""Two builds at once in one home, as two processes: both end well, with different numbers in one gallery."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from aibemu.paths import Home

TEMPLATE = Path(__file__).parent / "cases/gallery-latest/template.json"
PATIENCE = 60  # seconds


def test_two_builds_at_once_take_different_versions(tmp_path: Path, scenario_home: Home) -> None:
    environment = {**os.environ, "AIBEMU_HOME": str(scenario_home.runs.parent)}
    # Both wait in the last step until the other one is there, so that they distribute at the same time.
    guest = tmp_path / "guest.yaml"
    guest.write_text("- {match: 'sh /tmp/DeprovisioningScript.sh', delay: 1.0}")
    command = [
        sys.executable, "-m", "aibemu", "run", str(TEMPLATE), "--output", "json", "--driver", "scripted",
        "--driver-option", f"script={guest}",
    ]  # fmt: skip
    builds = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
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
