"""A root file system from a tar, made into a disk that BIOS and UEFI boot; no root, no loop devices, no mounts.

The layout is that of Debian's cloud images: a GPT, GRUB's core image for BIOS in p14, the EFI system partition p15 with
what the tar has below /boot/efi, and last the root, p1, which so can grow. `mke2fs -d` fills it from a folder, at an
offset in the disk file; the folder needs the right owners, so an ordinary user unpacks and fills inside mmdebstrap's
user namespace (facts: host, "The offline base image").
"""

from __future__ import annotations

import os
import shutil
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

from aibemu.clock import Deadline
from aibemu.disks.partitions import BIOS_BOOT, EFI_SYSTEM, LINUX_ROOT, SECTOR, Partition
from aibemu.errors import BuildError
from aibemu.processes import run_tool

LABEL = "root"
PROGRAMS = ("mke2fs", "sfdisk", "mkfs.vfat", "mcopy")
_MIB = 1024 * 1024
BIOS = Partition(start=1 * _MIB, size=3 * _MIB, bios=True)
ESP = Partition(start=4 * _MIB, size=124 * _MIB, efi=True)
ROOT_START = 128 * _MIB
_TAIL = _MIB  # after the root: the copy of the GPT
_EFI_FOLDER = "boot/efi/"
_BOOT, _CORE = "boot/grub/i386-pc/boot.img", "boot/grub/i386-pc/core.img"
_BOOT_CODE = 440  # bytes; then the disk's signature and the MBR's table, which belong to sfdisk
# Where GRUB's first two stages look up the next one, both 64-bit sector numbers: GRUB_BOOT_MACHINE_KERNEL_SECTOR in
# boot.img, and the start of the first (here: only) list of blocks at the end of the core image's first sector.
_KERNEL_SECTOR = 0x5C
_BLOCK_LIST = 0x1F4

# The features of Debian 12's own mke2fs.conf. Newer ones switch on what its GRUB and fsck cannot read.
_MKE2FS_CONF = """\
[defaults]
 base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
 default_mntopts = acl,user_xattr
 enable_periodic_fsck = 0
 inode_size = 256
 inode_ratio = 16384
[fs_types]
 ext4 = {
  features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
 }
"""

# /dev is devtmpfs in the guest, and mknod is not allowed in a user namespace; /boot/efi is another partition. Nothing
# survives in the folder: it may belong to an id that the caller cannot delete. Without -b the size would be in KiB.
_FILL = """\
set -e
umask 022
trap 'rm -rf tree' EXIT
trap 'exit 143' TERM INT
mkdir tree
tar -C tree --numeric-owner --exclude='./dev/*' --exclude='./boot/efi/*' -xf rootfs.tar
export MKE2FS_CONFIG=mke2fs.conf
mke2fs -q -F -t ext4 -b 4096 -L "$1" -U "$2" -E "offset=$3,lazy_itable_init=1" -d tree disk.raw "$4"
"""


def make_disk(work: Path, *, size: int, uuid: UUID, deadline: Deadline) -> Path:
    """Turn `work/rootfs.tar` into `work/disk.raw` of `size` bytes; returns its path.

    uuid: of the root file system; that of the EFI system partition is `volume_id(uuid)`. The tar holds GRUB's boot.img
    and core.img under /boot/grub/i386-pc, and what UEFI starts in /boot/efi. `work` becomes writable for everybody
    while it lasts (the mapped root of the user namespace writes there), so its parent must not be.
    """
    disk = work / "disk.raw"
    with disk.open("wb") as stream:
        stream.truncate(size)
    found = _boot_files(work / "rootfs.tar")
    _write_table(work, disk, deadline)
    _fill_root(work, disk, uuid, deadline)
    _write_bios_grub(disk, found[_BOOT], found[_CORE])
    _write_esp(work, disk, found, uuid, deadline)
    return disk


def volume_id(uuid: UUID) -> str:
    """The id of the EFI system partition's FAT as /dev/disk/by-uuid has it, XXXX-XXXX, from that of the root."""
    return f"{uuid.hex[:4]}-{uuid.hex[4:8]}".upper()


def layout(size: int) -> str:
    """sfdisk's script for a disk of `size` bytes."""
    rows = [
        (14, BIOS.start, BIOS.size, BIOS_BOOT), (15, ESP.start, ESP.size, EFI_SYSTEM),
        (1, ROOT_START, root_size(size), LINUX_ROOT),
    ]  # fmt: skip
    lines = [
        f"{number} : start={start // SECTOR}, size={length // SECTOR}, type={kind}"
        for number, start, length, kind in rows
    ]
    return "\n".join(["label: gpt", "unit: sectors", *lines, ""])


