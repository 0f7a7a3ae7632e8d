"""Plugins: entry points by group. Finding their names imports nothing; loading imports one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any

from aibemu.errors import HostNotReady, NotFoundError
from aibemu.suggestions import did_you_mean

GROUPS = (
    "aibemu.drivers", "aibemu.systems", "aibemu.communicators", "aibemu.customizers", "aibemu.distributors"
)  # fmt: skip


def names(group: str) -> frozenset[str]:
    """The names registered in an entry-point group, `aibemu.customizers` for one."""
    return frozenset(point.name for point in _registered(group))


def load(group: str, name: str) -> Any:
    """Import what is registered under that name. Raises NotFoundError, or HostNotReady when it cannot be imported."""
    found = [point for point in _registered(group) if point.name == name]
    if not found:
        known = sorted(names(group))
        question, there = did_you_mean(name, known, quoted=True), f"there are: {', '.join(known) or 'none'}"
        raise NotFoundError(f"there is no '{name}' in {group}", hint=f"{question} {there}" if question else there)
    return _import(found[0])


def distribution(group: str, name: str) -> tuple[str, str]:
    """Name and version of the package that a plugin comes from; two empty texts when that cannot be told."""
    for point in _registered(group):
        if point.name == name and point.dist is not None:
            return point.dist.name or "", point.dist.version or ""
    return "", ""


def broken(group: str) -> dict[str, str]:
    """Import every plugin of a group; the names of those that cannot be, with the reason. For doctor and drivers."""
    reasons: dict[str, str] = {}
    for point in sorted(_registered(group), key=lambda point: point.name):
        try:
            _import(point)
        except HostNotReady as error:
            reasons[point.name] = error.message
    return reasons


def _registered(group: str) -> EntryPoints:
    """What is installed in a group. A build asks a dozen times, and each look reads files of every installed package:
    so one look does for as long as no folder of packages changes."""
    return _found(tuple((place, _changed(place)) for place in sys.path)).get(group, EntryPoints())


@lru_cache(maxsize=1)
def _found(places: tuple[tuple[str, int], ...]) -> Mapping[str, EntryPoints]:
    found = entry_points()
    return {group: found.select(group=group) for group in GROUPS}


def _changed(place: str) -> int:
    """When something came into a folder, or went; 0 for what is none."""
    try:
        return Path(place or ".").stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


def _import(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        # A third party's module may raise anything while it is imported; that is its fault, not a bug of aibemu.
        raise HostNotReady(
            f"the plugin '{point.name}' ({point.value}) cannot be imported: {type(error).__name__}: {error}",
            hint="reinstall the package that it comes from; `aibemu doctor` lists all plugins",
        ) from error
