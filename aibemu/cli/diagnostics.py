"""Findings about a template for people, and for programs: the line they are about, with a caret under the place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.reading import read_text
from aibemu.text import painted

# As the reader counts lines: nothing but these ends one.
_LINE_END = re.compile(r"\r\n|\r|\n")
# What to underline from the place on: a string, or a word.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\w.<>+-]+|.')
_COLORS = {Severity.ERROR: "31;1", Severity.WARNING: "33;1", Severity.NOTE: "36;1"}
_WIDTH = 160
# Characters of a line that is looked at anew for each finding in it. A file may be one line of megabytes, with
# thousands of findings.
_SHORT = 4096


def render(
    diagnostics: Iterable[Diagnostic],
    *,
    mask: Callable[[str], str],
    color: bool = False,
    texts: Mapping[str, str] | None = None,
    explain: bool = False,
) -> list[str]:
    """Lines for a terminal: what, where, the source line with a caret, why, what to do. mask: takes secrets away, here
    already: half a secret, at the end of a line that is cut, would not be known for one.
    texts: of places that are no file, by name; an empty one is not shown. explain: with Azure's own words."""
    source = _Source(texts or {}, mask)
    lines: list[str] = []
    for diagnostic in diagnostics:
        lines += _one(diagnostic, source, color)
        if explain and diagnostic.azure:
            lines.append(f"   Azure says: {_visible(source.mask(diagnostic.azure))}")
    return lines


def count(diagnostics: Iterable[Diagnostic]) -> str:
    """`2 errors, 1 warning, 3 notes`."""
    found = [d.severity for d in diagnostics]
    parts = [(found.count(severity), severity.value) for severity in Severity]
    return ", ".join(f"{n} {word}{'s' if n != 1 else ''}" for n, word in parts if n) or "no findings"


def as_data(diagnostics: Iterable[Diagnostic]) -> list[dict[str, Any]]:
    """The same for programs: plain JSON."""
    return [
        {
            "id": d.id,
            "severity": d.severity.value,
            "message": d.message,
            "path": d.path,
            "file": d.span.file,
            "line": d.span.line,
            "column": d.span.column,
            "hint": d.hint,
            "azure": d.azure,
        }
        for d in diagnostics
    ]


class _Source:
    """The lines of the files that findings are about, each file read once; a file that is gone has none."""

    def __init__(self, texts: Mapping[str, str], mask: Callable[[str], str]) -> None:
        self.mask = mask
        self._texts = texts
        self._lines = cache(self._read)
        self._masked = cache(self._mask)
        # Of each long line: the last place that was asked for, and where that is in the masked one.
        self._places: dict[tuple[str, int], tuple[int, int]] = {}

    def _read(self, file: str) -> list[str]:
        if file in self._texts:
            return _LINE_END.split(self._texts[file]) if self._texts[file] else []
        try:
            return _LINE_END.split(read_text(Path(file), encoding="utf-8-sig"))
        except (OSError, ValueError):
            return []

    def line(self, file: str, number: int) -> str | None:
        lines = self._lines(file)
        return lines[number - 1] if 0 < number <= len(lines) else None

    def shown(self, file: str, number: int, column: int) -> tuple[str, int] | None:
        """A line without secrets, and how much of it is before `column` (from 1 on); None if there is no such line."""
        text = self.line(file, number)
        if text is None:
            return None
        masked = self._masked(file, number)
        if masked == text:
            return text, column - 1
        if len(text) <= _SHORT:
            return masked, len(self.mask(text[: column - 1]))
        before, place = self._places.get((file, number), (0, 0))
        if before >= column:
            before, place = 0, 0
        place += len(self.mask(text[before : column - 1]))
        self._places[file, number] = (column - 1, place)
        return masked, min(place, len(masked))

    def _mask(self, file: str, number: int) -> str:
        return self.mask(self.line(file, number) or "")


def _one(diagnostic: Diagnostic, source: _Source, color: bool) -> list[str]:
    def paint(text: str, code: str) -> tuple[str, str]:
        return text, code if color else ""

    span = diagnostic.span
    what = paint(f"{diagnostic.severity.value} {diagnostic.id}", _COLORS[diagnostic.severity])
    message = _visible(source.mask(diagnostic.message))
    lines: list[str] = [painted(paint(str(span), "1"), ": ", what, f": {message}")]
    found = source.shown(span.file, span.line, span.column)
    if found is not None:
        shown, start, length = _window(*found)
        number = str(span.line)
        lines.append(f" {number} | {shown}")
        mark = paint("^" + "~" * (length - 1), "32;1")
        lines.append(painted(f" {' ' * len(number)} | {' ' * start}", mark))
    if diagnostic.path and diagnostic.path != "ImageTemplate":
        lines.append(f"   at: {_visible(source.mask(diagnostic.path))}")
    if diagnostic.hint:
        lines.append(f"   hint: {_visible(source.mask(diagnostic.hint))}")
    return lines


def _visible(text: str) -> str:
    """Control characters of a template must not reach a terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _window(text: str, column: int) -> tuple[str, int, int]:
    """The part of a long line around a column; the caret's place in it, and how much to underline."""
    left = max(0, min(column - 40, len(text) - _WIDTH)) if len(text) > _WIDTH else 0
    text = text[left : left + _WIDTH]
    match = _TOKEN.match(text, column - left)
    length = max(1, len(match.group())) if match else 1
    clean = _visible(text.replace("\t", " "))
    start = min(column - left, len(clean))
    return clean.rstrip(), start, max(1, min(length, len(clean) - start))
