"""Two builds of Windows templates at once: two processes, one home, two machines."""

from __future__ import annotations

import subprocess
import sys

from aibemu.reports.fold import fold
from aibemu.runs.store import RunStore
from tests.scenarios.windows.workshop import Workshop, template


def test_two_builds_at_once_do_not_meet(windows: Workshop) -> None:
    builds = []
    for name in ("left", "right"):
        inline = [
            "if (Test-Path C:\\who.txt) { throw 'somebody else was here' }", f"Set-Content C:\\who.txt {name}",
            "Start-Sleep 2", "Write-Output \"this is $(Get-Content C:\\who.txt)\"",
        ]  # fmt: skip
        made = template(
            [{"type": "PowerShell", "name": name, "inline": inline}],
            distribute=[{"type": "VHD", "runOutputName": name}],
        )
        windows.write(f"{name}.json", {**made, "name": name})
        words = windows.words("run", f"{name}.json", "--out", f"out-{name}")
        builds.append(
            subprocess.Popen(
                [sys.executable, "-m", "aibemu", *words], cwd=windows.work, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    said = [build.communicate()[0] for build in builds]
    assert [build.returncode for build in builds] == [0, 0], "\n".join(said)
    runs = {fold(run.events()).steps[0].label: run for run in RunStore(windows.home.runs).runs()}
    for name, other in (("left", "right"), ("right", "left")):
        log = runs[name].log("customization.log").read_text(encoding="utf-8")
        assert f"this is {name}" in log and f"this is {other}" not in log
        assert (windows.work / f"out-{name}/{name}/{name}.vhd").stat().st_size > 0
    assert windows.left() == []
