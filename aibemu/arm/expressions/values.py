"""Python values to Nodes and back: what a function of the language takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aibemu.arm.nodes import Member, Node, NodeKind
from aibemu.errors import Span

Value = Any
"""A Node (kept as it is, with its own place), or str, int, float, bool, None, and sequences and mappings of Values."""


def node_of(value: Value, span: Span, *, secret: bool = False) -> Node:
    """The value as a Node; whatever is no Node yet gets that place. secret: it is computed of a secret."""
    if isinstance(value, Node):
        return value
    if value is None:
        return Node(NodeKind.NULL, span)
    if isinstance(value, bool):
        return Node(NodeKind.BOOLEAN, span, value)
    if isinstance(value, int | float):
        return Node(NodeKind.NUMBER, span, value, secret=secret)
    if isinstance(value, str):
        return Node(NodeKind.STRING, span, value, secret=secret)
    if isinstance(value, Mapping):
        return Node(NodeKind.OBJECT, span, members=members_of(value, span, secret=secret))
    if isinstance(value, Sequence):
        return Node(NodeKind.ARRAY, span, items=tuple(node_of(item, span, secret=secret) for item in value))
    raise TypeError(f"no value of the template language: {value!r}")


def members_of(values: Mapping[str, Value], span: Span, *, secret: bool = False) -> dict[str, Member]:
    """Members for an object; one that is a Member already keeps the place of its key."""
    return {
        key: value if isinstance(value, Member) else Member(key, span, node_of(value, span, secret=secret))
        for key, value in values.items()
    }


def described(node: Node) -> str:
    """How messages call a value: `text`, `a whole number`..."""
    if node.kind is NodeKind.NUMBER:
        return "a whole number" if isinstance(node.value, int) else "a number"
    return {
        NodeKind.OBJECT: "an object", NodeKind.ARRAY: "an array", NodeKind.STRING: "text",
        NodeKind.BOOLEAN: "true or false", NodeKind.NULL: "null",
    }.get(node.kind, "unknown")  # fmt: skip


def azure_type(node: Node) -> str:
    """How Azure's messages call the type of a value: `String`, `Integer`..."""
    if node.kind is NodeKind.NUMBER:
        return "Integer" if isinstance(node.value, int) else "Float"
    return node.kind.value.capitalize()


def has_unknown(node: Node) -> bool:
    """True when the value, or anything inside it, is not known."""
    if node.kind is NodeKind.OBJECT:
        return any(has_unknown(member.value) for member in node.members.values())
    if node.kind is NodeKind.ARRAY:
        return any(map(has_unknown, node.items))
    return node.kind is NodeKind.UNKNOWN


def same(left: Node, right: Node) -> bool:
    """Equal as JSON values: text by case, keys of objects without, numbers by value."""
    if left.kind is not right.kind:
        return False
    if left.kind is NodeKind.ARRAY:
        return len(left.items) == len(right.items) and all(map(same, left.items, right.items))
    if left.kind is NodeKind.OBJECT:
        mine = {key.casefold(): member.value for key, member in left.members.items()}
        others = {key.casefold(): member.value for key, member in right.members.items()}
        return mine.keys() == others.keys() and all(same(value, others[key]) for key, value in mine.items())
    return left.value == right.value
