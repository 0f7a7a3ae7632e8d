"""What a build asks of the folders of this host: said by `aibemu doctor`, and by a build before it starts.

Both ask here, so that they never say different things of one host.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from aibemu.errors import AibemuError, HostNotReady
from aibemu.hypervisor import Finding, Level
from aibemu.paths import Home
from aibemu.sockets import LONGEST, fits, socket_directory

GIB = 1024**3
# A build needs the overlay, the generalised disk and one output at once.
ENOUGH_SPACE = 10 * GIB
LEAST_SPACE = 3 * GIB
# The deepest socket of a run, below the folder of all runs; the name is longer than any.
DEEPEST_SOCKET = Path("12345678", "machines", "validate", "serial.sock")

# Bytes of the longest path that Linux takes; and what a run's files may need of them, below the folder of all runs:
# RUN/outputs/NAME/NAME, where each name may be as long as a name can be, and a few more.
LONGEST_PATH = 4095
DEEPEST_FILE = 600


def check_space(home: Home) -> Iterable[Finding]:
    """Free space where runs and images are kept."""
    seen: set[int] = set()
    for name, folder in (("runs", home.runs), ("images", home.images)):
        existing = nearest(folder)
        device = existing.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(existing).free
        level = Level.OK if free >= ENOUGH_SPACE else Level.WARNING if free >= LEAST_SPACE else Level.ERROR
        wanted = "" if level is Level.OK else f"; a build needs {LEAST_SPACE // GIB} GiB, and may need more"
        yield Finding(
            check=f"disk space for {name}", level=level, message=f"{free / GIB:.1f} GiB free at {existing}{wanted}",
            fix="free some space (aibemu clean, aibemu images remove), or put the folder elsewhere with --home DIR",
        )  # fmt: skip


def check_path_length(home: Home) -> Iterable[Finding]:
    """The files of a run fit below the home."""
    length = len(os.fsencode(home.runs.absolute()))
    fine = length + DEEPEST_FILE <= LONGEST_PATH
    yield Finding(
        check="path of the home", level=Level.OK if fine else Level.ERROR,
        message=f"{length} of at most {LONGEST_PATH - DEEPEST_FILE} bytes", fix="choose a shorter one with --home DIR",
    )  # fmt: skip


def check_socket_length(home: Home) -> Iterable[Finding]:
    """Unix sockets fit into a run's folder, or else into a private one elsewhere."""
    deepest = home.runs.resolve() / DEEPEST_SOCKET
    length = len(os.fsencode(deepest))
    if fits(deepest):
        yield Finding(check="socket paths", level=Level.OK, message=f"{length} of {LONGEST} bytes")
        return
    try:
        elsewhere = socket_directory(home.runs.resolve(), str(DEEPEST_SOCKET)).parent
    except AibemuError as error:
        yield Finding(check="socket paths", level=Level.ERROR, message=error.message, fix=error.hint)
        return
    yield Finding(
        check="socket paths", level=Level.NOTE,
        message=f"{home.runs} is too deep for Unix sockets: a private folder in {elsewhere} is used instead",
        fix="nothing needs to be done; a shorter folder (--home DIR) keeps the sockets inside of it",
    )  # fmt: skip


def require_ready(home: Home) -> list[str]:
    """Before a machine is made: what a person should hear of, as sentences. `HostNotReady` for what stops a build."""
    findings = [*check_path_length(home), *check_space(home), *check_socket_length(home)]
    if wrong := [finding for finding in findings if finding.level is Level.ERROR]:
        raise HostNotReady(
            f"this host is not ready: {wrong[0].check}: {wrong[0].message}",
            details=[f"{finding.check}: {finding.message}" for finding in wrong[1:]],
            hint=wrong[0].fix, commands=["aibemu doctor"],
        )  # fmt: skip
    return [f"{one.check}: {one.message} ({one.fix})" for one in findings if one.level is Level.WARNING]


def nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists: that is where it would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
