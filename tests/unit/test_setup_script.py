""".ci/setup.sh on machines that are not ready: a PATH of our own stands for the machine, nothing is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What any Unix has.
COMMON = ("sh", "awk", "grep", "sed", "sort", "cat", "head", "env", "printf", "tail")
OPTIONS = "-o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold --quiet"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder to use as PATH: the common programs, and an `id` that says we are root."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in COMMON:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"no {name} on PATH")
        (folder / name).symlink_to(found)
    program(folder, "id", '[ "$1" = -u ] && echo 0 || echo root')
    return folder


def program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def run(machine: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Source setup.sh with only `machine` on PATH (it would add the sbin directories), then run `script`."""
    text = f"set -eu\nROOT='{ROOT}'\n. '{ROOT}/.ci/setup.sh'\nPATH={machine}\n{script}\n"
    return subprocess.run(
        ["/bin/sh", "-c", text], env={"PATH": str(machine), "HOME": "/nonexistent"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


def test_without_apt_everything_missing_is_named(machine: Path) -> None:
    done = run(machine, "need_packages 'base test'")
    assert done.returncode == 4
    assert done.stdout == ""
    for name, package in (("qemu-img", "qemu-utils"), ("newuidmap", "uidmap"), ("sshd", "openssh-server")):
        assert f"- {name}  (Debian package: {package})" in done.stderr
    (optional,) = re.findall("what needs it is skipped: (.*)", done.stderr)
    assert {"packer", "zsh"} <= set(optional.split())


def test_what_the_tests_need_is_not_asked_of_others(machine: Path) -> None:
    done = run(machine, "need_packages base")
    assert done.returncode == 4
    assert "shellcheck" not in done.stderr and "swtpm" not in done.stderr
    assert "qemu-img" in done.stderr


def test_nothing_missing_nothing_done(machine: Path) -> None:
    done = run(machine, "table() { echo base need program sh dash; }\nneed_packages base\necho ready")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")


def test_apt_installs_what_is_missing_and_no_more(machine: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    program(
        machine,
        "apt-get",
        f'echo "$DEBIAN_FRONTEND $*" >> {calls}; case "$*" in *install*) cp "$0" "{machine}/qemu-img" ;; esac',
    )
    (machine / "cp").symlink_to(shutil.which("cp") or "/bin/cp")
    table = "table() { echo base need program sh dash; echo base need program qemu-img qemu-utils; }"
    done = run(machine, f"{table}\nneed_packages base\necho ready")
    assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr
    assert "installing system packages: qemu-utils" in done.stderr
    assert calls.read_text().splitlines() == [
        f"noninteractive {OPTIONS} update",
        f"noninteractive {OPTIONS} install --yes --no-install-recommends qemu-utils",
    ]


def test_a_package_that_brings_nothing_is_no_endless_loop(machine: Path) -> None:
    program(machine, "apt-get", "exit 0")
    done = run(machine, "table() { echo base need program qemu-img qemu-utils; }\nneed_packages base")
    assert done.returncode == 4
    assert "still missing after the installation: qemu-img" in done.stderr


def test_an_ordinary_user_without_sudo_is_told_what_to_run(machine: Path) -> None:
    program(machine, "id", '[ "$1" = -u ] && echo 1000 || echo someone')
    program(machine, "apt-get", "exit 99")
    done = run(machine, "table() { echo base need program qemu-img qemu-utils; }\nneed_packages base")
    assert done.returncode == 4
    assert "no sudo" in done.stderr
    assert "run as root: env DEBIAN_FRONTEND=noninteractive" in done.stderr


def test_an_old_python_is_told_what_is_needed(machine: Path) -> None:
    program(machine, "python3", 'case "$*" in --version) echo Python 3.9.2 ;; *) exit 1 ;; esac')
    done = run(machine, "find_python() { PYTHON=; }\nneed_python")
    assert done.returncode == 4
    assert "Python 3.11 or newer" in done.stderr
    assert "here is: Python 3.9.2" in done.stderr


def test_the_python_of_an_activated_venv_makes_no_venv(machine: Path, tmp_path: Path) -> None:
    """It would be deleted first, where the one that is there is out of date."""
    ours = tmp_path / "my checkout" / ".venv" / "bin"
    ours.mkdir(parents=True)
    program(ours, "python3", f"echo {machine}/own-python")
    program(machine, "own-python", "exit 0")
    program(machine, "python3.12", "exit 0")
    script = f"ROOT='{tmp_path}/my checkout'\nPATH='{ours}':$PATH\nneed_python\necho \"$PYTHON\""
    done = run(machine, script)
    assert (done.returncode, done.stdout) == (0, f"{machine}/own-python\n"), done.stderr
