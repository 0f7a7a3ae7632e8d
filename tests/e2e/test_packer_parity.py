"""Packer's qemu builder and aibemu run the same steps on the same image: same files, same exit decision.

The image is the base image's generic variant, for Packer's machine has no Azure around it. One boot each: the first
step looks at what has booted, the last but one prints a manifest of everything that the steps left (type, mode, owner,
group, link, content), the last one fails with status 7. Without Packer, aibemu's machine is looked at alone.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from aibemu.images import BaseImage
from aibemu.paths import Home
from aibemu.runs.drivers import make_driver
from tests import nocloud
from tests.bench import packer, work
from tests.e2e.lab import VM_SIZE

pytestmark = pytest.mark.vm

# Seconds; a boot without hardware acceleration takes 40 to 90 of them.
BOUND = 600.0
# What the base image is once it has booted, as lines `look NAME=VALUE`.
LOOK = work.Step(
    name="Look",
    lines=(
        'look() { name=$1; shift; echo "look $name=$("$@" 2>&1 | tail -n 1)"; }',
        "look first-boot cloud-init status --wait",
        "look system systemctl is-system-running --wait",
        "look source sh -c 'cloud-init status --long | grep -o DataSourceNoCloud'",
        "look host hostname",
        "look agent sh -c 'sudo waagent -version | head -n 1'",
        "look provisioning grep ^Provisioning.Agent /etc/waagent.conf",
        "look enabled systemctl is-enabled walinuxagent",
        "look active systemctl is-active walinuxagent",
        "look packages grep -rhm 1 ' bookworm main' /etc/apt/sources.list /etc/apt/sources.list.d",
    ),
)
STEPS = (LOOK, *work.STEPS, work.FAILING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """What aibemu's steps printed, the exit code of the last one, and the end of `aibemu run`."""

    lines: list[str]
    status: int | None
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parity")


@pytest.fixture(scope="module")
def machine(base_image: BaseImage, generic_image: Path, probed: Path) -> packer.Machine:
    size = base_image.virtual_size
    return packer.Machine(base=generic_image, disk_bytes=size, accelerator=accelerator(probed), cpus=1)


@pytest.fixture(scope="module")
def upload(folder: Path) -> Path:
    return work.write_upload(folder)


@pytest.fixture(scope="module")
def theirs(folder: Path, machine: packer.Machine, upload: Path) -> packer.PackerRun:
    program = packer.find()
    if program is None:
        pytest.skip("no packer 1.x on PATH (Debian has it, Ubuntu does not): nothing to compare with")
    return run_packer(program, folder, machine, STEPS, upload)


@pytest.fixture(scope="module")
def ours(folder: Path, machine: packer.Machine, upload: Path, generic_image: Path, probed: Path) -> Ours:
    home = nocloud.generic_home(folder / "home", generic_image)
    shutil.copytree(probed, home.cache / "qemu")
    return run_aibemu(folder, home, machine, STEPS, upload)


def looks(lines: Sequence[str]) -> dict[str, str]:
    """What `LOOK` printed; of a value with several lines, the last."""
    return dict(line.removeprefix("look ").split("=", 1) for line in lines if line.startswith("look "))


def test_the_base_image_boots_well_in_a_machine_of_aibemus(ours: Ours) -> None:
    assert_booted_well(ours.lines)


def test_the_base_image_boots_well_in_packers_qemu(theirs: packer.PackerRun) -> None:
    assert_booted_well(theirs.lines())


def assert_booted_well(lines: Sequence[str]) -> None:
    seen = looks(lines)
    assert (seen["first-boot"], seen["system"], seen["source"]) == ("status: done", "running", "DataSourceNoCloud")
    assert seen["host"].startswith("pkrvm")
    assert seen["agent"].startswith("WALinuxAgent-")
    assert (seen["provisioning"], seen["enabled"]) == ("Provisioning.Agent=cloud-init", "enabled")
    # The agent keeps quiet: neither machine has an Azure around it.
    assert seen["active"] == "inactive"
    assert seen["packages"].startswith("deb ")


def test_same_files_and_same_decision(theirs: packer.PackerRun, ours: Ours) -> None:
    assert theirs.status != 0, theirs.log[-4000:]
    assert f"non-zero exit status: {work.FAILING_STATUS}" in theirs.log, theirs.log[-4000:]
    assert ours.done.returncode == 1, ours.done.stderr[-4000:]
    assert ours.status == work.FAILING_STATUS
    for lines in (theirs.lines(), ours.lines):
        assert "before the failure" in lines
        assert "after the failure" not in lines
    expected, made = work.manifest(theirs.lines()), work.manifest(ours.lines)
    assert len(expected) > 30, theirs.log[-4000:]
    assert any(line.startswith(f"{work.UPLOAD}|f|644|{work.USER}:{work.USER}|") for line in expected)
    assert made == expected, "\n".join(difflib.unified_diff(expected, made, "packer", "aibemu", lineterm="", n=1))


def run_packer(
    program: Path, folder: Path, machine: packer.Machine, steps: Sequence[work.Step], upload: Path
) -> packer.PackerRun:
    """One `packer build` in a folder of its own."""
    own = folder / "packer"
    own.mkdir()
    template = packer.template(own, machine, steps, upload, settle=True)
    assert packer.validate(program, template) == ""
    return packer.build(program, template, bound=BOUND)


def accelerator(probed: Path) -> str:
    """What aibemu would use on this host: both sides must get the same."""
    name: str = make_driver("qemu", {"cache": str(probed)}, Home.discover()).accelerator().name
    return name


def run_aibemu(folder: Path, home: Home, machine: packer.Machine, steps: Sequence[work.Step], upload: Path) -> Ours:
    """One `aibemu run`."""
    template = work.write_template(folder, steps, upload, vm_size=VM_SIZE)
    root = home.images.parent
    argv = [sys.executable, "-m", "aibemu", "run", str(template)]
    own = {"AIBEMU_HOME": str(root), "AIBEMU_MEMORY_CAP_MIB": str(machine.memory_mib), "NO_COLOR": "1"}
    done = subprocess.run(
        argv, env=os.environ | own, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND,
        check=False,
    )  # fmt: skip
    runs = [path for path in home.runs.glob("*") if (path / "events.ndjson").exists()]
    assert len(runs) == 1, done.stderr[-4000:]
    events = [json.loads(line) for line in (runs[0] / "events.ndjson").read_text().splitlines()]
    ended = [
        event["exit_code"] for event in events if event["kind"] == "step.finished" and event["phase"] == "customize"
    ]
    return Ours(lines=work.step_lines(runs[0]), status=ended[-1] if ended else None, done=done)
