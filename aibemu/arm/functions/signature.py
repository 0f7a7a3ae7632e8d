"""What a function takes, in a few words, and how its arguments are checked against that.

A signature lists the parameters: `string [int int]` is a text and two optional whole numbers; `array|object any...` is
a container and one value or more, `any*` any number of values. What Python gets: str, int, float, bool; a tuple of
Nodes for `array`; a Python function for `lambda`; the Node itself for `object`, `any` and for alternatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aibemu.arm.expressions.errors import ExpressionError, Unknowable
from aibemu.arm.expressions.values import Value, described
from aibemu.arm.nodes import Node, NodeKind

Argument = Node | Callable[..., Node]

_KINDS = {
    "string": NodeKind.STRING, "int": NodeKind.NUMBER, "number": NodeKind.NUMBER, "bool": NodeKind.BOOLEAN,
    "array": NodeKind.ARRAY, "object": NodeKind.OBJECT, "null": NodeKind.NULL,
}  # fmt: skip
_WORDS = {
    "string": "text", "int": "a whole number", "number": "a number", "bool": "true or false", "array": "an array",
    "object": "an object", "null": "null", "lambda": "a lambda",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function of the language.

    call: gets the arguments as the signature says, and the scope first when `scoped`; gives a Value. lenient: takes
    values that are not known (it only passes them on). public: its result says nothing of what its arguments hold, and
    may be shown even if they are secret. secret: its result is one. whole: it gives all that is in a text.
    """

    name: str
    signature: str
    call: Callable[..., Value]
    scoped: bool = False
    lenient: bool = False
    public: bool = False
    secret: bool = False
    whole: bool = False


def fn(name: str, signature: str, call: Callable[..., Value], **kinds: bool) -> Function:
    """One line of the table. kinds: the flags of a Function."""
    return Function(name=name, signature=signature, call=call, **kinds)


@dataclass(frozen=True, slots=True)
class _Parameter:
    alternatives: tuple[str, ...]
    optional: bool = False
    repeated: bool = False


@lru_cache(maxsize=512)
def _parameters(signature: str) -> tuple[_Parameter, ...]:
    found = []
    optional = False
    for word in signature.split():
        optional = optional or word.startswith("[")
        bare = word.strip("[]")
        repeated = bare.endswith(("...", "*"))
        name = bare.removesuffix("...").removesuffix("*")
        found.append(_Parameter(tuple(name.split("|")), optional or bare.endswith("*"), repeated))
    return tuple(found)


def bind(function: Function, arguments: Sequence[Argument]) -> list[Any]:
    """The arguments as Python gets them. Raises ExpressionError with `at` = the number of the argument, from 0."""
    wanted = _parameters(function.signature)
    _count(function, wanted, len(arguments))
    bound = []
    for number, argument in enumerate(arguments):
        parameter = wanted[min(number, len(wanted) - 1)]
        bound.append(_one(function, parameter, argument, number))
    return bound


def _count(function: Function, wanted: Sequence[_Parameter], count: int) -> None:
    least = sum(not parameter.optional for parameter in wanted)
    most = None if any(parameter.repeated for parameter in wanted) else len(wanted)
    if count >= least and (most is None or count <= most):
        return
    takes = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
    noun = "argument" if takes in {"1", "at least 1"} else "arguments"
    raise ExpressionError(f"{function.name} takes {takes if most != 0 else 'no'} {noun}, not {count}", id_="X02")


def _one(function: Function, parameter: _Parameter, argument: Argument, number: int) -> Any:
    alternatives = parameter.alternatives
    if not isinstance(argument, Node):
        if "lambda" in alternatives:
            return argument
        raise ExpressionError(f"{function.name} does not take a lambda here", id_="X02", at=number)
    if argument.kind is NodeKind.UNKNOWN and not (function.lenient and alternatives == ("any",)):
        raise Unknowable
    if alternatives == ("any",):
        return argument
    for name in alternatives:
        if _fits(name, argument):
            return _unwrapped(name, argument) if len(alternatives) == 1 else argument
    words = " or ".join(_WORDS[name] for name in alternatives)
    message = f"{function.name} takes {words} as argument {number + 1}, not {described(argument)}"
    raise ExpressionError(message, id_="X02", at=number)


def _fits(name: str, argument: Node) -> bool:
    if name == "int":
        return argument.kind is NodeKind.NUMBER and isinstance(argument.value, int)
    return _KINDS.get(name) is argument.kind


def _unwrapped(name: str, argument: Node) -> Any:
    if name == "array":
        return argument.items
    return argument if name == "object" else argument.value
