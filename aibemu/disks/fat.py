"""FAT file systems in files, by dosfstools and mtools: no root, no mounts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from aibemu.clock import forever
from aibemu.files import make_folder, replacing, write_bytes
from aibemu.processes import run_tool

# Seconds that a program may take; each takes some milliseconds.
_MOST = 60.0


def write_fat32(target: Path, size: int, label: str, files: Mapping[str, bytes], work: Path) -> None:
    """Make `target`, a FAT32 of `size` bytes without a partition table, with `files` by their path with slashes.

    work: a folder for what mcopy copies; private, as `target` is, for it may be secret. `HostNotReady` without the
    programs, `ToolFailed` when one of them fails.
    """
    for name, content in files.items():
        make_folder((work / name).parent, mode=0o700)
        write_bytes(work / name, content, mode=0o600)
    tops = sorted({name.partition("/")[0] for name in files})
    # mtools would refuse a size that is no multiple of an imagined track; and a person's own file says how it behaves.
    environment = os.environ | {"MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": os.devnull}
    with replacing(target) as temporary:
        temporary.touch(mode=0o600)
        os.truncate(temporary, size)
        run_tool(["mkfs.vfat", "-F", "32", "-n", label, temporary], deadline=forever(), seconds=_MOST)
        copy: list[str | Path] = ["mcopy", "-s", "-i", temporary, *(work / name for name in tops), "::/"]
        run_tool(copy, deadline=forever(), env=environment, seconds=_MOST)
