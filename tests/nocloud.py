"""Images for Azure made generic: copies whose cloud-init takes a NoCloud seed, for a plain QEMU and for Packer.

Only one file of the image changes, through debugfs at the root partition, wherever that is; so no root is needed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from aibemu.clock import forever
from aibemu.disks import convert
from aibemu.disks.guestfs import GuestFiles, find_root
from aibemu.images import BaseImage, Generation, Provisioning
from aibemu.images.inspect import provisioning
from aibemu.paths import Home
from aibemu.processes import run_tool
from tests.kept_disk import kept_disk

CONFIGURATION = "datasource_list: [ NoCloud, None ]\n"
# Where the recipe of the base image limits cloud-init to Azure.
FOLDER, NAME = "/etc/cloud/cloud.cfg.d", "91_datasources.cfg"
# The base image in a template of tests/bench/work.py; any version will do for `latest`.
ALIAS = "Debian:debian-12:12:0.1.0"


def make_generic(disk: Path, scratch: Path) -> None:
    """Change `disk`, a raw disk or a fixed VHD, in place. Its root file system must be clean."""
    root = find_root(disk, forever())
    assert root is not None, f"{disk} has no root file system that debugfs can read"
    with TemporaryDirectory(dir=scratch) as folder:
        configuration, commands = Path(folder, NAME), Path(folder, "commands")
        configuration.write_text(CONFIGURATION)
        configuration.chmod(0o644)  # debugfs takes it over, and root as the owner
        commands.write_text(f"cd {FOLDER}\nrm {NAME}\nwrite {configuration} {NAME}\n")
        done = run_tool(["debugfs", "-w", "-f", commands, f"{disk}?offset={root.start}"], deadline=forever())
    # debugfs always ends with status 0.
    with GuestFiles(disk, root.start, deadline=forever()) as files:
        assert files.read(f"{FOLDER}/{NAME}") == CONFIGURATION, done.stderr
        assert provisioning(files) is Provisioning.NOCLOUD, "a later file forbids NoCloud again"


def generic_variant(base: BaseImage, home: Home) -> Path:
    """A generic qcow2 of `base`, kept beside the images of `home`; those of other base images go. About 5 s if new."""

    def make(scratch: Path) -> Path:
        raw, made = scratch / "disk.raw", scratch / "disk.qcow2"
        convert.to_raw(base.path, raw, deadline=forever())
        make_generic(raw, scratch)
        convert.to_qcow2(convert.info(raw, deadline=forever(), format="raw"), made, deadline=forever())
        return made

    return kept_disk(home.images.parent / "generic", base.digest + CONFIGURATION, make)


def generic_home(root: Path, generic: Path) -> Home:
    """A home at `root` with nothing but the image `generic`. It boots BIOS, as Packer's qemu builder does."""
    words = [str(generic), "--alias", ALIAS, "--generation", Generation.V1.value]
    done = subprocess.run(
        [sys.executable, "-m", "aibemu", "images", "import", *words], env=os.environ | {"AIBEMU_HOME": str(root)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return Home.at(root)
