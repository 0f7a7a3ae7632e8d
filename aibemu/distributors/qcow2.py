"""`--also qcow2`: the finished disk as one qcow2 file without backing file, beside whatever the target is."""

from __future__ import annotations

from pathlib import Path

from aibemu.clock import Deadline
from aibemu.disks.convert import ensure_space, flush, info, needed, to_qcow2
from aibemu.files import make_folder, replacing


def write_qcow2(disk: Path, target: Path, *, compressed: bool, deadline: Deadline) -> None:
    """Write the qcow2 `disk` (backing files included) to `target`; `compressed` with zstd.

    Raises `ToolFailed`, `HostNotReady` when there is no room, and what `deadline` raises; then `target` is as it was.
    """
    source = info(disk, deadline=deadline, format="qcow2")
    make_folder(target.parent)
    ensure_space(target.parent, needed(source, deadline=deadline), f"the qcow2 image {target.name}")
    with replacing(target) as partial:
        to_qcow2(source, partial, compressed_zstd=compressed, deadline=deadline)
        flush(partial, deadline=deadline)
        deadline.check()
