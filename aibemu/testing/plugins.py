"""Plugins for a test, as a third party would install them: a distribution of their own, found by its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_distribution(folder: Path, name: str, groups: Mapping[str, Mapping[str, str]]) -> Path:
    """Make `folder` (on sys.path, or in PYTHONPATH) one where a distribution `name` is installed; gives the folder.

    groups: entry-point group -> name -> "module:attribute", as in pyproject.toml. The modules must be importable.
    """
    # Whatever is before the first hyphen of the folder's name counts as the distribution's.
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines: list[str] = []
    for group, points in groups.items():
        lines += [f"[{group}]", *(f"{point} = {target}" for point, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
