"""tests.tools.stress on a small suite made here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.tools.stress import busy

ROOT = Path(__file__).parents[3]
SUITE = """
import pathlib

def test_fails_the_third_time():
    runs = pathlib.Path(__file__).with_name("runs")
    runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
    assert len(runs.read_text()) != 3, "the third time"

def test_other():
    pass
"""


def stress(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -p pytest_timeout\n")
    (folder / "test_suite.py").write_text(SUITE)
    return subprocess.run(
        [sys.executable, "-m", "tests.tools.stress", "--busy", "1", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_it_stops_at_the_first_failure_and_says_which_it_was(tmp_path: Path) -> None:
    done = stress(tmp_path, "--times", "9", "test_suite.py::test_fails_the_third_time")
    assert done.returncode == 1
    assert "1 failed, 2 passed" in done.stdout
    assert "test_fails_the_third_time[3 of 9]" in done.stdout


def test_a_sound_test_runs_as_often_as_asked(tmp_path: Path) -> None:
    done = stress(tmp_path, "--times", "5", "test_suite.py::test_other")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def test_it_wants_a_test(tmp_path: Path) -> None:
    done = stress(tmp_path)
    assert done.returncode == 2
    assert "name a test" in done.stderr


def test_the_busy_processes_are_gone_afterwards() -> None:
    with busy(2) as ids:
        assert all(Path(f"/proc/{pid}").exists() for pid in ids)
    assert not any(Path(f"/proc/{pid}").exists() for pid in ids)
