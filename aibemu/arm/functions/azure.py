"""Functions that ask Azure. What the template itself declares is answered from it; the rest has to be supplied.

Microsoft documents what they give; what they would give for a resource of the user's, only Azure knows.
"""

from __future__ import annotations

from aibemu.arm.expressions.errors import CALLED, ExpressionError
from aibemu.arm.expressions.frame import Frame, Spot
from aibemu.arm.expressions.surroundings import key_of
from aibemu.arm.expressions.values import Value
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.nodes import Node

_NO_REFERENCE = {
    Spot.DEFAULT: "the default value of a parameter",
    Spot.VARIABLE: "a variable",
    Spot.FUNCTION: "a function of the template's own",
    Spot.START: "a name, a type, a condition or the count of a loop: ARM needs those before it deploys anything",
}


def only_azure_knows(function: str, target: str, shape: str = "JSON") -> ExpressionError:
    """The error that says how to go on."""
    return ExpressionError(
        f"only Azure knows what {function}('{target}') is", id_="X07", hint=how_to_supply(function, target, shape)
    )


def how_to_supply(function: str, target: str, shape: str) -> str:
    """What to type; shape: of the value, as JSON."""
    text = f"{function}('{target}')={shape}".replace('"', '\\"')
    return f'supply it: --supply "{text}", or in the setting `supplied`'


def _supplied(frame: Frame, function: str, target: str) -> Value:
    """What the user supplied; a KeyError when it is not there."""
    return frame.scope.surroundings.supplied[key_of(function, target)]


def _only_at_work(frame: Frame, function: str) -> None:
    """What asks for a resource that is there can be used once the deployment is at work: in resources and outputs."""
    if frame.spot in _NO_REFERENCE:
        raise ExpressionError(
            f"{function}() cannot be used in {_NO_REFERENCE[frame.spot]}", hint="use it in a resource or an output",
            azure=f"The template function '{CALLED}' is not expected at this location.",
        )  # fmt: skip


def _reference(frame: Frame, target: str, _version: str = "", full: str = "") -> Value:
    _only_at_work(frame, "reference")
    whole = full.casefold() == "full"
    try:
        return _supplied(frame, "reference", target)
    except KeyError:
        found = frame.scope.refer(target, whole=whole)
    if found is None:
        raise only_azure_knows("reference", target, '{"properties": {...}}' if whole else '{"NAME": VALUE}')
    return found


def _references(frame: Frame, target: str, full: str = "") -> list[Node]:
    found = frame.scope.refer_all(target, whole=full.casefold() == "full")
    if found is None:
        raise ExpressionError(f"there is no copy loop of resources with the symbolic name '{target}'", id_="X04")
    return found


def _resource_info(frame: Frame, target: str) -> Value:
    """What is known of a resource before it is deployed: by its symbolic name."""
    try:
        return _supplied(frame, "resourceInfo", target)
    except KeyError:
        found = frame.scope.refer(target, whole=True)
    if found is None:
        raise only_azure_knows("resourceInfo", target, '{"id": ID, "name": NAME, "type": TYPE, "apiVersion": VERSION}')
    return found


def list_function(name: str) -> Function:
    """listKeys, listAccountSas and the rest: each resource provider has its own."""
    return _asks(name, "string [string any]", secret=True, at_work=True)


def _asks(name: str, signature: str, *, secret: bool = False, at_work: bool = False) -> Function:
    """A function whose answer has to be supplied, by its first argument. secret: the answer holds keys or the like;
    at_work: only where reference() can be, too."""

    def ask(frame: Frame, target: str, *_rest: Node) -> Value:
        if at_work:
            _only_at_work(frame, name)
        try:
            return _supplied(frame, name, target)
        except KeyError:
            raise only_azure_knows(name, target) from None

    return fn(name, signature, ask, scoped=True, public=True, secret=secret)


TABLE: tuple[Function, ...] = (
    fn("reference", "string [string string]", _reference, scoped=True, public=True),
    fn("references", "string [string]", _references, scoped=True, public=True),
    _asks("providers", "string [string]"),
    _asks("pickZones", "string [string string int int]"),
    _asks("toLogicalZone", "string string string"),
    _asks("toPhysicalZone", "string string string"),
    _asks("toLogicalZones", "string string array"),
    _asks("toPhysicalZones", "string string array"),
    _asks("roleDefinitions", "string"),
    fn("resourceInfo", "string", _resource_info, scoped=True, public=True),
    _asks("externalInput", "string [any]"),
    _asks("getSecret", "string [string string string]", secret=True),
)
