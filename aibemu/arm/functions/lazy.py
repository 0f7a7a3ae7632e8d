"""`if`, `and`, `or`: what is not needed is not evaluated. Only with that can a condition guard an access."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aibemu.arm.expressions.errors import ExpressionError, Unknowable
from aibemu.arm.expressions.scope import Evaluator
from aibemu.arm.expressions.syntax import Call, Expression
from aibemu.arm.expressions.values import azure_type, described, node_of
from aibemu.arm.functions.signature import wrong_count
from aibemu.arm.nodes import Node, NodeKind

Lazy = Callable[[Evaluator, Call], Node]


def _need(call: Call, least: int, most: int | None = None) -> None:
    count = len(call.arguments)
    if count < least or (most is not None and count > most):
        takes = str(least) if least == most else f"at least {least}"
        azure = wrong_count(least, most, count, name=call.name)
        message = f"{call.name.lower()} takes {takes} arguments, not {count}"
        raise ExpressionError(message, id_="X02", at=call.at, azure=azure)


def _truth(evaluator: Evaluator, call: Call, argument: Expression) -> bool:
    value = evaluator.value(argument)
    if value.kind is NodeKind.UNKNOWN:
        raise Unknowable
    if value.kind is not NodeKind.BOOLEAN:
        message = f"{call.name.lower()} takes true or false here, not {described(value)}"
        azure = (
            f"The provided arguments for template language function '{call.name}' is not valid: "
            "all arguments should be of type 'boolean'"
        )
        if call.name.casefold() == "if":
            azure = (
                f"The template language function '{call.name}' expects its first parameter to be of type 'boolean'. "
                f"The provided value is of type '{azure_type(value)}'"
            )
        raise ExpressionError(message, id_="X02", at=argument.at, azure=azure)
    return bool(value.value)


def _if(evaluator: Evaluator, call: Call) -> Node:
    _need(call, 3, 3)
    condition, then, otherwise = call.arguments
    return evaluator.value(then if _truth(evaluator, call, condition) else otherwise)


def _and(evaluator: Evaluator, call: Call) -> Node:
    _need(call, 2)
    value = all(_truth(evaluator, call, argument) for argument in call.arguments)
    return node_of(value, evaluator.place(call.at))


def _or(evaluator: Evaluator, call: Call) -> Node:
    _need(call, 2)
    value = any(_truth(evaluator, call, argument) for argument in call.arguments)
    return node_of(value, evaluator.place(call.at))


def _coalesce(evaluator: Evaluator, call: Call) -> Node:
    for argument in call.arguments:
        value = evaluator.value(argument)
        if value.kind is NodeKind.UNKNOWN:
            raise Unknowable
        if value.kind is not NodeKind.NULL:
            return value
    return node_of(None, evaluator.place(call.at))


def _lambda(evaluator: Evaluator, call: Call) -> Node:
    message = "a lambda can only be an argument of a function that calls it, such as map or filter"
    raise ExpressionError(message, id_="X02", at=call.at, azure="The template function 'lambda' is not valid")


LAZY: Mapping[str, Lazy] = {"if": _if, "and": _and, "or": _or, "coalesce": _coalesce, "lambda": _lambda}
