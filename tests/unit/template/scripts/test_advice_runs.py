"""Advice does no harm: the right example of each rule about shell scripts runs to its end in dash and bash, under -e.

sudo and what changes a machine are stand-ins that only say that they were called.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aibemu.template.catalogue import scripts as catalogue
from aibemu.template.catalogue.model import Example, Rule

SHELLS = ("dash", "bash")
# What is really run; everything else is a stand-in.
REAL = ("cat", "grep", "sleep")
STAND_INS = (
    "apt-get", "cloud-init", "curl", "docker", "mkdir", "rm", "systemctl", "tee", "ufw", "waagent", "cp",
)  # fmt: skip
WITH_TEXT = [rule for rule in catalogue.RULES if rule.good.system == "linux"]


def script(example: Example) -> str:
    """The text of its step, as Packer writes it."""
    (step, *_) = json.loads(example.text)["properties"]["customize"]
    if "inline" in step:
        return "\n".join(step["inline"]) + "\n"
    return example.files[step["scriptUri"]].removeprefix("\ufeff")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder of programs."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in REAL:
        (programs / name).symlink_to(str(shutil.which(name)))
    for name in STAND_INS:
        add(programs, name, "exit 0")
    add(programs, "sudo", '"$@"')
    # What a first boot with a harmless warning ends with.
    add(programs, "cloud-init", "exit 2")
    for name in ("setup", "register", "fetch-key"):
        add(tmp_path, name, "echo value")
    (tmp_path / "app.conf").write_text("x\n")
    return tmp_path


def add(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "called: {name} $*" >&2\n{text}\n')
    path.chmod(0o755)


def run(machine: Path, shell: str, text: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    # `sh FILE` of an example is a stand-in: the file was not really fetched.
    add(machine / "programs", "sh", "exit 0")
    environment = {"PATH": str(machine / "programs"), "HOME": str(machine), "LC_ALL": "C"}
    return subprocess.run(
        [program, "-e"], input=text, cwd=machine, env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("rule", WITH_TEXT, ids=lambda rule: rule.id)
def test_the_right_example_runs(rule: Rule, shell: str, machine: Path) -> None:
    done = run(machine, shell, script(rule.good))
    assert done.returncode == 0, done.stderr
    assert "not found" not in done.stderr


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("id_", ["W95", "W31"])
def test_the_wrong_one_does_not(id_: str, shell: str, machine: Path) -> None:
    """Else the test above would prove nothing."""
    (rule,) = [rule for rule in WITH_TEXT if rule.id == id_]
    assert run(machine, shell, script(rule.bad)).returncode != 0


def test_waiting_for_cloud_init_still_fails_where_it_failed(machine: Path) -> None:
    (rule,) = [rule for rule in WITH_TEXT if rule.id == "W95"]
    add(machine / "programs", "cloud-init", "exit 1")
    assert run(machine, "dash", script(rule.good)).returncode != 0


@pytest.mark.parametrize("shell", SHELLS)
def test_the_advice_about_redirections_keeps_what_is_there(shell: str, machine: Path) -> None:
    """W33 and W34: `tee -a` where it was `>>`."""
    (machine / "programs" / "tee").unlink()
    (machine / "programs" / "tee").symlink_to(str(shutil.which("tee")))
    done = run(machine, shell, "echo more | sudo tee -a ./app.conf\n")
    assert done.returncode == 0
    assert (machine / "app.conf").read_text() == "x\nmore\n"


def test_no_example_is_left_out() -> None:
    known: dict[str, Any] = {rule.id: script(rule.good) for rule in WITH_TEXT}
    assert len(known) >= 18 and all(known.values())
