"""What a function takes, in a few words, and how its arguments are checked against that.

A signature lists the parameters: `string [int int]` is a text and two optional whole numbers; `array|object any...` is
a container and one value or more, `any*` any number of values. `int32` is a whole number of 32 bits, `lambda2` a lambda
with two variables, `lambda1-2` with one or two. What Python gets: str, int, float, bool; a tuple of Nodes for `array`;
a Lambda for `lambda1`; the Node itself for `object`, `any` and for alternatives.

The types are those that Azure's own engine takes (fixtures/engine-answers); the same declarations give its messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aibemu.arm.expressions.errors import CALLED, ExpressionError, Unknowable
from aibemu.arm.expressions.values import Value, azure_type, described
from aibemu.arm.nodes import Node, NodeKind

LOWEST, HIGHEST = -(2**31), 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lambda:
    """A lambda that can be called with as many Nodes as it has variables; more are passed over."""

    variables: int
    run: Callable[..., Node]

    def __call__(self, *values: Node) -> Node:
        return self.run(*values)


Argument = Node | Lambda

_KINDS = {
    "string": NodeKind.STRING, "int": NodeKind.NUMBER, "int32": NodeKind.NUMBER, "number": NodeKind.NUMBER,
    "bool": NodeKind.BOOLEAN, "array": NodeKind.ARRAY, "object": NodeKind.OBJECT, "null": NodeKind.NULL,
}  # fmt: skip
_WORDS = {
    "string": "text", "int": "a whole number", "int32": "a whole number", "number": "a number",
    "bool": "true or false", "array": "an array", "object": "an object", "null": "null",
}  # fmt: skip
_AZURE_TYPES = {
    "string": "String", "int": "Integer", "int32": "Integer", "number": "Float", "bool": "Boolean", "array": "Array",
    "object": "Object", "null": "Null",
}  # fmt: skip
_ORDINALS = ("first", "second", "third")


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function of the language.

    call: gets the arguments as the signature says, and the scope first when `scoped`; gives a Value. lenient: takes
    values that are not known (it only passes them on). public: its result says nothing of what its arguments hold, and
    may be shown even if they are secret. secret: its result is one. whole: it gives all that is in a text. refusal: how
    Azure puts it that the first argument has a wrong type, where that is not how it puts it for most functions.
    """

    name: str
    signature: str
    call: Callable[..., Value]
    scoped: bool = False
    lenient: bool = False
    public: bool = False
    secret: bool = False
    whole: bool = False
    refusal: str = ""


def fn(name: str, signature: str, call: Callable[..., Value], *, refusal: str = "", **kinds: bool) -> Function:
    """One line of the table. kinds: the flags of a Function."""
    return Function(name=name, signature=signature, call=call, refusal=refusal, **kinds)


@dataclass(frozen=True, slots=True)
class _Parameter:
    alternatives: tuple[str, ...]
    optional: bool = False
    repeated: bool = False

    @property
    def lambda_(self) -> tuple[int, int] | None:
        """How many variables its lambda has, at least and at most; None when it takes no lambda."""
        least, _, most = self.alternatives[0].removeprefix("lambda").partition("-")
        return (int(least), int(most or least)) if self.alternatives[0].startswith("lambda") else None


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
    message = f"{function.name} takes {takes if most != 0 else 'no'} {noun}, not {count}"
    raise ExpressionError(message, id_="X02", azure=wrong_count(least, most, count))


def wrong_count(least: int, most: int | None, count: int, *, name: str = CALLED) -> str:
    """How Azure puts it that a call has too few or too many arguments. most: None without a bound."""
    if most == 0:
        return (
            f"The provided parameters for template language function '{name}' is not valid. "
            "The function does not accept parameters"
        )
    unable = f"Unable to evaluate template language function '{name}'"
    if most is None:
        few = {1: "At least one parameter", 2: "At least two parameter"}.get(least, f"At least {least} parameters")
        return f"{unable}. {few} should be provided"
    requires = f"{least}" if least == most else f"between {least} and {most}"
    return f"{unable}: function requires {requires} argument(s) while {count} were provided"


