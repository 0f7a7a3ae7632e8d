"""format(): composite format strings of .NET, under its invariant culture. Formats of numbers: `number_formats`."""

from __future__ import annotations

from collections.abc import Sequence

from aibemu.arm.expressions.errors import CALLED, ExpressionError
from aibemu.arm.functions import units
from aibemu.arm.functions.json_text import text_of
from aibemu.arm.functions.number_formats import FormatInvalid, formatted
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.functions.strings import LONGEST
from aibemu.arm.nodes import Node, NodeKind

# .NET reads no more digits of a place or a width.
_MOST = 1_000_000
_DIGITS = frozenset("0123456789")


def format_text(pattern: str, values: Sequence[Node]) -> str:
    """`{0}`, `{1,-5}`, `{0:D3}`... with the values put in. Raises ExpressionError."""
    return _Composite(pattern, values).text()


class _Composite:
    """Reads a format string as .NET does, character by character."""

    def __init__(self, pattern: str, values: Sequence[Node]) -> None:
        self.pattern = pattern
        self.values = values
        self.pos = 0

    def text(self) -> str:
        made: list[str] = []
        while self.pos < len(self.pattern):
            char = self.pattern[self.pos]
            if char not in "{}" or self.next() == char:
                made.append(char)
                self.pos += 1
            elif char == "}":
                raise self.wrong("Unexpected closing brace without a corresponding opening brace.")
            else:
                made.append(self.hole())
                self.pos += 1
        return "".join(made)

    def hole(self) -> str:
        place = self.number()
        self.blanks()
        width = 0
        if self.char == ",":
            self.next()
            self.blanks()
            left = self.char == "-"
            if left:
                self.next()
            width = -self.number() if left else self.number()
            self.blanks()
        if self.char not in ":}":
            raise self.wrong("Format item ends prematurely.")
        return self.filled(place, width, self.item_format() if self.char == ":" else "")

    def item_format(self) -> str:
        start = self.pos + 1
        while self.next() != "}":
            if self.char == "{":
                raise self.wrong("Format item ends prematurely.")
        return self.pattern[start : self.pos]

    def filled(self, place: int, width: int, item_format: str) -> str:
        if place >= len(self.values):
            reason = (
                "Index (zero based) must be greater than or equal to zero and less than the size of the argument list."
            )
            message = f"format: there is no value for {{{place}}}: it is given {len(self.values)}"
            raise ExpressionError(message, azure=_azure(reason))
        if abs(width) > LONGEST:
            raise ExpressionError("format makes too long a text")
        try:
            text = _one(self.values[place], item_format)
        except FormatInvalid as problem:
            raise ExpressionError(
                f"format: {problem}", hint="like D3, 000 or N0", azure=_azure(problem.azure)
            ) from None
        blanks = " " * (abs(width) - units.length(text))
        return text + blanks if width < 0 else blanks + text

    def number(self) -> int:
        if self.char not in _DIGITS:
            raise self.wrong("Expected an ASCII digit.")
        start = self.pos
        while self.next() in _DIGITS and int(self.pattern[start : self.pos]) < _MOST:
            pass
        return int(self.pattern[start : self.pos])

    def blanks(self) -> None:
        while self.char == " ":
            self.next()

    def next(self) -> str:
        self.pos += 1
        if self.pos >= len(self.pattern):
            raise self.wrong("Format item ends prematurely.")
        return self.char

    @property
    def char(self) -> str:
        return self.pattern[self.pos]

    def wrong(self, reason: str) -> ExpressionError:
        where = units.place(self.pattern, self.pos)
        azure = _azure(f"Input string was not in a correct format. Failure to parse near offset {where}. {reason}")
        begin = max(self.pattern.rfind("{", 0, self.pos), self.pattern.rfind("}", 0, self.pos))
        brace = self.pattern[begin]
        if self.pos < len(self.pattern) and brace == "{":
            what = self.pattern[begin : self.pos + 1]
            message = f"format: `{what}` at place {begin} is not of the form {{0}}, {{0,5}} or {{0:N2}}"
        else:
            message = f"format: the `{brace}` at place {begin} has no other half"
        return ExpressionError(message, hint=f"a brace in the text is written twice: {brace * 2}", azure=azure)


def _azure(reason: str) -> str:
    return f"Unable to evaluate language function '{CALLED}': the format is invalid: '{reason}'"


def _one(value: Node, item_format: str) -> str:
    if value.kind is NodeKind.NUMBER and isinstance(value.value, int | float):
        return formatted(value.value, item_format)
    text = text_of(value)
    # JSON in a format string has the other quotes. As in .NET, text takes no format: it stands as it is, be it a date.
    return text.replace('"', "'") if value.kind in (NodeKind.ARRAY, NodeKind.OBJECT) else text


TABLE: tuple[Function, ...] = (fn("format", "string any*", lambda pattern, *values: format_text(pattern, values)),)
