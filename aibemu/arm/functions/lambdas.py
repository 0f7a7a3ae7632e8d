"""Functions that call a lambda. Some lambdas may take the index as well: they are given it, and need not have a name
for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cmp_to_key

from aibemu.arm.expressions.errors import CALLED, ExpressionError, Unknowable
from aibemu.arm.expressions.values import Value, azure_type, described
from aibemu.arm.functions.signature import Function, Lambda, fn
from aibemu.arm.nodes import Member, Node, NodeKind


def _index(place: int, near: Node) -> Node:
    return Node(NodeKind.NUMBER, near.span, place)


def _truth(name: str, value: Node, place: int | None = None) -> bool:
    if value.kind is NodeKind.UNKNOWN:
        raise Unknowable
    if value.kind is not NodeKind.BOOLEAN:
        message = f"the lambda of {name} must give true or false, not {described(value)}"
        raise ExpressionError(message, id_="X02", azure=_given(value, "Boolean", place))
    return bool(value.value)


def _key(name: str, value: Node, place: int) -> str:
    if value.kind is NodeKind.UNKNOWN:
        raise Unknowable
    if value.kind is not NodeKind.STRING:
        message = f"the lambda of {name} must give text, not {described(value)}"
        raise ExpressionError(message, id_="X02", azure=_given(value, "String", place))
    return str(value.value)


def _given(value: Node, wanted: str, place: int | None) -> str:
    """Azure's words for what a lambda gives. place: of the item that it is called for."""
    where = "" if place is None else f" on the input element at position {place}"
    return (
        f"The lambda expression provided to language function '{CALLED}' is expected to return a value of type "
        f"'{wanted}', but evaluation{where} returned a value of type '{azure_type(value)}'"
    )


def _filter(items: Sequence[Node], test: Lambda) -> list[Node]:
    return [item for place, item in enumerate(items) if _truth("filter", test(item, _index(place, item)), place)]


def _map(items: Sequence[Node], make: Lambda) -> list[Node]:
    return [make(item, _index(place, item)) for place, item in enumerate(items)]


def _map_values(value: Node, make: Lambda) -> dict[str, Member]:
    return {key: Member(key, member.key_span, make(member.value)) for key, member in value.members.items()}


def _reduce(items: Sequence[Node], start: Node, step: Lambda) -> Node:
    for place, item in enumerate(items):
        start = step(start, item, _index(place, item))
    return start


def _sort(items: Sequence[Node], before: Lambda) -> list[Node]:
    """Stable; `before` says whether its first argument comes before its second."""

    def compare(left: Node, right: Node) -> int:
        if _truth("sort", before(left, right)):
            return -1
        return 1 if _truth("sort", before(right, left)) else 0

    return sorted(items, key=cmp_to_key(compare))


def _to_object(items: Sequence[Node], key: Lambda, value: Lambda | None = None) -> dict[str, Member]:
    made: dict[str, Member] = {}
    seen: set[str] = set()
    for place, item in enumerate(items):
        name = _key("toObject", key(item), place)
        if name.casefold() in seen:
            azure = (
                f"The lambda expression parameter at index '1' of function '{CALLED}' returned a duplicate key "
                f"'{name}'. Object keys must be strings that are case-insensitively unique"
            )
            raise ExpressionError(f"toObject is given the key '{name}' twice, whatever the case", azure=azure)
        seen.add(name.casefold())
        made[name] = Member(name, item.span, value(item) if value else item)
    return made


def _group_by(items: Sequence[Node], key: Lambda, value: Lambda | None = None) -> dict[str, Value]:
    """Keys are the same in any case, and are spelled as the first one."""
    groups: dict[str, list[Node]] = {}
    spelled: dict[str, str] = {}
    for place, item in enumerate(items):
        name = _key("groupBy", key(item), place)
        name = spelled.setdefault(name.casefold(), name)
        groups.setdefault(name, []).append(value(item) if value else item)
    return dict(groups)


TABLE: tuple[Function, ...] = (
    fn("filter", "array lambda1-2", _filter),
    fn("groupBy", "array lambda1 [lambda1]", _group_by),
    fn("map", "array lambda1-2", _map),
    fn("mapValues", "object lambda1", _map_values),
    fn("reduce", "array any lambda2-3", _reduce, lenient=True),
    fn("sort", "array lambda2", _sort),
    fn("toObject", "array lambda1 [lambda1]", _to_object),
)
