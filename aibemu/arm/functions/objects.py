"""Functions on objects."""

from __future__ import annotations

from collections.abc import Sequence

from aibemu.arm.expressions.errors import CALLED, ExpressionError, Unknowable
from aibemu.arm.expressions.values import Value, azure_type, described
from aibemu.arm.functions.arrays import merge
from aibemu.arm.functions.signature import Function, all_of, fn
from aibemu.arm.functions.units import upper
from aibemu.arm.nodes import Member, Node, NodeKind


def _create_object(*values: Node) -> dict[str, Member]:
    """Keys and values in turn; the key stands where it is written."""
    if len(values) % 2:
        azure = (
            f"The template language function '{CALLED}' expects an even number of parameters. "
            f"The number of provided parameters was '{len(values)}'"
        )
        message = "createObject takes keys and values in turn: the last key has no value"
        raise ExpressionError(message, id_="X02", azure=azure)
    keys = values[::2]
    if any(key.kind is NodeKind.UNKNOWN for key in keys):
        raise Unknowable
    _all_text(keys)
    made: dict[str, Member] = {}
    for key, value in zip(keys, values[1::2], strict=True):
        if key.value in made:
            azure = (
                f"The template language function '{CALLED}' expects all property names to be unique. "
                f"The following property names were duplicated: {key.value}"
            )
            raise ExpressionError(f"createObject is given the key '{key.value}' twice", azure=azure)
        made[str(key.value)] = Member(str(key.value), key.span, value)
    return made


def _all_text(keys: Sequence[Node]) -> None:
    wrong = [(2 * at + 1, key) for at, key in enumerate(keys) if key.kind is not NodeKind.STRING]
    if wrong:
        azure = (
            f"The template language function '{CALLED}' expects the parameters at an odd-numbered position to be of "
            f"type 'string'. The specified parameters at positions '{', '.join(str(at) for at, _ in wrong)}' are of "
            f"types '{', '.join(azure_type(key) for _, key in wrong)}', respectively"
        )
        message = f"createObject takes text as a key, not {described(wrong[0][1])}"
        raise ExpressionError(message, id_="X02", azure=azure)


def _items(value: Node) -> list[dict[str, Value]]:
    """`[{key, value}]`, sorted by key."""
    members = sorted(value.members.values(), key=lambda member: _in_order(member.key))
    return [{"key": member.key, "value": member.value} for member in members]


def _in_order(key: str) -> bytes:
    """Keys are sorted by the codes of their letters in upper case, as UTF-16."""
    return upper(key).encode("utf-16-be", "surrogatepass")


def _shallow_merge(items: Sequence[Node]) -> Value:
    all_of("shallowMerge", items, "an array of objects", (NodeKind.OBJECT,), "Object")
    merged: Node | None = None
    for item in items:
        merged = item if merged is None else merge(merged, item, deep=False)
    return {} if merged is None else merged


TABLE: tuple[Function, ...] = (
    fn("createObject", "any*", _create_object, lenient=True),
    fn("items", "object", _items, public=True),
    fn("null", "", lambda: None),
    fn("objectKeys", "object", lambda value: sorted(value.members, key=_in_order), public=True),
    fn("shallowMerge", "array", _shallow_merge),
)