def _one(function: Function, parameter: _Parameter, argument: Argument, number: int) -> Any:
    alternatives = parameter.alternatives
    if not isinstance(argument, Node) or parameter.lambda_:
        return _lambda(function, parameter, argument, number)
    if argument.kind is NodeKind.UNKNOWN and not (function.lenient and alternatives == ("any",)):
        raise Unknowable
    if alternatives == ("any",):
        return argument
    for name in alternatives:
        if _fits(name, argument):
            if name == "int32":
                in_32_bits(int(argument.value or 0), number)
            return _unwrapped(name, argument) if len(alternatives) == 1 else argument
    words = " or ".join(_WORDS[name] for name in alternatives)
    message = f"{function.name} takes {words} as argument {number + 1}, not {described(argument)}"
    raise ExpressionError(message, id_="X02", at=number, azure=_wrong_type(function, alternatives, argument, number))


def _lambda(function: Function, parameter: _Parameter, argument: Argument, number: int) -> Lambda:
    wanted = parameter.lambda_
    if isinstance(argument, Node):
        message = f"{function.name} takes a lambda as argument {number + 1}, not {described(argument)}"
        azure = (
            f"The template language function '{CALLED}' expects its {_position(number)} to be of type 'lambda'. "
            "The provided value is of type 'Token'"
        )
        raise ExpressionError(message, id_="X02", at=number, azure=azure)
    if wanted is None:
        azure = "The template function 'lambda' is not valid"
        raise ExpressionError(f"{function.name} does not take a lambda here", id_="X02", at=number, azure=azure)
    least, most = wanted
    if not least <= argument.variables <= most:
        takes = f"{least}" if least == most else f"{least} or {most}"
        noun = "variable" if takes == "1" else "variables"
        message = f"the lambda of {function.name} has {takes} {noun}, not {argument.variables}"
        azure = wrong_count(least + 1, most + 1, argument.variables + 1, name="lambda")
        raise ExpressionError(message, id_="X02", at=number, azure=azure)
    return argument


def in_32_bits(value: int, at: int | None = None) -> None:
    """Raises ExpressionError for a number that does not fit into 32 bits. at: the number of the argument."""
    if LOWEST <= value <= HIGHEST:
        return
    azure = (
        f"The value '{value}' cannot be used as a number because it is either too large or too small. "
        f"The value must be between {LOWEST} and {HIGHEST}"
    )
    message = f"{value} is too large or too small here: a whole number of 32 bits is needed"
    raise ExpressionError(message, at=at, azure=azure)


def all_of(name: str, items: Sequence[Node], what: str, kinds: tuple[NodeKind, ...], types: str) -> None:
    """Raises ExpressionError when one of the items is of another kind (a number: a whole one), Unknowable when one is
    not known."""
    if any(item.kind is NodeKind.UNKNOWN for item in items):
        raise Unknowable
    wrong = [(at, item) for at, item in enumerate(items) if item.kind not in kinds or isinstance(item.value, float)]
    if wrong:
        found = "', '".join(sorted({azure_type(item) for _, item in wrong}))
        azure = (
            f"The template language function '{CALLED}' expects its first parameter to be an array only containing "
            f"elements of type(s) '{types}'. The provided value contains elements with disallowed type(s) '{found}' "
            f"in index(es) {', '.join(str(at) for at, _ in wrong)}"
        )
        raise ExpressionError(f"{name} takes {what}, not of {described(wrong[0][1])}", id_="X02", azure=azure)


def _wrong_type(function: Function, alternatives: tuple[str, ...], argument: Node, number: int) -> str:
    types = ", ".join(_AZURE_TYPES[name] for name in alternatives)
    if function.refusal and number == 0:
        return function.refusal.format(types=types, type=azure_type(argument), called=CALLED)
    single = len(_parameters(function.signature)) == 1 and not _parameters(function.signature)[0].repeated
    where = "parameter" if single else _position(number)
    return _expected(f"{where} to be of type '{types}'", argument)


def _position(number: int) -> str:
    return f"{_ORDINALS[number]} parameter" if number < len(_ORDINALS) else f"the parameter at position {number}"


def _expected(what: str, argument: Node) -> str:
    its = "" if what.startswith("the ") else "its "
    return (
        f"The template language function '{CALLED}' expects {its}{what}. "
        f"The provided value is of type '{azure_type(argument)}'"
    )


def _fits(name: str, argument: Node) -> bool:
    if name in ("int", "int32"):
        return argument.kind is NodeKind.NUMBER and isinstance(argument.value, int)
    return _KINDS.get(name) is argument.kind


def _unwrapped(name: str, argument: Node) -> Any:
    if name == "array":
        return argument.items
    return argument if name == "object" else argument.value
