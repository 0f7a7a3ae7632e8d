"""An image of other make: its initramfs has no driver for virtio, and it has no Azure agent. It is described rightly,
and built on the devices that it has drivers for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aibemu.clock import SystemClock, forever
from aibemu.images import recipes
from aibemu.images.build import build
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from tests.e2e.lab import COLD, PROVIDERS, Base, Build, aibemu, answer, fresh_home, left_over

pytestmark = pytest.mark.vm

RECIPE = Path(__file__).parent / "recipes" / "debian-13-ahci.yaml"
ALIAS = "acme:trixie:gen2:1.0.0"
# What the machine is made of, as the guest sees it; then a deprovision script that needs no agent.
LOOK = [
    "readlink -f /sys/class/block/$(findmnt -no SOURCE / | sed 's,/dev/,,')",
    "test -d /sys/firmware/efi && echo UEFI",
    "grep -h PRETTY_NAME /etc/os-release",
    "echo 'cloud-init clean --logs; rm -f /etc/ssh/ssh_host_*; sync' > /tmp/DeprovisioningScript.sh",
]


def template(*inline: str) -> str:
    """A template that starts from the image."""
    publisher, offer, sku, version = ALIAS.split(":")
    image = {"type": "PlatformImage", "publisher": publisher, "offer": offer, "sku": sku, "version": version}
    target = {
        "type": "ManagedImage", "imageId": f"{PROVIDERS}/Microsoft.Compute/images/trixie", "location": "westeurope",
        "runOutputName": "trixie",
    }  # fmt: skip
    identity: dict[str, object] = {f"{PROVIDERS}/Microsoft.ManagedIdentity/userAssignedIdentities/build": {}}
    return json.dumps({
        "name": "trixie", "location": "westeurope",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": identity},
        "properties": {
            "source": image, "vmProfile": {"vmSize": "Standard_DS1_v2"}, "distribute": [target],
            "customize": [{"type": "Shell", "name": "Look", "inline": list(inline)}],
        },
    })  # fmt: skip


def test_without_virtio_in_its_initramfs_and_without_an_agent(tmp_path: Path, base: Base, base_home: Home) -> None:
    image = build(recipes.load(str(RECIPE)), ImageStore(base_home.images, SystemClock()), forever(), lambda text: None)
    home = fresh_home(tmp_path / "home", base)
    seen = answer(home, "images", "describe", image.digest, "--look")
    assert (seen["osName"], seen["generation"]) == ("Debian GNU/Linux 13 (trixie)", "V2")
    assert seen["generations"] == ["V2", "V1"] and seen["generalized"] and seen["provisioning"] == "azure"
    facts, drivers = seen["linux"], seen["linux"]["drivers"]
    assert facts["agents"] == [] and facts["cloudInit"].startswith("cloud-init 2") and facts["init"] == "systemd"
    assert drivers["disks"] == ["sata"] and drivers["unread"] == ""
    assert {"virtio-scsi", "virtio-blk", "nvme"} <= set(drivers["loadable"]) and "virtio-net" in drivers["nics"]

    answer(home, "images", "alias", ALIAS, image.digest)
    file = tmp_path / "t.json"
    file.write_text(template("echo hello"))
    planned = aibemu(home, "plan", file, "--output", "json")
    assert json.loads(planned.stdout)["data"]["machine"]["disk"] == "sata"
    assert "has no Azure agent (waagent)" in planned.stderr and "status 127" in planned.stderr

    file.write_text(template(*LOOK))
    run = Build(home, [file, *COLD], tmp_path / "run")
    try:
        assert run.wait() == 0, run.stdout + run.stderr
        disk, firmware, name = run.lines("c1")[:3]
        assert "/ata" in disk and "virtio" not in disk, disk
        assert firmware == "UEFI" and "trixie" in name
        assert "status 127" not in run.stderr
        notes = [event["message"] for event in run.events("notice")]
        assert any(note.startswith("its disk is sata: kernel 6.") for note in notes)
        assert left_over(home) == []
    finally:
        run.close()
