"""Text as .NET counts and changes it: in UTF-16 units, upper and lower case letter by letter."""

from __future__ import annotations

from aibemu.arm.expressions.errors import ExpressionError

# In upper case these stay as they are under .NET's invariant culture.
_NO_UPPER = frozenset("\u0131\u017f")


def length(text: str) -> int:
    """The number of UTF-16 units: an emoji has two."""
    return len(text) if _single(text) else len(_encoded(text)) // 2


def part(text: str, start: int | None, end: int | None) -> str:
    """`text[start:end]` in UTF-16 units. Raises ExpressionError when that cuts a character in half: the half could not
    be written as JSON."""
    if _single(text):
        return text[start:end]
    units = _encoded(text)
    first, last, _ = slice(start, end).indices(len(units) // 2)
    try:
        return units[2 * first : max(2 * first, 2 * last)].decode("utf-16-le")
    except UnicodeDecodeError:
        raise ExpressionError(
            "this cuts a character in half: Azure counts in UTF-16, where this one has two units",
            azure="Cannot transcode invalid UTF-16 string to UTF-8 JSON text.",
        ) from None


def place(text: str, offset: int) -> int:
    """The place of a character, -1 for none, in UTF-16 units."""
    return length(text[:offset]) if offset > 0 else offset


def upper(text: str) -> str:
    """Upper case, letter by letter: `ß` stays."""
    return text.upper() if text.isascii() else "".join(map(_upper, text))


def lower(text: str) -> str:
    """Lower case, letter by letter: `İ` stays."""
    return text.lower() if text.isascii() else "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _upper(char: str) -> str:
    if char in _NO_UPPER:
        return char
    # Where Unicode's full mapping has several letters, its simple one is the letter of titles, or there is none.
    return next((made for made in (char.upper(), char.title()) if len(made) == 1), char)


def _single(text: str) -> bool:
    """True when every character is one unit."""
    return text.isascii() or max(text) <= "\uffff"


def _encoded(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")
