"""Whether the root file system has all of its disk: `osDiskSizeGB` makes the disk larger, the guest has to grow it."""

from __future__ import annotations

from collections.abc import Iterator

from aibemu.disks.system_files import SystemFiles
from aibemu.hypervisor import Level
from aibemu.reading import in_words
from aibemu.systems.findings import GeneralizeFinding

# Bytes that nobody misses: partitions begin and end at round places.
_LEAST = 256 << 20
_ON_PARTITION = "cloud-init does it at the first boot (growpart, resize_rootfs); this system has not"
_ON_LVM = "cloud-init grows no logical volume"


def unused(files: SystemFiles) -> Iterator[GeneralizeFinding]:
    """A note where a large part of the disk is in no partition, or the root file system leaves some of its own free."""
    root, logical = files.volume.in_words, files.volume.partition is None
    if files.free >= _LEAST:
        where = f"{in_words(files.free)} at the end of the disk are in no partition"
        grow = "growpart, pvresize, lvextend --resizefs" if logical else "growpart, resize2fs or xfs_growfs"
    elif files.volume.size - files.volume.used >= _LEAST:
        where = (
            f"the root file system takes {in_words(files.volume.used)} of the {in_words(files.volume.size)} that it has"
        )
        grow = "resize2fs, xfs_growfs or btrfs filesystem resize"
    else:
        return
    why = _ON_LVM if logical else _ON_PARTITION
    yield GeneralizeFinding(
        level=Level.NOTE, check="the root file system has the whole disk", problem="part of the disk is not used",
        message=f"{where} (the root is {root})", azure=f"the same there: {why}",
        fix=f"grow it in the first customizer: {grow}",
        said=f"{where}: the root file system ({root}) did not grow, and does not in Azure: {why}",
    )  # fmt: skip
