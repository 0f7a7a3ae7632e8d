"""Colour: one function decides. Never in files, never in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

CHOICES = ("auto", "always", "never")


def use_color(choice: str, stream: TextIO, environ: Mapping[str, str]) -> bool:
    """--color always and never win; then NO_COLOR, then FORCE_COLOR (0 = no), then whether `stream` is a terminal."""
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if forced := environ.get("FORCE_COLOR"):
        return forced not in {"0", "false"}
    return environ.get("TERM") != "dumb" and stream.isatty()
