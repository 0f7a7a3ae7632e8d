"""What processes that died may have left, found by listing folders: so cheap that each verb can look.

Nothing is read of a run that is over (it has the file `ended`), and nothing is imported that only cleaning needs. What
is found is looked at closely, and removed, by `aibemu.runs.sweep`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aibemu.files import PARTIAL, is_being_written, is_left, is_partial, left_folders
from aibemu.images import BLOBS, recorded_digests
from aibemu.paths import Home
from aibemu.records import DamagedFile, read_bytes
from aibemu.runs.store import NEW, Life, Run, RunStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """What to look at closely."""

    # Runs that are not known to be over and that nobody builds, or of which that cannot be told.
    runs: tuple[Run, ...]
    # Directories of runs that were being made.
    newborn: tuple[Path, ...]
    # Half-written files.
    files: tuple[Path, ...]
    # Folders in TMPDIR (`aibemu.files.temporary_folder`).
    folders: tuple[Path, ...]
    # Whether the image store, or the layers, hold what belongs to nothing.
    images: bool
    layers: bool

    def __bool__(self) -> bool:
        return bool(self.runs or self.newborn or self.files or self.folders or self.images or self.layers)


def find_suspects(home: Home) -> Suspects:
    """Look through a home, which may not be there. A folder that cannot be read holds nothing to clean."""
    open_runs = [run for run in _runs(home) if not _exists(run.ended_file)]
    lives = [_life(run) for run in open_runs]
    runs = [run for run, life in zip(open_runs, lives, strict=True) if life is not Life.BUILDING]
    busy = any(life is not Life.OVER for life in lives)
    return Suspects(
        runs=tuple(runs), newborn=tuple(path for path in _entries(home.runs) if path.name.startswith(NEW)),
        files=tuple(path for folder in (home.images, home.cloud, home.cache, home.layers) for path in _halves(folder)),
        folders=tuple(left_folders()), images=_stray_images(home.images),
        # A run that lives may be making a layer.
        layers=not busy and _stray_layers(home.layers),
    )  # fmt: skip


def _runs(home: Home) -> list[Run]:
    try:
        return RunStore(home.runs).runs()
    except OSError:
        return []


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in another user's folder
        return True


def _life(run: Run) -> Life:
    try:
        return run.life()
    except OSError:  # in another user's folder
        return Life.UNKNOWN


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _halves(folder: Path) -> Iterator[Path]:
    """Temporary files whose process is gone; partial downloads, which are continued later, have other names."""
    for above, folders, names in os.walk(folder):
        for name in (*folders, *names):
            if name.endswith(PARTIAL) and name.startswith(".") and is_left(path := Path(above, name)):
                yield path


def _stray_images(images: Path) -> bool:
    """Work of a process that is gone; or blobs without a record, which nobody is just now adding."""
    work = _entries(images / "tmp")
    if any(is_partial(path) and not is_being_written(path) for path in work):
        return True
    try:
        known = recorded_digests(images)
    except OSError:  # nothing is known, so nothing goes
        return False
    return not work and any(path.suffix == ".qcow2" and path.stem not in known for path in _entries(images / BLOBS))


def _stray_layers(layers: Path) -> bool:
    """Files that no record mentions, or records that are none. That a name is mentioned is seen without parsing."""
    files = _entries(layers / "files")
    records = [path for path in _entries(layers / "records") if path.suffix == ".json"]
    try:
        texts = [content for path in records if path.is_file() and (content := read_bytes(path)) is not None]
    except DamagedFile:
        return True
    except OSError:  # another user's
        return False
    mentioned = b"".join(texts)
    return any(os.fsencode(path.name) not in mentioned and not _in_use(path) for path in files) or not all(
        text.lstrip().startswith(b"{") and text.rstrip().endswith(b"}") for text in texts
    )


def _in_use(path: Path) -> bool:
    """Whether a machine has a link of the disk that the file is of: it made it, and is kept."""
    try:
        return path.with_suffix(".qcow2").stat().st_nlink > 1
    except OSError:
        return False
