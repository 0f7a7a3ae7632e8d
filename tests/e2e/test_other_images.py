"""An image whose initramfs has no driver for virtio and that has no Azure agent: it is described rightly, and built on
the devices that it has drivers for."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.disks import convert
from aibemu.disks.guestfs import GuestFiles, find_root
from aibemu.images import BaseImage
from aibemu.images.linux_look import newest_kernel
from aibemu.processes import find_program
from tests.e2e.lab import COLD, PROVIDERS, Base, Build, aibemu, answer, fresh_home, left_over
from tests.unit.images.initramfs_files import filtered, unpacked

pytestmark = pytest.mark.vm

ALIAS = "acme:hardened:gen2:1.0.0"
# What the machine is made of, as the guest sees it; then a deprovision script that needs no agent.
LOOK = [
    "readlink -f /sys/class/block/$(findmnt -no SOURCE / | sed 's,/dev/,,')",
    "test -d /sys/firmware/efi && echo UEFI",
    "echo 'cloud-init clean --logs; rm -f /etc/ssh/ssh_host_*; sync' > /tmp/DeprovisioningScript.sh",
]


def hardened(base: BaseImage, folder: Path) -> Path:
    """The base image, without an agent, and without virtio in its initramfs."""
    raw, initramfs = folder / "hardened.raw", folder / "initramfs"
    convert.to_raw(convert.info(base.path, deadline=forever(), format="qcow2"), raw, deadline=forever())
    root = find_root(raw, forever())
    assert root is not None
    with GuestFiles(raw, root.start, deadline=forever()) as files:
        name = f"/boot/initrd.img-{newest_kernel(files)}"
        assert files.copy(name, initramfs, most=1 << 28)
    archive = unpacked(initramfs.read_bytes())
    (folder / "new").write_bytes(gzip.compress(filtered(archive, lambda one: "virtio" not in one), 1))
    commands = folder / "commands"
    commands.write_text(
        f"rm /usr/sbin/waagent\nrm /etc/systemd/system/multi-user.target.wants/walinuxagent.service\nrm {name}\n"
        f'write "{folder / "new"}" {name}\n'
    )
    disk = f"{raw}?offset={root.start}"
    subprocess.run([find_program("debugfs"), "-w", "-f", commands, disk], check=True, stdout=subprocess.DEVNULL)
    return raw


def template(*inline: str) -> str:
    """A template that starts from the image."""
    publisher, offer, sku, version = ALIAS.split(":")
    image = {"type": "PlatformImage", "publisher": publisher, "offer": offer, "sku": sku, "version": version}
    target = {
        "type": "ManagedImage", "imageId": f"{PROVIDERS}/Microsoft.Compute/images/hardened", "location": "westeurope",
        "runOutputName": "hardened",
    }  # fmt: skip
    identity: dict[str, object] = {f"{PROVIDERS}/Microsoft.ManagedIdentity/userAssignedIdentities/build": {}}
    return json.dumps({
        "name": "hardened", "location": "westeurope",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": identity},
        "properties": {
            "source": image, "vmProfile": {"vmSize": "Standard_DS1_v2"}, "distribute": [target],
            "customize": [{"type": "Shell", "name": "Look", "inline": list(inline)}],
        },
    })  # fmt: skip


def test_without_virtio_in_its_initramfs_and_without_an_agent(
    tmp_path: Path, base: Base, base_image: BaseImage
) -> None:
    home = fresh_home(tmp_path / "home", base)
    seen = answer(home, "images", "import", hardened(base_image, tmp_path), "--generation", "V2", "--alias", ALIAS)
    assert (seen["osName"], seen["generation"]) == ("Debian GNU/Linux 12 (bookworm)", "V2")
    assert seen["generations"] == ["V2", "V1"] and seen["generalized"] and seen["provisioning"] == "azure"
    facts, drivers = seen["linux"], seen["linux"]["drivers"]
    assert facts["agents"] == [] and facts["cloudInit"].startswith("cloud-init 2") and facts["init"] == "systemd"
    assert (drivers["disks"], drivers["unread"]) == (["nvme", "ide"], "")
    assert {"virtio-scsi", "virtio-blk"} <= set(drivers["loadable"]) and "virtio-net" in drivers["nics"]

    file = tmp_path / "t.json"
    file.write_text(template("echo hello"))
    planned = aibemu(home, "plan", file, "--output", "json")
    assert json.loads(planned.stdout)["data"]["machine"]["disk"] == "nvme"
    assert "has no Azure agent (waagent)" in planned.stderr and "status 127" in planned.stderr

    file.write_text(template(*LOOK))
    run = Build(home, [file, *COLD], tmp_path / "run")
    try:
        assert run.wait() == 0, run.stdout + run.stderr
        disk, firmware = run.lines("c1")[:2]
        assert "/nvme" in disk and firmware == "UEFI"
        assert "status 127" not in run.stderr
        notes = [event["message"] for event in run.events("notice")]
        assert any(note.startswith("its disk is nvme: kernel 6.") for note in notes)
        assert left_over(home) == []
    finally:
        run.close()
