"""Equality of values that may not be known whole: yes, no, or nobody can say.

As Azure's engine has it: text and keys by case, and a whole number never equals one with a fraction.

A difference that can be seen settles it; so `{a: ?, b: 1}` is not `{a: 'x', b: 2}`, and may be `{a: 'x', b: 1}`.
"""

from __future__ import annotations

from collections.abc import Iterable

from aibemu.arm.expressions.errors import Unknowable
from aibemu.arm.nodes import Node, NodeKind

_PLAIN = frozenset({NodeKind.STRING, NodeKind.NUMBER, NodeKind.BOOLEAN, NodeKind.NULL})


def equal(left: Node, right: Node) -> bool:
    """True when they are the same. Raises Unknowable where that depends on what is not known."""
    return _sure(_compared(left, right))


def found_in(items: Iterable[Node], item: Node) -> bool:
    """True when one of the items is that one. Raises Unknowable."""
    answers = [_compared(entry, item) for entry in items]
    return True in answers or (_sure(None) if None in answers else False)


class Lookup:
    """`found_in` for many items: text, numbers and the like are looked up, not compared with each."""

    def __init__(self, items: Iterable[Node]) -> None:
        self._items = tuple(items)
        self._plain = {_key(item) for item in self._items if item.kind in _PLAIN}
        self._others = tuple(item for item in self._items if item.kind not in _PLAIN)

    def __contains__(self, item: Node) -> bool:
        if item.kind not in _PLAIN:
            return found_in(self._items, item)
        return _key(item) in self._plain or found_in(self._unknown(), item)

    def _unknown(self) -> Iterable[Node]:
        return (item for item in self._others if item.kind is NodeKind.UNKNOWN)


def place_of(items: Iterable[tuple[int, Node]], item: Node) -> int:
    """The number of the first that is equal, -1 without one. Raises Unknowable."""
    return next((place for place, entry in items if equal(entry, item)), -1)


def _sure(answer: bool | None) -> bool:
    if answer is None:
        raise Unknowable
    return answer


def _compared(left: Node, right: Node) -> bool | None:
    if NodeKind.UNKNOWN in (left.kind, right.kind):
        return None
    if left.kind is not right.kind:
        return False
    if left.kind is NodeKind.ARRAY:
        if len(left.items) != len(right.items):
            return False
        return _all(map(_compared, left.items, right.items))
    if left.kind is NodeKind.OBJECT:
        if left.members.keys() != right.members.keys():
            return False
        return _all(_compared(member.value, right.members[key].value) for key, member in left.members.items())
    return _key(left) == _key(right)


def _key(node: Node) -> tuple[NodeKind, type, object]:
    return node.kind, type(node.value), node.value


def _all(answers: Iterable[bool | None]) -> bool | None:
    given = list(answers)
    return False if False in given else None if None in given else True
