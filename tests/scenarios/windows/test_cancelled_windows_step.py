"""Ctrl-C while a PowerShell step runs: over within seconds, recorded as cancelled, nothing is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests.guest_calls import until
from tests.scenarios.observing import CONVERGE
from tests.scenarios.windows.workshop import PATIENCE, Workshop, template

ELEVATED = {"runElevated": True, "runAsSystem": True}


@pytest.mark.parametrize("elevated", [{}, ELEVATED], ids=["plain", "elevated"])
def test_ctrl_c_in_a_step(windows: Workshop, elevated: dict[str, bool]) -> None:
    waits = ["Write-Output 'it waits'", "while ($true) { Start-Sleep -Milliseconds 200 }"]
    windows.write("windows.json", template([{"type": "PowerShell", "name": "Wait", "inline": waits, **elevated}]))
    with subprocess.Popen(
        [sys.executable, "-m", "aibemu", *windows.words("run", "windows.json")], cwd=windows.work,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as build:  # fmt: skip
        try:
            until(lambda: build.poll() is not None or _waits(windows))
        finally:
            build.send_signal(signal.SIGINT)
        began = time.monotonic()
        said, _ = build.communicate(timeout=PATIENCE)
        took = time.monotonic() - began
    assert took < CONVERGE, said
    assert build.returncode == 130, said
    assert windows.summary.state == "Canceled", said
    assert windows.statuses() == {"Wait": "cancelled"}
    assert windows.left() == []


def _waits(windows: Workshop) -> bool:
    records = windows.home.runs.glob("*/events.ndjson")
    return any('"line":"it waits"' in file.read_text(encoding="utf-8") for file in records)
