"""Disks that tests make from others, kept beside the base image as long as nothing changes of what they are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from aibemu.files import FileLock, remove


def kept_disk(folder: Path, content: str, make: Callable[[Path], Path]) -> Path:
    """The qcow2 in `folder` that is made of `content`; those of other content go. make(scratch): makes it, in a folder
    of its own, when there is none."""
    target = folder / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.qcow2"
    lock = folder / "lock"
    with FileLock(lock):
        if target.exists():
            return target
        for path in folder.iterdir():
            if path != lock:
                remove(path)
        with TemporaryDirectory(dir=folder) as name:
            made = make(Path(name))
            made.chmod(0o444)
            made.replace(target)
    return target
