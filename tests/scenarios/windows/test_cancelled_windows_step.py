"""Ctrl-C while a PowerShell step runs: over within seconds, recorded as cancelled, nothing is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator

import pytest

from tests.scenarios.observing import CONVERGE
from tests.scenarios.windows.workshop import Workshop, template

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
            # Until it is seen, or there is nothing more to see: how long a PowerShell takes to start is not known.
            assert build.stdout is not None
            shown = list(_until("| it waits", build.stdout))
        finally:
            build.send_signal(signal.SIGINT)
        began = time.monotonic()
        rest = build.stdout.read()
        build.wait()
        took = time.monotonic() - began
    said = "".join([*shown, rest])
    assert took < CONVERGE, said
    assert build.returncode == 130, said
    assert windows.summary.state == "Canceled", said
    assert windows.statuses() == {"Wait": "cancelled"}
    assert windows.left() == []


def _until(text: str, lines: Iterable[str]) -> Iterator[str]:
    """The lines up to the one with that text, or to the last one."""
    for line in lines:
        yield line
        if text in line:
            return
