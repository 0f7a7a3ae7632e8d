"""A guest that Azure's platform cannot provision."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.disks import convert
from aibemu.disks.guestfs import GuestFiles, find_root
from aibemu.images import BaseImage
from aibemu.processes import run_tool
from tests.e2e.lab import Base, left_over, template
from tests.e2e.platform import (
    run,
)

pytestmark = pytest.mark.vm


def test_a_guest_that_cannot_be_provisioned_ends_the_build_at_once(
    tmp_path: Path, base: Base, base_image: BaseImage
) -> None:
    home = tmp_path / "broken"  # with no other image
    shutil.copytree(base.probed, home / "cache" / "qemu")
    broken = with_broken_seed(base_image, tmp_path)
    subprocess.run(
        [sys.executable, "-m", "aibemu", "images", "import", broken, "--alias", "Debian:debian-12:12:0.0.9",
         "--generation", "V1"], env=os.environ | {"AIBEMU_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    file = home / "t.json"
    file.write_text(json.dumps(template("broken")))
    done = run(home, file)
    assert done.status == 1
    assert "the guest reports that its provisioning failed: The VM encountered an error during deployment" in done.said
    (report,) = [entry for entry in done.journal("build") if "ProvisioningFailed" in entry["body"]]
    (ended,) = [event for event in done.events if event["kind"] == "run.finished"]
    waited = datetime.fromisoformat(ended["at"]) - datetime.fromisoformat(report["at"])
    assert waited.total_seconds() < 20
    assert left_over(home) == []


def with_broken_seed(base: BaseImage, folder: Path) -> Path:
    """The image with half a provisioning document in it, which cloud-init prefers to the DVD's."""
    raw = folder / "broken.raw"
    convert.to_raw(base.path, raw, deadline=forever())
    root = find_root(raw, forever())
    assert root is not None
    (folder / "ovf-env.xml").write_text("<Environment>")
    commands = folder / "commands"
    seed = "/var/lib/cloud/seed"
    folders = [seed.rpartition("/")[0], seed, f"{seed}/azure"]
    words = [*(f"mkdir {name}" for name in folders), f"cd {seed}/azure", f"write {folder / 'ovf-env.xml'} ovf-env.xml"]
    commands.write_text("\n".join([*words, ""]))
    run_tool(["debugfs", "-w", "-f", commands, f"{raw}?offset={root.start}"], deadline=forever())
    with GuestFiles(raw, root.start, deadline=forever()) as files:
        assert files.read(f"{seed}/azure/ovf-env.xml") == "<Environment>"
    return raw
