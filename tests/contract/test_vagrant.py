"""Debian's Vagrant reads the Vagrantfile and takes our boxes. That a machine comes up: docs/vagrant.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.images.box import make_box
from aibemu.settings import PREFIX, Settings
from tests.unit.images.conftest import DEBIAN, mbr_disk, tree

ROOT = Path(__file__).parents[2]
PLUGIN = Path("/usr/share/vagrant-plugins/plugins.d/vagrant-libvirt.json")
# What is asked of VirtualBox before a Vagrantfile is judged by its rules: whether it is there.
VIRTUALBOX = '#!/bin/sh\ncase "$*" in *--version*) echo 7.0.10r158379 ;; esac\n'
EVERYTHING = {
    "AIBEMU_VM_BOX": "aibemu/box", "AIBEMU_VM_MEMORY": "6144", "AIBEMU_VM_CPUS": "4", "AIBEMU_VM_DISK": "40",
    "AIBEMU_VM_IMAGE": "/of my own/image.box", "AIBEMU_VM_DRIVER": "qemu",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout, as far as Vagrant looks at one, with a blank in its path."""
    if shutil.which("vagrant") is None or not PLUGIN.exists():
        pytest.skip("Vagrant or its plugin for libvirt is not installed: ./test.sh installs them")
    made = tmp_path / "a checkout"
    made.mkdir()
    shutil.copy(ROOT / "Vagrantfile", made)
    return made


def vagrant(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """With a home of its own, and without a look for newer versions of Vagrant."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIBEMU_", "VAGRANT_"))}
    env |= {"VAGRANT_HOME": str(folder.parent / "vagrant"), "VAGRANT_CHECKPOINT_DISABLE": "1"}
    return subprocess.run(
        ["vagrant", *words], cwd=folder, env=env | more, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])
@pytest.mark.parametrize("given", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_vagrantfile_is_valid(provider: str, given: dict[str, str], folder: Path) -> None:
    programs = folder.parent / "bin"
    programs.mkdir()
    (programs / "VBoxManage").write_text(VIRTUALBOX)
    (programs / "VBoxManage").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    done = vagrant(folder, "validate", PATH=path, VAGRANT_DEFAULT_PROVIDER=provider, **given)
    assert (done.returncode, done.stdout) == (0, "Vagrantfile validated successfully.\n"), done.stdout + done.stderr
    assert done.stderr == ""


def test_no_variable_of_the_vagrantfile_is_a_setting() -> None:
    """AIBEMU_DRIVER means another thing to aibemu itself."""
    used = set(re.findall(r'ENV\.fetch\("(\w+)"', (ROOT / "Vagrantfile").read_text()))
    assert used == set(EVERYTHING)
    assert not used & {f"{PREFIX}{field.name.upper()}" for field in fields(Settings)}


def test_a_fault_in_the_vagrantfile_is_found(folder: Path) -> None:
    """Else the test before proves nothing."""
    text = (folder / "Vagrantfile").read_text()
    (folder / "Vagrantfile").write_text(text.replace("machine.nested =", "machine.nestled ="))
    done = vagrant(folder, "validate", VAGRANT_DEFAULT_PROVIDER="libvirt")
    assert done.returncode != 0
    assert "nestled" in done.stdout + done.stderr


def test_only_the_first_machine_starts_by_itself(folder: Path) -> None:
    done = vagrant(folder, "status", "--machine-readable", VAGRANT_DEFAULT_PROVIDER="libvirt")
    states = [line.split(",")[1:4:2] for line in done.stdout.splitlines() if ",state," in line]
    assert states == [["aibemu", "not_created"], ["image", "not_created"]], done.stdout + done.stderr
    text = (folder / "Vagrantfile").read_text()
    assert '"aibemu", primary: true' in text and '"image", autostart: false' in text


def test_vagrant_takes_our_box(folder: Path, tmp_path: Path) -> None:
    disk, scratch = mbr_disk(tmp_path / "disk.raw", tree(tmp_path / "tree", DEBIAN)), tmp_path / "scratch"
    scratch.mkdir()
    box = make_box(disk, folder / "image.box", scratch, deadline=forever(), say=lambda text: None)
    added = vagrant(folder, "box", "add", "--name", "aibemu/image", str(box.path))
    assert added.returncode == 0, added.stdout + added.stderr
    assert "aibemu/image (libvirt, 0)" in vagrant(folder, "box", "list").stdout
    (metadata,) = (folder.parent / "vagrant" / "boxes").rglob("metadata.json")
    assert json.loads(metadata.read_text())["provider"] == "libvirt"
    assert {"Vagrantfile", "box.img"} <= {path.name for path in metadata.parent.iterdir()}
