"""Truth and comparison; `if`, `and`, `or` and `coalesce`, which need not evaluate everything, are in `lazy`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from aibemu.arm.expressions.errors import ExpressionError
from aibemu.arm.expressions.values import described
from aibemu.arm.functions.equality import equal
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.nodes import Node, NodeKind


def _bool(value: Node) -> bool:
    if value.kind is NodeKind.STRING:
        word = str(value.value).casefold()
        if word not in ("true", "false"):
            raise ExpressionError(f"'{value.value}' is neither true nor false")
        return word == "true"
    return bool(value.value)


def _compared(name: str, test: Callable[[Any, Any], bool]) -> Callable[[Node, Node], bool]:
    """Numbers by size, text by the codes of its characters."""

    def compare(left: Node, right: Node) -> bool:
        if left.kind is not right.kind:
            words = f"{described(left)} and {described(right)}"
            raise ExpressionError(f"{name} compares two numbers or two texts, not {words}", id_="X02")
        return test(left.value, right.value)

    return compare


TABLE: tuple[Function, ...] = (
    fn("bool", "string|int|bool", _bool),
    fn("equals", "any any", equal),
    fn("false", "", lambda: False),
    fn("greater", "number|string number|string", _compared("greater", operator.gt)),
    fn("greaterOrEquals", "number|string number|string", _compared("greaterOrEquals", operator.ge)),
    fn("less", "number|string number|string", _compared("less", operator.lt)),
    fn("lessOrEquals", "number|string number|string", _compared("lessOrEquals", operator.le)),
    fn("not", "bool", operator.not_),
    fn("true", "", lambda: True),
)
