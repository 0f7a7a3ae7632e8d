"""Functions that call a lambda. Some lambdas may take the index as well: they are given it, and need not have a name
for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cmp_to_key

from aibemu.arm.expressions.errors import ExpressionError, Unknowable
from aibemu.arm.expressions.values import Value, described
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.nodes import Member, Node, NodeKind

Lambda = Callable[..., Node]


def _index(place: int, near: Node) -> Node:
    return Node(NodeKind.NUMBER, near.span, place)


def _truth(name: str, value: Node) -> bool:
    if value.kind is NodeKind.UNKNOWN:
        raise Unknowable
    if value.kind is not NodeKind.BOOLEAN:
        raise ExpressionError(f"the lambda of {name} must give true or false, not {described(value)}", id_="X02")
    return bool(value.value)


def _key(name: str, value: Node) -> str:
    if value.kind is NodeKind.UNKNOWN:
        raise Unknowable
    if value.kind is not NodeKind.STRING:
        raise ExpressionError(f"the lambda of {name} must give text, not {described(value)}", id_="X02")
    return str(value.value)


def _filter(items: Sequence[Node], test: Lambda) -> list[Node]:
    return [item for place, item in enumerate(items) if _truth("filter", test(item, _index(place, item)))]


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
    for item in items:
        name = _key("toObject", key(item))
        made[name] = Member(name, item.span, value(item) if value else item)
    return made


def _group_by(items: Sequence[Node], key: Lambda) -> dict[str, Value]:
    groups: dict[str, list[Node]] = {}
    for item in items:
        groups.setdefault(_key("groupBy", key(item)), []).append(item)
    return dict(groups)


TABLE: tuple[Function, ...] = (
    fn("filter", "array lambda", _filter),
    fn("groupBy", "array lambda", _group_by),
    fn("map", "array lambda", _map),
    fn("mapValues", "object lambda", _map_values),
    fn("reduce", "array any lambda", _reduce, lenient=True),
    fn("sort", "array lambda", _sort),
    fn("toObject", "array lambda [lambda]", _to_object),
)