def root_size(size: int) -> int:
    """Bytes of the root partition on a disk of `size` bytes; whole MiB."""
    if size < ROOT_START + 2 * _TAIL:
        raise ValueError(f"a disk of {size} bytes is too small")
    return (size - _TAIL - ROOT_START) // _MIB * _MIB


def _write_table(work: Path, disk: Path, deadline: Deadline) -> None:
    (work / "layout").write_text(layout(disk.stat().st_size))
    _run(["sh", "-c", 'sfdisk --quiet --no-reread "$1" < "$2"', "table", disk, work / "layout"], deadline)


def _fill_root(work: Path, disk: Path, uuid: UUID, deadline: Deadline) -> None:
    (work / "mke2fs.conf").write_text(_MKE2FS_CONF)
    blocks = root_size(disk.stat().st_size) // 4096
    script = ["sh", "-c", _FILL, "fill", LABEL, str(uuid), str(ROOT_START), str(blocks)]
    if os.geteuid() == 0:
        _run(script, deadline, cwd=work)
        return
    for path, mode in ((work, 0o777), (disk, 0o666), (work / "rootfs.tar", 0o644)):
        path.chmod(mode)
    # A relative path from the working directory: the folders above it may be closed to the mapped root.
    _run(["mmdebstrap", "--unshare-helper", *script], deadline, cwd=work)
    work.chmod(0o700)


def _run(argv: Sequence[str | Path], deadline: Deadline, *, cwd: Path | None = None) -> None:
    # mtools would refuse a file system whose size is no multiple of an imagined track.
    more = {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "MTOOLS_SKIP_CHECK": "1"}
    run_tool(argv, deadline=deadline, cwd=cwd, env=os.environ | more)


def _boot_files(tar: Path) -> dict[str, bytes]:
    """GRUB's two images for BIOS and all files below /boot/efi, from the tar; paths without the first slash."""
    found: dict[str, bytes] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if member.isfile() and (name in (_BOOT, _CORE) or name.startswith(_EFI_FOLDER)):
                stream = archive.extractfile(member)
                found[name] = stream.read() if stream else b""
    if not {_BOOT, _CORE} <= found.keys() or not any(name.startswith(_EFI_FOLDER) for name in found):
        raise BuildError(
            "GRUB is not in the image",
            hint="the recipe's packages need grub-pc-bin, grub-efi-amd64-bin and grub2-common",
        )
    return found


def _write_bios_grub(disk: Path, boot: bytes, core: bytes) -> None:
    """The boot code into the first sector, which keeps its table, and the core image into its partition."""
    if len(core) > BIOS.size:
        raise BuildError(f"GRUB's core image has {len(core)} bytes and does not fit into its partition")
    first = BIOS.start // SECTOR
    with disk.open("r+b") as stream:
        stream.write(_patched(boot, _KERNEL_SECTOR, first)[:_BOOT_CODE])
        stream.seek(BIOS.start)
        stream.write(_patched(core, _BLOCK_LIST, first + 1))


def _patched(code: bytes, at: int, sector: int) -> bytes:
    return code[:at] + struct.pack("<Q", sector) + code[at + 8 :]


def _write_esp(work: Path, disk: Path, found: Mapping[str, bytes], uuid: UUID, deadline: Deadline) -> None:
    """Make the FAT in a file of its own, for older versions of mkfs.vfat know no offsets, and copy what is not zero."""
    image, tree = work / "esp.img", work / "esp"
    for name, data in found.items():
        if name.startswith(_EFI_FOLDER):
            target = tree / name.removeprefix(_EFI_FOLDER)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    with image.open("wb") as stream:
        stream.truncate(ESP.size)
    _run(["mkfs.vfat", "-i", volume_id(uuid).replace("-", ""), image], deadline)
    _run(["mcopy", "-s", "-i", image, *sorted(tree.iterdir()), "::/"], deadline)
    with image.open("rb") as source, disk.open("r+b") as stream:
        for at in range(ESP.start, ESP.start + ESP.size, _MIB):
            if (block := source.read(_MIB)).strip(b"\0"):
                stream.seek(at)
                stream.write(block)
    image.unlink()
    shutil.rmtree(tree)
