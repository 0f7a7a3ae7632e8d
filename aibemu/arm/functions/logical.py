"""Truth and comparison; `if`, `and`, `or` and `coalesce`, which need not evaluate everything, are in `lazy`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from aibemu.arm.expressions.errors import CALLED, ExpressionError
from aibemu.arm.expressions.values import azure_type, described
from aibemu.arm.functions import collation
from aibemu.arm.functions.arrays import NOT_NUMERIC
from aibemu.arm.functions.equality import equal
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.nodes import Node, NodeKind


def _bool(value: Node) -> bool:
    if value.kind is NodeKind.STRING:
        # .NET passes over white space and NUL around the word.
        word = str(value.value).strip().strip("\0").strip().casefold()
        if word not in ("true", "false"):
            raise ExpressionError(f"'{value.value}' is neither true nor false", azure=CONVERTED.format(called=CALLED))
        return word == "true"
    return bool(value.value)


def _compared(name: str, test: Callable[[Any, Any], bool]) -> Callable[[Node, Node], bool]:
    """Numbers by size, text by the order of the invariant culture."""

    def compare(left: Node, right: Node) -> bool:
        if NodeKind.STRING in (left.kind, right.kind) and left.kind is right.kind:
            first, second = str(left.value), str(right.value)
            return test(collation.before(second, first), collation.before(first, second))
        if left.kind is not right.kind or left.kind is not NodeKind.NUMBER:
            words = f"{described(left)} and {described(right)}"
            message = f"{name} compares two numbers or two texts, not {words}"
            raise ExpressionError(message, id_="X02", azure=_incomparable(left, right))
        return test(left.value, right.value)

    return compare


def _incomparable(left: Node, right: Node) -> str:
    if NodeKind.STRING not in (left.kind, right.kind):
        return NOT_NUMERIC
    wrong, ordinal = (right, "second") if left.kind is NodeKind.STRING else (left, "first")
    return (
        f"The template language function '{CALLED}' expects its {ordinal} parameter to be of type 'String'. "
        f"The provided value is of type '{azure_type(wrong)}'"
    )


CONVERTED = (
    "The template language function '{called}' was invoked with a parameter that is not valid. "
    "The value cannot be converted to the target type"
)


TABLE: tuple[Function, ...] = (
    fn("bool", "string|number|bool", _bool, refusal=CONVERTED),
    fn("equals", "any any", equal),
    fn("false", "", lambda: False),
    fn("greater", "any any", _compared("greater", operator.gt)),
    fn("greaterOrEquals", "any any", _compared("greaterOrEquals", operator.ge)),
    fn("less", "any any", _compared("less", operator.lt)),
    fn("lessOrEquals", "any any", _compared("lessOrEquals", operator.le)),
    fn("not", "bool", operator.not_),
    fn("true", "", lambda: True),
)
