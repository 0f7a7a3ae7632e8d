"""Placeholders outside quotes, as in templates that people fill with sed: `"minutes": <minutes>`, `[ <regions> ]`.

Their values are put into the text before it is read, as sed does it, whatever they hold: a number, or several values
with commas. Places stay those of the file that the author sees. Within quotes a placeholder is part of a string, and
its value is put in when that is read: `aibemu.template.unresolved`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

# A string (also one that is not closed), a comment, or a placeholder: whatever begins first.
_PIECE = re.compile(
    r'"(?:[^"\\]|\\.)*(?:"|\Z)|//[^\r\n]*|/\*.*?(?:\*/|\Z)|<(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,60})>', re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PutIn:
    """A text with values in it. used: names of those. pieces: (begin, end, begin in the file) of what was not put in,
    in the text's order; each is as long there as here."""

    text: str
    used: frozenset[str]
    pieces: tuple[tuple[int, int, int], ...]

    def original(self, position: int) -> int:
        """Where in the file a position of the text is; within a value it is that of its placeholder."""
        if not self.used:  # asked for each node of each template
            return position
        begin, end, there = self.pieces[max(0, bisect_right(self.pieces, position, key=lambda piece: piece[0]) - 1)]
        return there + min(position, end) - begin


def put_in(text: str, values: Mapping[str, str]) -> PutIn:
    """Put values in for placeholders outside quotes and comments. values: by name, without the brackets."""
    parts: list[str] = []
    pieces: list[tuple[int, int, int]] = []
    used: set[str] = set()
    length = taken = 0
    for match in _PIECE.finditer(text) if values else ():
        name = match["name"]
        if name is None or name not in values:
            continue
        pieces.append((length, length + match.start() - taken, taken))
        parts += [text[taken : match.start()], values[name]]
        length += match.start() - taken + len(values[name])
        taken = match.end()
        used.add(name)
    pieces.append((length, length + len(text) - taken, taken))
    return PutIn(text="".join([*parts, text[taken:]]), used=frozenset(used), pieces=tuple(pieces))
