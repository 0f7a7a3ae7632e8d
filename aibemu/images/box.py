"""An image as a box for Vagrant (provider libvirt): a tar of the disk as qcow2, what it is, and a Vagrantfile.

Vagrant logs in as the user `vagrant` with a key that everybody knows, and puts one of its own in its place at the first
`vagrant up`. An image for Azure has no such user, and must not have it. So the copy in the box gets one file more: a
configuration of cloud-init that adds the user and asks no platform for anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.disks import convert
from aibemu.disks.guestfs import GuestFiles, find_root
from aibemu.errors import AibemuError, UsageError
from aibemu.files import replacing
from aibemu.processes import run_tool

_GIB = 1024**3
_FOLDER, _NAME = "/etc/cloud/cloud.cfg.d", "zz-vagrant.cfg"  # read after the others there: what it says counts
LOGIN_FILE = f"{_FOLDER}/{_NAME}"
# Vagrant's own (keys/vagrant.pub of its package): no secret, and no use once Vagrant has replaced it.
KEY = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1Y"
    "eS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6"
    "kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbE"
    "gE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key"
)
LOGIN = f"""\
#cloud-config
# Added by `aibemu outputs --box` to the disk in the box; the image that was built does not have it.
datasource_list: [ None ]
preserve_hostname: true
users:
  - name: vagrant
    shell: /bin/bash
    lock_passwd: true
    sudo: "ALL=(ALL) NOPASSWD:ALL"
    ssh_authorized_keys:
      - {KEY}
"""
_DIRTY = "needs_recovery"  # a feature of ext that is there between a mount and its end
# Vagrant's own default folder needs NFS or rsync on both sides.
VAGRANTFILE = """\
Vagrant.configure("2") do |config|
  config.vm.synced_folder ".", "/vagrant", disabled: true
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """path: the file; size: its bytes; no_login: why Vagrant's user was not added, as a sentence, or ""."""

    path: Path
    size: int
    no_login: str = ""


def make_box(disk: Path, target: Path, scratch: Path, *, deadline: Deadline, say: Callable[[str], None]) -> Box:
    """Write the box of `disk`, which is only read, to `target`; what was there is replaced once the new one is whole.

    scratch: a folder for the copy. Raises UsageError when `target` cannot be written or `disk` is no image,
    HostNotReady without room or a tool, and what `deadline` raises.
    """
    _check_target(target)
    facts = convert.info(disk, deadline=deadline)
    size = convert.needed(facts, deadline=deadline)
    convert.ensure_space(scratch, 2 * size, "making the box")
    raw, image = scratch / "disk.raw", scratch / "box.img"
    say(f"copying {disk.name} ({facts.virtual_size / _GIB:g} GiB)")
    convert.to_raw(facts, raw, deadline=deadline)
    no_login = _add_login(raw, scratch, deadline)
    say("compressing it")
    convert.to_qcow2(raw, image, compressed_zstd=True, deadline=deadline)
    raw.unlink()
    convert.ensure_space(target.parent, image.stat().st_size, f"the box {target}")
    with replacing(target) as temporary:
        _pack(temporary, image, facts.virtual_size, deadline)
    return Box(path=target, size=target.stat().st_size, no_login=no_login)


def _check_target(target: Path) -> None:
    """Before minutes are spent on what cannot be written."""
    hint = "name a file in a folder that is there: --box image.box"
    if target.is_dir():
        raise UsageError(f"--box {target} is a folder", hint=hint)
    if not target.parent.is_dir():
        raise UsageError(f"--box {target}: there is no folder {target.parent}", hint=hint)


def _add_login(raw: Path, scratch: Path, deadline: Deadline) -> str:
    """Put `LOGIN` on the disk, by debugfs: no root, no mount. "", or why it could not be done."""
    if (root := find_root(raw, deadline)) is None:
        return "its root file system is not ext2, ext3 or ext4"
    with GuestFiles(raw, root.start, deadline=deadline) as files:
        if files.list(_FOLDER) is None:
            return "it has no cloud-init"
    system = f"{raw}?offset={root.start}"
    if _DIRTY in run_tool(["debugfs", "-R", "features", system], deadline=deadline).stdout:
        return "its file system was not closed by a shutdown"  # what is written now would be undone at its next mount
    ours, script = scratch / _NAME, scratch / "commands"
    ours.write_text(LOGIN, encoding="utf-8")
    ours.chmod(0o644)  # debugfs gives the new file the mode of this one, and to root
    # A box may be made of what was built from the image of a box.
    script.write_text(f"cd {_FOLDER}\nrm {_NAME}\nwrite {_NAME} {_NAME}\n", encoding="utf-8")
    run_tool(["debugfs", "-w", "-f", script, system], deadline=deadline, cwd=scratch)
    with GuestFiles(raw, root.start, deadline=deadline) as files:  # debugfs ends with 0 whatever happened
        if files.read(LOGIN_FILE) != LOGIN:
            raise AibemuError(f"debugfs could not write {LOGIN_FILE} to the copy of the disk")
    return ""


def _pack(target: Path, image: Path, virtual_size: int, deadline: Deadline) -> None:
    """The tar that Vagrant takes, of `image` and what is written beside it. virtual_size (bytes): of the disk;
    vagrant-libvirt wants whole GiB and makes the machine's disk as large."""
    facts = {"provider": "libvirt", "format": "qcow2", "virtual_size": -(-virtual_size // _GIB)}
    folder = image.parent
    (folder / "metadata.json").write_text(f"{json.dumps(facts)}\n", encoding="utf-8")
    (folder / "Vagrantfile").write_text(VAGRANTFILE, encoding="utf-8")
    words: list[str | Path] = ["tar", "--create", "--owner=0", "--group=0", "--mode=0644", "--file", target]
    run_tool([*words, "--directory", folder, "metadata.json", "Vagrantfile", image.name], deadline=deadline)
