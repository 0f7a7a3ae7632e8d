"""The offline base image in a plain QEMU, without aibemu's driver and platform: one boot, one reboot.

Only Azure's platform provisions it, so what boots is its generic variant: one file of cloud-init's differs. The tests
of this file share one machine and run in the order they are written in; the reboot is the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.disks.guestfs import GuestFiles
from aibemu.images import BaseImage, Generation, Provisioning
from tests.e2e.lab import PlainMachine, run

pytestmark = pytest.mark.vm

GIB = 1024**3


@pytest.fixture(scope="module")
def guest(generic_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainMachine]:
    """On a disk that is larger than the image."""
    folder = tmp_path_factory.mktemp("base")
    overlay = folder / "overlay.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", generic_image, overlay, "6G")
    machine = PlainMachine(overlay, "qcow2", folder, "first")
    try:
        machine.connect()
        yield machine
    finally:
        machine.close()


def test_it_is_stored_as_what_it_is(base_image: BaseImage, tmp_path: Path) -> None:
    info = base_image.info
    assert (info.os_type, info.os_name) == ("Linux", "Debian GNU/Linux 12 (bookworm)")
    assert (info.generation, info.provisioning, info.generalized) == (Generation.V1, Provisioning.AZURE, True)
    assert base_image.virtual_size == 4 * GIB
    assert base_image.file_size < GIB
    assert base_image.path.stat().st_mode & 0o222 == 0


def test_it_is_generalised(base_image: BaseImage, tmp_path: Path) -> None:
    files = GuestFiles.open_disk(base_image.path, "qcow2", tmp_path, forever())
    assert files is not None
    with files:
        assert files.read("/etc/machine-id") == ""
        assert [name for name in files.list("/etc/ssh") or [] if name.startswith("ssh_host_")] == []
        (root,) = (line for line in (files.read("/etc/shadow") or "").splitlines() if line.startswith("root:"))
        assert root.split(":")[1][:1] in ("!", "*")
        assert not any(":1000:" in line for line in (files.read("/etc/passwd") or "").splitlines())
        for folder in ("/home", "/var/lib/cloud", "/var/lib/waagent", "/dev"):
            assert files.list(folder) in ([], None), folder
        assert [name for name in files.list("/root") or [] if "aibemu" in name] == []
        assert "99mmdebstrap" not in (files.list("/etc/apt/apt.conf.d") or [])


def test_first_boot_ends_well(guest: PlainMachine) -> None:
    assert "status: done" in guest.ok("cloud-init status --wait")
    assert guest.ok("systemctl is-system-running --wait") == "running"
    assert guest.ok("hostname") == "first"
    assert "NoCloud" in guest.ok("cloud-init query cloud_name platform subplatform; cloud-init status --long")


def test_the_file_system_has_grown_with_the_disk(guest: PlainMachine) -> None:
    assert int(guest.ok("df --output=size -B1 / | tail -1")) > 5.5 * GIB


def test_the_agent_is_there_and_keeps_quiet(guest: PlainMachine) -> None:
    assert guest.ok("sudo waagent -version").startswith("WALinuxAgent-")
    assert guest.ok("grep ^Provisioning.Agent /etc/waagent.conf") == "Provisioning.Agent=cloud-init"
    assert guest.ok("systemctl is-enabled walinuxagent") == "enabled"
    assert guest.run("systemctl is-active walinuxagent") == (3, "inactive")


def test_package_sources_are_there(guest: PlainMachine) -> None:
    sources = guest.ok("cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; true")
    assert any(line.startswith("deb ") and " bookworm main" in line for line in sources.splitlines()), sources


def test_grub_cfg_is_what_the_guest_itself_writes(guest: PlainMachine) -> None:
    guest.ok("sudo cp /boot/grub/grub.cfg /tmp/built.cfg && sudo update-grub")
    assert guest.ok("sudo diff /tmp/built.cfg /boot/grub/grub.cfg") == ""
    assert guest.ok("dpkg-divert --list '*grub*'") == ""


def test_a_kernel_update_would_take_effect(guest: PlainMachine) -> None:
    """What a kernel package runs (the hook) must change what the next boot starts."""
    guest.ok("sudo sed -i 's/consoleblank=0/consoleblank=0 aibemu.test=1/' /etc/default/grub")
    guest.ok("sudo env DEB_MAINT_PARAMS=configure /etc/kernel/postinst.d/zz-update-grub $(uname -r)")
    before = guest.boot_id()
    guest.reboot()
    assert guest.boot_id() != before
    assert "aibemu.test=1" in guest.ok("cat /proc/cmdline").split()
    assert guest.ok("systemctl is-system-running --wait") == "running"
