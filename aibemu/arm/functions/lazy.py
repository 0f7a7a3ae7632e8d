"""`if`, `and`, `or`: what is not needed is not evaluated. Only with that can a condition guard an access."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aibemu.arm.expressions.errors import ExpressionError, Unknowable
from aibemu.arm.expressions.syntax import Call, Expression
from aibemu.arm.expressions.values import described, node_of
from aibemu.arm.nodes import Kind, Node

if TYPE_CHECKING:
    from aibemu.arm.evaluate.interpreter import Interpreter

Lazy = Callable[["Interpreter", Call], Node]


def _need(call: Call, least: int, most: int | None = None) -> None:
    count = len(call.arguments)
    if count < least or (most is not None and count > most):
        takes = str(least) if least == most else f"at least {least}"
        raise ExpressionError(f"{call.name.lower()} takes {takes} arguments, not {count}", id_="X02", at=call.at)


def _truth(interpreter: Interpreter, call: Call, argument: Expression) -> bool:
    value = interpreter.value(argument)
    if value.kind is Kind.UNKNOWN:
        raise Unknowable
    if value.kind is not Kind.BOOLEAN:
        message = f"{call.name.lower()} takes true or false here, not {described(value)}"
        raise ExpressionError(message, id_="X02", at=argument.at)
    return bool(value.value)


def _if(interpreter: Interpreter, call: Call) -> Node:
    _need(call, 3, 3)
    condition, then, otherwise = call.arguments
    return interpreter.value(then if _truth(interpreter, call, condition) else otherwise)


def _and(interpreter: Interpreter, call: Call) -> Node:
    _need(call, 2)
    value = all(_truth(interpreter, call, argument) for argument in call.arguments)
    return node_of(value, interpreter.place(call.at))


def _or(interpreter: Interpreter, call: Call) -> Node:
    _need(call, 2)
    value = any(_truth(interpreter, call, argument) for argument in call.arguments)
    return node_of(value, interpreter.place(call.at))


def _coalesce(interpreter: Interpreter, call: Call) -> Node:
    _need(call, 1)
    for argument in call.arguments:
        value = interpreter.value(argument)
        if value.kind is Kind.UNKNOWN:
            raise Unknowable
        if value.kind is not Kind.NULL:
            return value
    return node_of(None, interpreter.place(call.at))


def _lambda(interpreter: Interpreter, call: Call) -> Node:
    message = "a lambda can only be an argument of a function that calls it, such as map or filter"
    raise ExpressionError(message, id_="X02", at=call.at)


LAZY: Mapping[str, Lazy] = {"if": _if, "and": _and, "or": _or, "coalesce": _coalesce, "lambda": _lambda}
