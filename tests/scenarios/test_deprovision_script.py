"""What the hidden last step sends is a real shell script: here it runs, with its path moved out of /tmp."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from aibemu.customizers import StepSettings
from aibemu.systems.linux.deprovision import DEFAULT_SCRIPT, DEPROVISION_PATH, MISSING, Deprovision
from aibemu.systems.linux.system import LinuxSystem
from aibemu.testing.steps import ScriptedGuest


@pytest.fixture
def sent() -> str:
    """The script as it arrives in the guest."""
    guest = ScriptedGuest(LinuxSystem())
    step = Deprovision(StepSettings(script_uri_sudo=False, rng=random.Random(1)))
    assert step.apply(guest, ()).error is None
    (entry,) = guest.communicator.transcript
    assert " sudo -E /tmp/script_" in entry["command"]
    return str(entry["stdin"])


def run(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    text = script.replace(DEPROVISION_PATH, str(path))
    return subprocess.run(["sh", "-s"], input=text, capture_output=True, text=True, check=False)


def test_it_prints_the_script_and_then_runs_it(sent: str, tmp_path: Path) -> None:
    script = tmp_path / "deprovision.sh"
    script.write_text("echo removing\nexit 7\n")
    done = run(sent, script)
    assert done.stdout == "echo removing\nexit 7\nremoving\n"
    assert done.returncode == 7


def test_messages_start_with_the_path(sent: str, tmp_path: Path) -> None:
    script = tmp_path / "deprovision.sh"
    script.write_text("/nowhere/waagent -force\n")
    done = run(sent, script)
    assert done.returncode == 127
    assert done.stderr.startswith(f"{script}: 1: /nowhere/waagent:")


def test_a_missing_script_is_told_in_the_words_of_the_service(sent: str, tmp_path: Path) -> None:
    path = tmp_path / "deprovision.sh"
    done = run(sent, path)
    assert done.stdout == MISSING.replace(DEPROVISION_PATH, str(path)) + "\n"
    assert done.returncode != 0


def test_the_default_script_is_valid_shell() -> None:
    subprocess.run(["sh", "-n"], input=DEFAULT_SCRIPT, text=True, check=True)
