"""Packer's qemu builder and aibemu run the same steps on the same image: same files, same exit decision.

The image is the base image's generic variant, for Packer's machine has no Azure around it. One boot each: the last but
one step prints a manifest of everything that the steps left (type, mode, owner, group, link, content), the last one
fails with status 7.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aibemu.images import BaseImage
from aibemu.paths import Home
from aibemu.runs.drivers import make_driver
from tests import nocloud
from tests.bench import packer, work

pytestmark = pytest.mark.vm

# Seconds; a boot without hardware acceleration takes 40 to 90 of them.
BOUND = 600.0


@pytest.fixture
def program() -> Path:
    found = packer.find()
    if found is None:
        pytest.skip("no packer 1.x on PATH (Debian has it, Ubuntu does not): nothing to compare with")
    return found


def test_same_files_and_same_decision(
    program: Path, tmp_path: Path, base_image: BaseImage, generic_image: Path, probed: Path
) -> None:
    steps = [*work.STEPS, work.FAILING]
    upload = work.write_upload(tmp_path)
    machine = packer.Machine(base=generic_image, disk_bytes=base_image.virtual_size, accelerator=accelerator(probed))

    theirs = run_packer(program, tmp_path, machine, steps, upload)
    home = nocloud.generic_home(tmp_path / "home", generic_image)
    shutil.copytree(probed, home.cache / "qemu")
    ours, our_lines, our_status = run_aibemu(tmp_path, home, machine, steps, upload)

    assert theirs.status != 0, theirs.log[-4000:]
    assert f"non-zero exit status: {work.FAILING_STATUS}" in theirs.log, theirs.log[-4000:]
    assert ours.returncode == 1, ours.stderr[-4000:]
    assert our_status == work.FAILING_STATUS
    for lines in (theirs.lines(), our_lines):
        assert "before the failure" in lines
        assert "after the failure" not in lines
    expected, made = work.manifest(theirs.lines()), work.manifest(our_lines)
    assert len(expected) > 30, theirs.log[-4000:]
    assert any(line.startswith(f"{work.UPLOAD}|f|644|{work.USER}:{work.USER}|") for line in expected)
    assert made == expected, "\n".join(difflib.unified_diff(expected, made, "packer", "aibemu", lineterm="", n=1))


def run_packer(
    program: Path, folder: Path, machine: packer.Machine, steps: list[work.Step], upload: Path
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


def run_aibemu(
    folder: Path, home: Home, machine: packer.Machine, steps: list[work.Step], upload: Path
) -> tuple[subprocess.CompletedProcess[str], list[str], int | None]:
    """One `aibemu run`; what its steps printed, and the exit code of the last one."""
    template = work.write_template(folder, steps, upload)
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
    return done, work.step_lines(runs[0]), ended[-1] if ended else None
