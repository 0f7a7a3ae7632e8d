"""Arithmetic: whole numbers of 64 bits, division towards zero, as in .NET."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from aibemu.arm.expressions.errors import CALLED, ExpressionError
from aibemu.arm.findings import shorten
from aibemu.arm.functions.logical import CONVERTED
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.functions.strings import ONE_OF
from aibemu.arm.nodes import Node, NodeKind

_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")
_REAL = re.compile(r"\s*[+-]?(?:[0-9][0-9,]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")
_NAMED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def _checked(operation: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def checked(left: int, right: int) -> int:
        number = operation(left, right)
        if not _LOWEST <= number <= _HIGHEST:
            azure = f"The template language function '{CALLED}' overflowed with the operants '{left}' and '{right}'"
            raise ExpressionError(f"{number} does not fit a whole number of 64 bits", azure=azure)
        return number

    return checked


def _div(left: int, right: int) -> int:
    if right == 0:
        azure = f"The template language function '{CALLED}' tried to divide by zero"
        raise ExpressionError("division by zero", azure=azure)
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _mod(left: int, right: int) -> int:
    """The sign is that of the first number."""
    return left - right * _div(left, right)


def _int(value: Node) -> int:
    if value.kind is NodeKind.NUMBER:
        return int(value.value or 0)
    text = str(value.value)
    # Nothing longer than 40 digits fits, and Python refuses to read the longest.
    if not _WHOLE.fullmatch(text) or len(text) > 40 or not _LOWEST <= int(text) <= _HIGHEST:
        azure = f"The template language function '{CALLED}' cannot convert provided value '{text}' to integer value"
        raise ExpressionError(f"'{shorten(text, 40)}' is not a whole number of 64 bits", azure=azure)
    return int(text)


def _float(value: Node) -> float:
    """Of text with commas in it anywhere before the point, as .NET has it."""
    text = str(value.value)
    if value.kind is NodeKind.NUMBER:
        return float(value.value or 0)
    if text.strip() in _NAMED:
        return _NAMED[text.strip()]
    if not _REAL.fullmatch(text):
        azure = CONVERTED.format(called=CALLED)
        raise ExpressionError(f"'{shorten(text, 40)}' is not a number", azure=azure)
    return float(text.replace(",", ""))


TABLE: tuple[Function, ...] = (
    fn("add", "int int", _checked(lambda left, right: left + right)),
    fn("div", "int int", _checked(_div)),
    fn("float", "string|number", _float, refusal=CONVERTED),
    fn("int", "int|string", _int, refusal=ONE_OF),
    fn("mod", "int int", _mod),
    fn("mul", "int int", _checked(lambda left, right: left * right)),
    fn("sub", "int int", _checked(lambda left, right: left - right)),
)
