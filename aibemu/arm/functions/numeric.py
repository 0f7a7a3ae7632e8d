"""Arithmetic: whole numbers of 64 bits, division towards zero, as in .NET."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from aibemu.arm.expressions.errors import ExpressionError
from aibemu.arm.findings import shorten
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.nodes import Node, NodeKind

_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")
_REAL = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def _fits(number: int) -> int:
    if not _LOWEST <= number <= _HIGHEST:
        raise ExpressionError(f"{number} does not fit a whole number of 64 bits")
    return number


def _checked(operation: Callable[[int, int], int]) -> Callable[[int, int], int]:
    return lambda left, right: _fits(operation(left, right))


def _div(left: int, right: int) -> int:
    if right == 0:
        raise ExpressionError("division by zero")
    quotient = abs(left) // abs(right)
    return _fits(quotient if (left < 0) == (right < 0) else -quotient)


def _mod(left: int, right: int) -> int:
    """The sign is that of the first number."""
    if right == 0:
        raise ExpressionError("division by zero")
    return left - right * _div(left, right) if right != -1 else 0


def _int(value: Node) -> int:
    if value.kind is NodeKind.NUMBER:
        return _fits(math.trunc(value.value)) if isinstance(value.value, float) else int(value.value or 0)
    text = str(value.value)
    # Nothing longer than 40 digits fits, and Python refuses to read the longest.
    if not _WHOLE.fullmatch(text) or len(text) > 40:
        raise ExpressionError(f"'{shorten(text, 40)}' is not a whole number of 64 bits")
    return _fits(int(text))


def _float(value: Node) -> float:
    text = str(value.value)
    number = float(text) if value.kind is NodeKind.NUMBER or _REAL.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ExpressionError(f"'{value.value}' is not a number")
    return number


TABLE: tuple[Function, ...] = (
    fn("add", "int int", _checked(lambda left, right: left + right)),
    fn("div", "int int", _div),
    fn("float", "string|number", _float),
    fn("int", "string|number", _int),
    fn("mod", "int int", _mod),
    fn("mul", "int int", _checked(lambda left, right: left * right)),
    fn("sub", "int int", _checked(lambda left, right: left - right)),
)
