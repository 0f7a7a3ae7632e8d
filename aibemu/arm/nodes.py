"""JSON values that know where they stand in the file.

A Node is never changed; what transforms a tree (expressions, spelling) makes a new one that keeps the places.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from aibemu.errors import Span

# A value as JSON has it.
Json = Any


class NodeKind(StrEnum):
    """The value of each is how messages call it. UNKNOWN: a value that is not known yet (an expression, a placeholder,
    text that was not JSON): no rule may judge it, and an error about it has been given already."""

    OBJECT = "object"
    ARRAY = "array"
    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    NULL = "null"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Node:
    """A value: `value` of a scalar (or the text of an UNKNOWN), `members` of an object, `items` of an array. secret:
    text or a number that must not be shown: it is a secret, or computed of one."""

    kind: NodeKind
    span: Span
    value: str | int | float | bool | None = None
    members: Mapping[str, Member] = field(default_factory=dict)
    items: tuple[Node, ...] = ()
    secret: bool = False

    def get(self, key: str) -> Node | None:
        """The value of a member by its exact name."""
        member = self.members.get(key)
        return member.value if member else None

    def find(self, key: str) -> Node | None:
        """The value of a member, by its name in any case; the exact spelling wins."""
        if key in self.members:
            return self.members[key].value
        folded = key.casefold()
        return next((member.value for name, member in self.members.items() if name.casefold() == folded), None)

    def text(self, key: str) -> str | None:
        """A string member (name in any case), else None."""
        node = self.find(key)
        return node.value if node and node.kind is NodeKind.STRING and isinstance(node.value, str) else None

    def without(self, *keys: str) -> Node:
        """This object without some members, named in any case."""
        folded = {key.casefold() for key in keys}
        return replace(self, members={k: m for k, m in self.members.items() if k.casefold() not in folded})

    def plain(self) -> Json:
        """The value as plain JSON."""
        if self.kind is NodeKind.OBJECT:
            return {key: member.value.plain() for key, member in self.members.items()}
        if self.kind is NodeKind.ARRAY:
            return [item.plain() for item in self.items]
        return _json(self.value)

    def known(self) -> Json:
        """Like `plain`, with null for what is not known."""
        if self.kind is NodeKind.OBJECT:
            return {key: member.value.known() for key, member in self.members.items()}
        if self.kind is NodeKind.ARRAY:
            return [item.known() for item in self.items]
        return None if self.kind is NodeKind.UNKNOWN else _json(self.value)

    def shown(self) -> Json:
        """Like `known`, for people, with null for numbers that are secret: only text is masked where it is shown."""
        if self.kind is NodeKind.OBJECT:
            return {key: member.value.shown() for key, member in self.members.items()}
        if self.kind is NodeKind.ARRAY:
            return [item.shown() for item in self.items]
        hidden = self.kind is NodeKind.UNKNOWN or (self.kind is NodeKind.NUMBER and self.secret)
        return None if hidden else _json(self.value)


def _json(value: str | int | float | bool | None) -> Json:
    """JSON has no NaN and no Infinity: as Azure does it, they are written as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


@dataclass(frozen=True, slots=True)
class Member:
    """One `"key": value`; key_span is the place of the key."""

    key: str
    key_span: Span
    value: Node
