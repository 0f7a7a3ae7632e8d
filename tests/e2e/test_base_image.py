"""The offline base image in a plain QEMU, without aibemu's driver and platform: one boot, one reboot.

Only Azure's platform provisions it, so what boots is its generic variant: one file of cloud-init's differs. The tests
of this file share one machine and run in the order they are written in; the reboot is the last.
"""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import forever
from aibemu.disks.guestfs import GuestFiles
from aibemu.images import BaseImage, Generation, Provisioning

pytestmark = pytest.mark.vm

BOUND = 900.0  # seconds to SSH; 40 to 120 without hardware acceleration on an idle host
GIB = 1024**3


@dataclass
class Guest:
    """A running machine; `run` gives (exit status, output of both streams)."""

    port: int
    key: Any
    console: Path
    process: subprocess.Popen[bytes]
    client: Any = None

    def connect(self) -> None:
        import paramiko

        ends = time.monotonic() + BOUND
        while True:
            assert self.process.poll() is None, "QEMU ended"
            client = paramiko.SSHClient()
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            try:
                client.connect(
                    "127.0.0.1", self.port, "tester", pkey=self.key, allow_agent=False, look_for_keys=False,
                    timeout=10, banner_timeout=60, auth_timeout=60,
                )  # fmt: skip
            except (OSError, EOFError, paramiko.SSHException):
                client.close()
                assert time.monotonic() < ends, self.console.read_text(errors="replace")[-2000:]
                time.sleep(1)
                continue
            self.client = client
            return

    def run(self, command: str) -> tuple[int, str]:
        _, stdout, _ = self.client.exec_command(f"exec 2>&1; {command}", timeout=BOUND)
        text = stdout.read().decode()
        return stdout.channel.recv_exit_status(), text.strip()

    def ok(self, command: str) -> str:
        status, text = self.run(command)
        assert status == 0, f"{command}: {status}\n{text}"
        return text


@pytest.fixture(scope="module")
def guest(generic_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    import paramiko

    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("qemu-system-x86_64 is not installed")
    folder = tmp_path_factory.mktemp("base")
    key = paramiko.ECDSAKey.generate()
    seed(folder / "seed.iso", f"{key.get_name()} {key.get_base64()}")
    overlay, console = folder / "overlay.qcow2", folder / "console.log"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", generic_image, overlay, "6G"], check=True
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            "qemu-system-x86_64", "-machine", "pc", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024",
            "-display", "none", "-serial", f"file:{console}", "-device", "virtio-scsi-pci",
            "-drive", f"if=none,id=disk,file={overlay},format=qcow2,discard=unmap", "-device", "scsi-hd,drive=disk",
            "-drive", f"if=none,id=cd,file={folder / 'seed.iso'},format=raw,readonly=on", "-device", "scsi-cd,drive=cd",
            "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "virtio-net-pci,netdev=net",
            "-device", "virtio-rng-pci",
        ],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    machine = Guest(port=port, key=key, console=console, process=process)
    try:
        machine.connect()
        yield machine
    finally:
        process.kill()
        process.wait()


def seed(target: Path, public_key: str) -> None:
    """A NoCloud CD that makes one user."""
    import pycdlib

    user = "#cloud-config\nusers:\n  - name: tester\n    sudo: ALL=(ALL) NOPASSWD:ALL\n    shell: /bin/bash\n"
    user += f"    ssh_authorized_keys: ['{public_key}']\n"
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, rock_ridge="1.09", joliet=3, vol_ident="cidata")
    for name, text in (("user-data", user), ("meta-data", "instance-id: i-1\nlocal-hostname: first\n")):
        data = text.encode()
        iso.add_fp(io.BytesIO(data), len(data), f"/{name[:4].upper()}.;1", rr_name=name, joliet_path=f"/{name}")
    iso.write(str(target))
    iso.close()


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


def test_first_boot_ends_well(guest: Guest) -> None:
    assert "status: done" in guest.ok("cloud-init status --wait")
    assert guest.ok("systemctl is-system-running --wait") == "running"
    assert guest.ok("hostname") == "first"
    assert "NoCloud" in guest.ok("cloud-init query cloud_name platform subplatform; cloud-init status --long")


def test_the_file_system_has_grown_with_the_disk(guest: Guest) -> None:
    assert int(guest.ok("df --output=size -B1 / | tail -1")) > 5.5 * GIB


def test_the_agent_is_there_and_keeps_quiet(guest: Guest) -> None:
    assert guest.ok("sudo waagent -version").startswith("WALinuxAgent-")
    assert guest.ok("grep ^Provisioning.Agent /etc/waagent.conf") == "Provisioning.Agent=cloud-init"
    assert guest.ok("systemctl is-enabled walinuxagent") == "enabled"
    assert guest.run("systemctl is-active walinuxagent") == (3, "inactive")


def test_package_sources_are_there(guest: Guest) -> None:
    sources = guest.ok("cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; true")
    assert any(line.startswith("deb ") and " bookworm main" in line for line in sources.splitlines()), sources


def test_grub_cfg_is_what_the_guest_itself_writes(guest: Guest) -> None:
    guest.ok("sudo cp /boot/grub/grub.cfg /tmp/built.cfg && sudo update-grub")
    assert guest.ok("sudo diff /tmp/built.cfg /boot/grub/grub.cfg") == ""
    assert guest.ok("dpkg-divert --list '*grub*'") == ""


def test_a_kernel_update_would_take_effect(guest: Guest) -> None:
    """What a kernel package runs (the hook) must change what the next boot starts."""
    guest.ok("sudo sed -i 's/consoleblank=0/consoleblank=0 aibemu.test=1/' /etc/default/grub")
    guest.ok("sudo env DEB_MAINT_PARAMS=configure /etc/kernel/postinst.d/zz-update-grub $(uname -r)")
    before = guest.ok("cat /proc/sys/kernel/random/boot_id")
    guest.run("sudo systemctl reboot")
    guest.client.close()
    time.sleep(10)
    guest.connect()
    assert guest.ok("cat /proc/sys/kernel/random/boot_id") != before
    assert "aibemu.test=1" in guest.ok("cat /proc/cmdline").split()
    assert guest.ok("systemctl is-system-running --wait") == "running"
