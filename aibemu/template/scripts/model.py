"""A script of a template: its text, what runs it, and where each of its characters stands."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from aibemu.arm.places import Locate
from aibemu.errors import Span
from aibemu.template.view import NodeView


class Dialect(StrEnum):
    """What a script is written for."""

    SH = "sh"
    BASH = "bash"
    POWERSHELL = "powershell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A part of a script that stands in one piece: from offset `start` on, at places of its own."""

    start: int
    place: Locate


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """step: the customizer or validator, at its path. inline: False for a file. root: it runs as root. first: it is
    what the very first customizer runs. before_capture: it runs in the machine that becomes the image.
    followed: another customizer runs after it. marked: the file begins with a byte-order mark."""

    dialect: Dialect
    text: str
    chunks: Sequence[Chunk]
    step: NodeView
    inline: bool
    root: bool
    first: bool
    before_capture: bool
    followed: bool = False
    marked: bool = False

    def at(self, offset: int) -> Span:
        """The place of a character, or of the end."""
        chunk = self.chunks[max(0, bisect_right([chunk.start for chunk in self.chunks], offset) - 1)]
        return chunk.place(offset - chunk.start)

    def line(self, number: int, column: int = 1) -> Span:
        """The place of a line and column, both from 1, as other programs count them."""
        starts = [0, *(match.end() for match in re.finditer("\n", self.text))]
        return self.at(min(starts[min(number, len(starts)) - 1] + column - 1, len(self.text)))

    @property
    def label(self) -> str:
        """How people know the step."""
        return self.step.text("name") or self.step.path.rpartition(".")[2]


def dialect_of(first_line: str, default: Dialect | None) -> Dialect | None:
    """What a `#!` line asks for; None when it is something that is not judged here."""
    if not first_line.startswith("#!"):
        return default
    words = first_line[2:].strip().split()
    program = words[0].rpartition("/")[2] if words else ""
    if program == "env":
        program = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), "")
    return {"sh": Dialect.SH, "dash": Dialect.SH, "bash": Dialect.BASH}.get(program)
