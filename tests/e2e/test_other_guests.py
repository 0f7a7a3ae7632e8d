"""Azure's platform around other guests: one of generation 2 without network, one that cannot be provisioned."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest

from aibemu.clock import forever
from aibemu.disks import convert
from aibemu.disks.guestfs import GuestFiles, find_root
from aibemu.images import BaseImage
from aibemu.processes import run_tool
from tests.e2e.lab import QUICK, Base, fresh_home, left_over, template
from tests.e2e.platform import (
    GET,
    TOKEN,
    leaf,
    own_address,
    run,
    serving,
    shell,
)

pytestmark = pytest.mark.vm


def test_generation_2_cut_off_from_the_network(tmp_path: Path, base: Base, base_image: BaseImage) -> None:
    home = fresh_home(tmp_path / "second", base)
    words = ["images", "describe", base_image.short, "--generation", "V2"]
    subprocess.run(
        [sys.executable, "-m", "aibemu", *words], env=os.environ | {"AIBEMU_HOME": str(home)}, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    address = own_address() or "192.0.2.1"
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(serving(address)) if own_address() else 80
        value = template(
            "second",
            customize=[
                shell(
                    "Ask",
                    "test -d /sys/firmware/efi",
                    "cloud-init status --wait > /dev/null; echo status=$?",
                    "echo agent=$(systemctl is-active walinuxagent)",
                    f"echo vm=$({leaf('vmId')})",
                    "echo uuid=$(sudo cat /sys/class/dmi/id/product_uuid)",
                    f"{GET} '{TOKEN}' | grep -o 'Identity not found'",
                    f"curl --silent --max-time 60 http://{address}:{port}/ || echo code=$?",
                    QUICK,
                )
            ],
        )
        file = home / "t.json"
        file.write_text(json.dumps(value))
        done = run(home, file, "--offline")
    assert done.status == 0, done.said
    said = done.values("c1")
    assert (said["status"], said["agent"]) == ("0", "active")
    assert UUID(said["uuid"]) == UUID(said["vm"])
    assert "Identity not found" in done.lines("c1")
    assert said["code"] == "7", "refused at once, not after a minute"
    assert left_over(home) == []


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
