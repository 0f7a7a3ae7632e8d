"""One JSON string: where it ends, what it says, what is wrong inside."""

from __future__ import annotations

import re
from dataclasses import dataclass

# The usual case, no escapes, in one step; then any string that ends on its line.
_PLAIN = re.compile(r'"([^"\\\x00-\x1f]*)"')
_WHOLE = re.compile(r'"((?:[^"\\\r\n]+|\\[^\r\n])*)("?)')
_ODD = re.compile(r"[\x00-\x1f]|\\(?:u[0-9a-fA-F]{4}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?|.|$)", re.DOTALL)
# Text may go over several lines: az and ARM take that, JSON does not. What may follow a value must be there at the end,
# so that a quote that was forgotten is not taken for it: the next quote begins a text then. A key is an expression, or
# it is on one line.
_LINES = re.compile(r'"(\[(?:[^"\\]|\\.)*\]\s*)"(?=\s*[,:}\]])|"((?:[^"\\]|\\.)*)"(?=\s*[,}\]])', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?|.)", re.DOTALL)
_SIMPLE = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_REPLACEMENT = "\ufffd"

Complaint = tuple[int, str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """A string as found. end: offset behind it; errors: (offset, message, hint); tab: offset of the first raw tab;
    lines: it goes over several lines."""

    value: str
    end: int
    closed: bool = True
    errors: tuple[Complaint, ...] = ()
    tab: int | None = None
    lines: bool = False


def scan(text: str, start: int) -> Scanned:
    """Read the string whose opening quote is at `start`; it ends at the end of the line at the latest."""
    if match := _PLAIN.match(text, start):
        return Scanned(value=match.group(1), end=match.end())
    errors: list[Complaint] = []
    tabs: list[int] = []
    match = _WHOLE.match(text, start)
    if match is not None and not match.group(2) and (lines := _LINES.match(text, start)):
        value = _ESCAPE.sub(
            lambda found: _decode(found.group(), start + 1 + found.start(), errors, tabs),
            lines.group(lines.lastindex or 1),
        )
        return Scanned(value=value, end=lines.end(), errors=tuple(errors), lines=True)
    if match is None:
        return Scanned(value="", end=start + 1, closed=False)
    offset = start + 1
    value = _ODD.sub(lambda found: _decode(found.group(), offset + found.start(), errors, tabs), match.group(1))
    return Scanned(
        value=value, end=match.end(), closed=bool(match.group(2)), errors=tuple(errors), tab=tabs[0] if tabs else None
    )  # fmt: skip


def _decode(odd: str, at: int, errors: list[Complaint], tabs: list[int]) -> str:
    """The meaning of an escape or of a raw control character."""
    if odd == "\t":
        tabs.append(at)
        return odd
    if odd[0] != "\\":
        errors.append((at, f"the control character U+{ord(odd):04X} inside a string", "remove it"))
        return _REPLACEMENT
    letter = odd[1:2]
    if letter in _SIMPLE and len(odd) == 2:
        return _SIMPLE[letter]
    if letter == "u" and len(odd) > 2:
        return _unicode(odd, at, errors)
    hint = "a backslash is written `\\\\`" if letter != "u" else "write `\\u` and four hex digits"
    errors.append((at, f"`{odd}` is not an escape that JSON knows", hint))
    return odd


def _unicode(odd: str, at: int, errors: list[Complaint]) -> str:
    """One `\\uXXXX`, or two of which the second is a low surrogate."""
    first = int(odd[2:6], 16)
    if len(odd) == 12:
        second = int(odd[8:12], 16)
        if 0xD800 <= first <= 0xDBFF:
            return chr(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
    if len(odd) == 12 or 0xD800 <= first <= 0xDFFF:
        errors.append((at, f"`{odd}` is half of a character", "write the character itself"))
        return _REPLACEMENT
    return chr(first)
