"""Where unix sockets go. Their paths end at 107 bytes; run directories may be deeper.

Short enough: in the directory of what they belong to. Else: in a private folder with a short, unguessable name, which
the owner's record holds before it is made.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from aibemu.errors import HostNotReady

LONGEST = 107  # bytes: sizeof(sun_path) less the final NUL


def socket_directory(directory: Path, name: str) -> Path:
    """The folder for sockets, `name` being the longest of their names: `directory`, or one that is not made yet."""
    if fits(directory / name):
        return directory
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    for parent in (Path(runtime) if runtime else None, Path("/tmp")):
        if parent and parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            short = parent / f"aibemu-{secrets.token_hex(6)}"
            if fits(short / name):
                return short
    raise HostNotReady(
        f"there is no place for a unix socket: {directory} is too deep and /tmp cannot be written",
        hint="set AIBEMU_HOME to a folder with a short path",
    )


def fits(path: Path) -> bool:
    """Whether `path` can be a unix socket's address."""
    return len(os.fsencode(path)) <= LONGEST


def make_socket_directory(directory: Path) -> None:
    """Make it, for this user only. It must not exist: in /tmp, whoever made it first could be anybody."""
    directory.mkdir(mode=0o700)


def remove_socket_directory(directory: Path, owner: Path) -> None:
    """Remove it if it is one of ours outside of its owner's own directory."""
    if directory != owner and directory.name.startswith("aibemu-") and not directory.is_symlink():
        shutil.rmtree(directory, ignore_errors=True)
