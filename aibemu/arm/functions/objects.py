"""Functions on objects."""

from __future__ import annotations

from collections.abc import Sequence

from aibemu.arm.expressions.errors import ExpressionError, Unknowable
from aibemu.arm.expressions.values import Value, described
from aibemu.arm.functions.arrays import merge
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.nodes import Member, Node, NodeKind


def _create_object(*values: Node) -> dict[str, Member]:
    """Keys and values in turn; the key stands where it is written."""
    if len(values) % 2:
        raise ExpressionError("createObject takes keys and values in turn: the last key has no value", id_="X02")
    made: dict[str, Member] = {}
    for key, value in zip(values[::2], values[1::2], strict=True):
        if key.kind is NodeKind.UNKNOWN:
            raise Unknowable
        if key.kind is not NodeKind.STRING:
            raise ExpressionError(f"createObject takes text as a key, not {described(key)}", id_="X02")
        made[str(key.value)] = Member(str(key.value), key.span, value)
    return made


def _items(value: Node) -> list[dict[str, Value]]:
    """`[{key, value}]`, sorted by key as documented."""
    members = sorted(value.members.values(), key=lambda member: member.key)
    return [{"key": member.key, "value": member.value} for member in members]


def _shallow_merge(items: Sequence[Node]) -> Value:
    merged: Node | None = None
    for item in items:
        if item.kind is NodeKind.UNKNOWN:
            raise Unknowable
        if item.kind is not NodeKind.OBJECT:
            raise ExpressionError(f"shallowMerge takes an array of objects, not of {described(item)}", id_="X02")
        merged = item if merged is None else merge(merged, item, deep=False)
    return {} if merged is None else merged


TABLE: tuple[Function, ...] = (
    fn("createObject", "any*", _create_object, lenient=True),
    fn("items", "object", _items, public=True),
    fn("null", "", lambda: None),
    fn("objectKeys", "object", lambda value: sorted(value.members), public=True),
    fn("shallowMerge", "array", _shallow_merge),
)
