"""format(): composite format strings of .NET, with the number formats that templates use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aibemu.arm.expressions.errors import ExpressionError
from aibemu.arm.functions.json_text import text_of
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.functions.strings import LONGEST
from aibemu.arm.nodes import Node, NodeKind

if TYPE_CHECKING:
    from decimal import Decimal

_HOLE = re.compile(r"\{\{|\}\}|\{(\d+)(?:\s*,\s*(-?\d+))?(?::((?:[^{}]|\{\{|\}\})*))?\}|[{}]")
_STANDARD = re.compile(r"([DdXxNnFfGgPpEe])(\d{0,2})")
_CUSTOM = re.compile(r"([^0#.,]*)([0#,]*)(?:\.([0#]*))?([^0#.,]*)")


def format_text(pattern: str, values: Sequence[Node]) -> str:
    """`{0}`, `{1,-5}`, `{0:D3}`... with the values put in. Raises ExpressionError."""

    def fill(match: re.Match[str]) -> str:
        if match.group() in ("{{", "}}"):
            return match.group()[0]
        if match.group(1) is None:
            raise ExpressionError(f"format: the `{match.group()}` at place {match.start()} has no other half",
                                  hint=f"a brace in the text is written twice: {match.group() * 2}")  # fmt: skip
        place = int(match.group(1))
        if place >= len(values):
            raise ExpressionError(f"format: there is no value for {{{place}}}: it is given {len(values)}")
        width = int(match.group(2) or 0)
        if abs(width) > LONGEST:
            raise ExpressionError("format makes too long a text")
        text = _one(values[place], match.group(3) or "")
        return text.ljust(-width) if width < 0 else text.rjust(width)

    return _HOLE.sub(fill, pattern)


def _one(value: Node, pattern: str) -> str:
    if not pattern:
        return text_of(value)
    if value.kind is NodeKind.NUMBER and isinstance(value.value, int | float):
        return _number(value.value, pattern)
    # As in .NET, text takes no format: it stands as it is, be it a date.
    return text_of(value)


def _number(number: int | float, pattern: str) -> str:
    standard = _STANDARD.fullmatch(pattern)
    if standard:
        return _standard(number, standard.group(1), standard.group(2))
    custom = _CUSTOM.fullmatch(pattern)
    if custom is None or not custom.group(2):
        raise ExpressionError(f"format: '{pattern}' is no number format that aibemu knows", hint="like D3, 000 or N0")
    before, whole, fraction, after = custom.groups()
    digits = fraction or ""
    text = f"{_rounded(abs(number), len(digits)):f}"
    left, _, right = text.partition(".")
    left = left.zfill(whole.count("0")) if left != "0" or "0" in whole else ""
    if "," in whole.strip(","):
        left = re.sub(r"(?<=\d)(?=(?:\d{3})+$)", ",", left)
    right = right.rstrip("0").ljust(digits.rstrip("#").count("0"), "0") if digits else ""
    sign = "-" if number < 0 and (left.strip("0") or right.strip("0")) else ""
    return f"{sign}{before}{left}{'.' if right else ''}{right}{after}"


def _standard(number: int | float, letter: str, precision: str) -> str:
    kind, places = letter.upper(), int(precision or 0)
    if kind in "DX" and not isinstance(number, int):
        raise ExpressionError(f"format: {letter} is for whole numbers")
    if kind == "D":
        return f"{'-' if number < 0 else ''}{abs(int(number)):0{max(1, places)}}"
    if kind == "X":
        text = f"{int(number) & 0xFFFFFFFFFFFFFFFF:0{max(1, places)}x}"
        return text.upper() if letter == "X" else text
    decimals = places if precision else 2
    if kind == "N":
        return f"{_rounded(number, decimals):,f}"
    if kind == "F":
        return f"{_rounded(number, decimals):f}"
    if kind == "P":
        return f"{_rounded(number, decimals, shift=2):,f} %"
    if kind == "E":
        mantissa, _, exponent = f"{_exact(number):.{places if precision else 6}e}".partition("e")
        return f"{mantissa}{letter}{exponent[0]}{exponent[1:].zfill(3)}"
    if not places:
        return str(number)
    return f"{number if abs(number) < 1e300 else _exact(number):.{places}g}"


def _exact(number: int | float) -> Decimal:
    """Unlike a float, of any size."""
    from decimal import Decimal

    return Decimal(number)


def _rounded(number: int | float, decimals: int, *, shift: int = 0) -> Decimal:
    """To so many decimals, as .NET: of two numbers that are equally near, the one further from zero. shift: times a
    power of ten."""
    from decimal import ROUND_HALF_UP, Context, Decimal  # 20 ms that most templates need not spend

    context = Context(prec=30_000, rounding=ROUND_HALF_UP)  # any number that an expression can hold
    return Decimal(number).scaleb(shift, context).quantize(Decimal(1).scaleb(-decimals), context=context)


TABLE: tuple[Function, ...] = (fn("format", "string any*", lambda pattern, *values: format_text(pattern, values)),)
