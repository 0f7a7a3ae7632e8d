"""Reading a checked tree without asking three questions each time: for the cross-field rules and for assembly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aibemu.arm.nodes import Json, Node, NodeKind
from aibemu.errors import Span


@dataclass(frozen=True, slots=True)
class NodeView:
    """An object at its path. Every accessor gives None for what is absent, unknown or of the wrong type."""

    node: Node
    path: str

    @property
    def span(self) -> Span:
        return self.node.span

    def at(self, key: str) -> Span:
        """The place of a field's value, or of the object when it is not there."""
        found = self.node.get(key)
        return found.span if found else self.node.span

    def has(self, key: str) -> bool:
        """True when the field is there, whatever it holds."""
        return self.node.get(key) is not None

    def is_unknown(self, key: str) -> bool:
        """True when the field holds something that is not resolved."""
        found = self.node.get(key)
        return found is not None and found.kind is NodeKind.UNKNOWN

    def text(self, key: str) -> str | None:
        found = self.node.get(key)
        return found.value if found and found.kind is NodeKind.STRING and isinstance(found.value, str) else None

    def integer(self, key: str) -> int | None:
        found = self.node.get(key)
        return found.value if found and found.kind is NodeKind.NUMBER and isinstance(found.value, int) else None

    def flag(self, key: str) -> bool:
        """True when the field is true; false when it is not, or not there."""
        found = self.node.get(key)
        return bool(found and found.kind is NodeKind.BOOLEAN and found.value)

    def child(self, key: str) -> NodeView | None:
        """An object inside."""
        found = self.node.get(key)
        return NodeView(found, f"{self.path}.{key}") if found and found.kind is NodeKind.OBJECT else None

    def items(self, key: str) -> tuple[Node, ...]:
        """The content of an array, () when there is none."""
        found = self.node.get(key)
        return found.items if found and found.kind is NodeKind.ARRAY else ()

    def children(self, key: str) -> Iterator[NodeView]:
        """The objects of an array, each at its index."""
        for index, item in enumerate(self.items(key)):
            if item.kind is NodeKind.OBJECT:
                yield NodeView(item, f"{self.path}.{key}[{index}]")

    def texts(self, key: str) -> Mapping[str, str]:
        """The strings of a map."""
        child = self.child(key)
        members = child.node.members.values() if child else ()
        return {member.key: member.value.value for member in members if isinstance(member.value.value, str)}

    def plain(self, *without: str) -> dict[str, Json]:
        """The object as plain JSON, without some fields."""
        return {key: member.value.plain() for key, member in self.node.members.items() if key not in without}
