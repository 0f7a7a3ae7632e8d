"""A root file system from a tar, made into a disk that a BIOS boots; no root, no loop devices, no mounts.

Layout: MBR, GRUB's core image in the gap after it, one ext4 partition from 1 MiB to the end of the disk.
`mke2fs -d` fills the file system from a folder, at an offset in the disk file; the folder needs the right owners, so an
ordinary user unpacks and fills inside mmdebstrap's user namespace (facts: host, "The offline base image").
"""

from __future__ import annotations

import os
import secrets
import struct
import tarfile
from pathlib import Path
from uuid import UUID

from aibemu.clock import Deadline
from aibemu.errors import BuildError
from aibemu.processes import run_tool

OFFSET = 1024 * 1024
SECTOR = 512
LABEL = "root"

# The features of Debian 12's own mke2fs.conf. Newer ones switch on what its GRUB and fsck cannot read.
_MKE2FS_CONF = """\
[defaults]
 base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
 default_mntopts = acl,user_xattr
 enable_periodic_fsck = 0
 blocksize = 4096
 inode_size = 256
 inode_ratio = 16384
[fs_types]
 ext4 = {
  features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
 }
"""

# /dev is devtmpfs in the guest, and mknod is not allowed in a user namespace. Nothing survives in the folder: it may
# belong to an id that the caller cannot delete.
_FILL = """\
set -e
umask 022
trap 'rm -rf tree' EXIT
trap 'exit 143' TERM INT
mkdir tree
tar -C tree --numeric-owner --exclude='./dev/*' -xf rootfs.tar
MKE2FS_CONFIG=mke2fs.conf mke2fs -q -F -t ext4 -L "$1" -U "$2" -E "offset=$3,lazy_itable_init=1" -d tree disk.raw "$4"
"""


def make_disk(work: Path, *, size: int, uuid: UUID, deadline: Deadline) -> Path:
    """Turn `work/rootfs.tar` into `work/disk.raw` of `size` bytes; returns its path.

    The tar holds GRUB's boot.img and core.img under /boot/grub/i386-pc. `work` becomes writable for everybody while
    it lasts (the mapped root of the user namespace writes there), so its parent must not be.
    """
    disk = work / "disk.raw"
    with disk.open("wb") as stream:
        stream.truncate(size)
    (work / "mke2fs.conf").write_text(_MKE2FS_CONF)
    blocks = (size - OFFSET) // 4096
    script = ["sh", "-c", _FILL, "fill", LABEL, str(uuid), str(OFFSET), str(blocks)]
    env = os.environ | {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    if os.geteuid() == 0:
        run_tool(script, deadline=deadline, cwd=work, env=env)
    else:
        for path, mode in ((work, 0o777), (disk, 0o666), (work / "rootfs.tar", 0o644)):
            path.chmod(mode)
        # A relative path from the working directory: the folders above it may be closed to the mapped root.
        run_tool(["mmdebstrap", "--unshare-helper", *script], deadline=deadline, cwd=work, env=env)
        work.chmod(0o700)
    boot, core = _grub(work / "rootfs.tar")
    _write_mbr(disk, boot, core, size)
    return disk


def _grub(tar: Path) -> tuple[bytes, bytes]:
    """(boot.img, core.img) from the tar."""
    found: dict[str, bytes] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if name in ("boot/grub/i386-pc/boot.img", "boot/grub/i386-pc/core.img"):
                stream = archive.extractfile(member)
                found[Path(name).name] = stream.read() if stream else b""
    if len(found) != 2:
        raise BuildError("GRUB is not in the image", hint="the recipe's packages need grub-pc-bin and grub2-common")
    return found["boot.img"], found["core.img"]


def _write_mbr(disk: Path, boot: bytes, core: bytes, size: int) -> None:
    """Boot code, disk signature, one active Linux partition; core image from sector 1 on, where boot.img expects it."""
    if len(core) > OFFSET - SECTOR:
        raise BuildError(f"GRUB's core image has {len(core)} bytes and does not fit before the first partition")
    first, count = OFFSET // SECTOR, (size - OFFSET) // SECTOR
    # Cylinders, heads and sectors: the fixed values that mean "look at the sector numbers instead".
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", first, count)
    signature = secrets.token_bytes(4)
    table = signature + b"\0\0" + entry + bytes(48) + b"\x55\xaa"
    with disk.open("r+b") as stream:
        stream.write(boot[:440] + table)
        stream.write(core)
