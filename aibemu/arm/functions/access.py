"""Items and properties: `a.b`, `a['b']`, `a[0]`, and the functions that give null where there is none."""

from __future__ import annotations

from collections.abc import Sequence

from aibemu.arm.expressions.errors import CALLED, ExpressionError, Unknowable
from aibemu.arm.expressions.values import Value, azure_type, described
from aibemu.arm.findings import hint_of
from aibemu.arm.functions.json_text import text_of
from aibemu.arm.functions.signature import Function, fn, in_32_bits
from aibemu.arm.nodes import Node, NodeKind


def found_at(base: Node, key: Node) -> Node | None:
    """The item or property; None when there is none. Raises Unknowable where that depends on what is not known."""
    if NodeKind.UNKNOWN in (base.kind, key.kind):
        raise Unknowable
    found: Node | None = None
    if base.kind is NodeKind.OBJECT and isinstance(key.value, str):
        found = base.find(key.value)
    elif base.kind is NodeKind.ARRAY and key.kind is NodeKind.NUMBER and isinstance(key.value, int):
        found = base.items[key.value] if 0 <= key.value < len(base.items) else None
    if found is not None and found.kind is NodeKind.UNKNOWN:
        raise Unknowable
    return found


def nothing_there(base: Node, key: Node, *, at: int | None = None) -> ExpressionError:
    """The error for an item or property that is not there."""
    shown = f"[{key.kind.value}]" if key.kind in (NodeKind.ARRAY, NodeKind.OBJECT) else text_of(key) or "null"
    if base.kind is NodeKind.ARRAY and isinstance(key.value, int) and key.kind is NodeKind.NUMBER:
        message = f"there is no item {key.value}: the array has {len(base.items)}, counted from 0"
        azure = f"The language expression property array index '{shown}' is out of bounds"
        return ExpressionError(message, at=at, azure=azure)
    if base.kind is NodeKind.OBJECT and isinstance(key.value, str):
        have = list(base.members)
        azure = (
            f"The language expression property '{shown}' doesn't exist, available properties are '{', '.join(have)}'"
        )
        return ExpressionError(
            f"the object has no property '{shown}'", at=at, hint=hint_of(key.value, have), azure=azure
        )
    what = f"'{key.value}'" if isinstance(key.value, str) else f"item {key.value}"
    azure = f"The language expression property '{shown}' can't be evaluated"
    if base.kind is NodeKind.ARRAY:
        azure = f"Unable to evaluate named property or non-integer index '{shown}' on an array value"
    elif base.kind is NodeKind.OBJECT:
        azure = f"The language expression property '{shown}' can't be evaluated, property name must be a string"
    return ExpressionError(f"{described(base)} has no {what}", at=at, azure=azure)


def _followed(base: Node, keys: Sequence[Node]) -> Value:
    """What is below the value that was found: null below null, else all of it must be there."""
    for key in keys:
        if base.kind is NodeKind.NULL:
            return None
        found = found_at(base, key)
        if found is None:
            raise nothing_there(base, key)
        base = found
    return base


def _try_get(base: Node, key: Node, *below: Node) -> Value:
    """The item or property, or null. What is asked for below one that is there must be there."""
    if key.kind is not NodeKind.STRING and not (key.kind is NodeKind.NUMBER and isinstance(key.value, int)):
        azure = (
            f"The template language function '{CALLED}' expects its second parameter to be of type 'String, Integer'. "
            f"The provided value is of type '{azure_type(key)}'"
        )
        message = f"tryGet takes text or a whole number as argument 2, not {described(key)}"
        raise ExpressionError(message, id_="X02", at=1, azure=azure)
    found = found_at(base, key)
    return None if found is None else _followed(found, below)


def _try_from_end(base: Node, place: Node, *below: Node) -> Value:
    """The item counted from the end, from 1, or null, also of what is no array."""
    if NodeKind.UNKNOWN in (base.kind, place.kind):
        raise Unknowable
    if base.kind is not NodeKind.ARRAY or place.kind is not NodeKind.NUMBER or not isinstance(place.value, int):
        return None
    in_32_bits(place.value, 1)
    return _followed(base.items[-place.value], below) if 1 <= place.value <= len(base.items) else None


TABLE: tuple[Function, ...] = (
    fn("tryGet", "any any any*", _try_get),
    fn("tryIndexFromEnd", "any any any*", _try_from_end),
)
