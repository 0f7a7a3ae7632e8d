"""Packer's own qemu builder on aibemu's base image, made generic: its template, a run of it, what came out.

Written for packer 1.6.6, the last one in Debian, whose qemu builder is built in; `packer` and `qemu` plugins of later
versions read the same template. The guest gets user and key from a NoCloud seed, as aibemu's own does with this image.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibemu.communicators.ssh.keys import generate
from aibemu.fabric.identity import Identity, fresh_identity
from aibemu.systems.linux.seed import write_seed
from tests.bench.work import DEPROVISION, UPLOAD, USER, Step

NAME = "parity"
# The address that QEMU gives a machine's first NIC, and so Packer's.
MAC = "52:54:00:12:34:56"
_OUTPUT = re.compile(rf"^ {{4}}{NAME}(?:\.{NAME})?: (.*)$|^ {{4}}{NAME}:()$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """How Packer shall run its guest. disk_bytes: virtual size.

    Packer copies the base: its `use_backing_file` fails with QEMU 6.1 and newer ("without backing format").
    """

    base: Path
    disk_bytes: int
    accelerator: str
    cpus: int = 2
    memory_mib: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PackerRun:
    """What a run of Packer gave: exit status, all it said, seconds, and the disk (None when it failed)."""

    status: int
    log: str
    seconds: float
    disk: Path | None

    def lines(self) -> list[str]:
        """What the guest printed: Packer indents it and puts the builder's name before it."""
        return ["".join(filter(None, m.groups())) for text in self.log.splitlines() if (m := _OUTPUT.match(text))]


# Wait for cloud-init, then end the own login. Packer makes a new one for the next step.
SETTLE = {
    "type": "shell", "expect_disconnect": True, "skip_clean": True,
    "inline": [
        "cloud-init status --wait >/dev/null || true",
        "pid=$PPID",
        'until [ "$(cat /proc/$pid/comm)" = sshd ]; do pid=$(cut -d " " -f 4 /proc/$pid/stat); done',
        'rm -f -- "$0"',
        "sudo -n kill $pid",
        "sleep 60",
    ],
}  # fmt: skip


def find() -> Path | None:
    """The packer on PATH, if it is HashiCorp's (another program has this name too) and can build with qemu."""
    path = shutil.which("packer")
    if path is None:
        return None
    version = subprocess.run([path, "version"], capture_output=True, text=True, check=False, env=environment())
    return Path(path) if version.returncode == 0 and version.stdout.startswith("Packer v1.") else None


def environment() -> dict[str, str]:
    """No look for newer versions, no colour, no log of its own, no settings of the caller's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PACKER_", "PKR_"))}
    return kept | {"CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"}


def template(folder: Path, machine: Machine, steps: Sequence[Step], upload: Path, *, settle: bool = False) -> Path:
    """Write template, key and seed into `folder`; the template's path. settle: log in anew once cloud-init has ended,
    as aibemu does; without it, it depends on the host's load whether Packer's login has a locale."""
    key = generate(folder)
    identity = _identity()
    write_seed(folder / "seed.iso", identity, key.public_line)
    builder = {
        "type": "qemu", "name": NAME,
        "iso_url": str(machine.base), "iso_checksum": "none", "disk_image": True,
        "skip_compaction": True, "format": "qcow2",
        "disk_size": f"{machine.disk_bytes // 2**20}M", "disk_interface": "virtio", "net_device": "virtio-net",
        "accelerator": machine.accelerator, "cpus": machine.cpus, "memory": machine.memory_mib, "headless": True,
        "output_directory": str(folder / "output"), "vm_name": "disk.qcow2",
        "qemuargs": [["-cdrom", str(folder / "seed.iso")]],
        "boot_wait": "1s", "ssh_username": USER, "ssh_private_key_file": str(key.private), "ssh_timeout": "10m",
        "shutdown_command": f"sudo -n sh -c '{DEPROVISION}; systemctl poweroff'", "shutdown_timeout": "5m",
    }  # fmt: skip
    target = folder / "packer.json"
    provisioners = [*([SETTLE] if settle else []), *(provisioner(step, upload) for step in steps)]
    target.write_text(json.dumps({"builders": [builder], "provisioners": provisioners}, indent=1))
    return target


def provisioner(step: Step, upload: Path) -> dict[str, Any]:
    """A step in Packer's words. Lines may not hold `{{`, which is Packer's own template language."""
    if step.upload:
        return {"type": "file", "source": str(upload), "destination": UPLOAD}
    return {"type": "shell", "inline": list(step.lines)}


def _identity() -> Identity:
    made = fresh_identity(USER, random.Random())
    return Identity(hostname=made.hostname, user=made.user, vm_id=made.vm_id, mac=MAC)


def validate(packer: Path, path: Path) -> str:
    """What `packer validate` has against the template; an empty text if nothing."""
    argv = [str(packer), "validate", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment(), cwd=path.parent)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def build(packer: Path, path: Path, *, bound: float) -> PackerRun:
    """Run `packer build` for at most `bound` seconds; it and its QEMU are ended together when that is over."""
    argv = [str(packer), "build", "-color=false", str(path)]
    log = path.with_suffix(".log")
    started = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            env=environment() | {"PACKER_CACHE_DIR": str(path.parent / "cache"), "TMPDIR": str(path.parent)},
            cwd=path.parent, start_new_session=True,
        )  # fmt: skip
        try:
            status = process.wait(bound)
        except BaseException:
            os.killpg(process.pid, 15)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
            raise
    disk = path.parent / "output" / "disk.qcow2"
    return PackerRun(
        status=status, log=log.read_text(errors="replace"), seconds=time.monotonic() - started,
        disk=disk if disk.exists() else None,
    )  # fmt: skip
