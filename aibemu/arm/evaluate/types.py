"""Does a value fit the declaration of a parameter: type, allowed values, bounds, and the types of languageVersion 2.0.

Declarations are those of ARM: `type`, `allowedValues`, `minValue`, `maxLength`, `nullable`, and for arrays and objects
`items`, `prefixItems`, `properties`, `additionalProperties`, `sealed`, `discriminator`, `$ref` to `definitions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from aibemu.arm.expressions.secrets import Secrets
from aibemu.arm.expressions.values import described, has_unknown, same
from aibemu.arm.findings import listed, shorten
from aibemu.arm.nodes import Node, NodeKind
from aibemu.errors import Span
from aibemu.suggestions import did_you_mean

_KINDS = {
    "string": NodeKind.STRING, "securestring": NodeKind.STRING, "int": NodeKind.NUMBER, "bool": NodeKind.BOOLEAN,
    "array": NodeKind.ARRAY, "object": NodeKind.OBJECT, "secureobject": NodeKind.OBJECT,
}  # fmt: skip
TYPES = ("string", "securestring", "int", "bool", "object", "secureObject", "array")
_WORDS = {NodeKind.STRING: "text", NodeKind.NUMBER: "a whole number", NodeKind.BOOLEAN: "true or false",
          NodeKind.ARRAY: "an array", NodeKind.OBJECT: "an object"}  # fmt: skip
MAX_DEPTH = 50
_MOST = 2**63 - 1  # a whole number has 64 bits in ARM
# How deep in a type a secure part of it is looked for, where that only decides what is shown of a mistake.
_FAR_INSIDE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a value does not fit, at the place of the value or of the part of it that does not."""

    message: str
    span: Span
    hint: str | None = None


class Types:
    """The types of one template. definitions: its `definitions`, or None."""

    def __init__(self, definitions: Node | None) -> None:
        self.definitions = definitions

    def resolved(self, declaration: Node) -> Node:
        """The declaration with what its `$ref` points to; what it says itself wins."""
        for _ in range(MAX_DEPTH):
            target = declaration.text("$ref")
            found = self._definition(target) if target else None
            if found is None:
                break
            own = declaration.without("$ref")
            declaration = Node(NodeKind.OBJECT, declaration.span, members={**found.members, **own.members})
        return declaration

    def _definition(self, target: str) -> Node | None:
        name = target.removeprefix("#/definitions/")
        return self.definitions.find(name) if self.definitions and name != target else None

    def hidden(self, value: Node, declaration: Node, secrets: Secrets, depth: int = 0) -> Node:
        """The value, secret where its declaration, or the one of a part of it, has a secure type."""
        kind = self.resolved(declaration)
        if (kind.text("type") or "").casefold().startswith("secure"):
            return secrets.hide(value)
        if depth > MAX_DEPTH:
            return value
        if value.kind is NodeKind.ARRAY:
            pairs = [(item, self._declared_item(kind, number)) for number, item in enumerate(value.items)]
            return replace(
                value, items=tuple(self.hidden(item, one, secrets, depth + 1) if one else item for item, one in pairs)
            )
        if value.kind is not NodeKind.OBJECT:
            return value
        variant = self._variant(value, kind)
        more = variant.find("additionalProperties")
        refuses = more is not None and more.value is False and self.holds_secret(variant)
        members = dict(value.members)
        for key, member in value.members.items():
            if (one := _declared_property(variant, key)) is not None:
                members[key] = replace(member, value=self.hidden(member.value, one, secrets, depth + 1))
            elif refuses:  # it may be a misspelt `password`
                members[key] = replace(member, value=secrets.hide(member.value))
        return replace(value, members=members)

    def holds_secret(self, declaration: Node, depth: int = 0) -> bool:
        """Whether a type is secure, or a part of it, not too far inside."""
        kind = self.resolved(declaration)
        if (kind.text("type") or "").casefold().startswith("secure"):
            return True
        properties, items = kind.find("properties"), kind.find("items")
        parts = [*(member.value for member in properties.members.values())] if properties else []
        parts += [items] if items is not None else []
        return depth < _FAR_INSIDE and any(self.holds_secret(part, depth + 1) for part in parts)

    def problems(self, value: Node, declaration: Node, path: str, depth: int = 0) -> list[Problem]:
        """Everything that does not fit; `path` is how the value is called in messages."""
        if value.kind is NodeKind.UNKNOWN or depth > MAX_DEPTH:
            return []
        kind = self.resolved(declaration)
        nullable = kind.find("nullable")
        if value.kind is NodeKind.NULL and nullable is not None and nullable.value is True:
            return []
        wanted = _KINDS.get((kind.text("type") or "").casefold())
        if wanted is None:
            return []
        if value.kind is not wanted or (wanted is NodeKind.NUMBER and isinstance(value.value, float)):
            return [Problem(message=f"{path} must be {_WORDS[wanted]}, not {described(value)}", span=value.span)]
        if wanted is NodeKind.NUMBER and isinstance(value.value, int) and not -_MOST - 1 <= value.value <= _MOST:
            message = f"{path} must be from {-_MOST - 1} to {_MOST}, not {value.value}"
            return [Problem(message=message, span=value.span)]
        found = [*_allowed(value, kind, path), *_bounds(value, kind, path)]
        if wanted is NodeKind.ARRAY:
            found += self._items(value, kind, path, depth)
        elif wanted is NodeKind.OBJECT:
            found += self._properties(value, self._variant(value, kind), path, depth)
        return found

    def _items(self, value: Node, kind: Node, path: str, depth: int) -> Iterator[Problem]:
        prefix, more = kind.find("prefixItems"), kind.find("items")
        heads = len(prefix.items) if prefix else 0
        if len(value.items) < heads:
            message = f"{path} must have at least {heads} items, not {len(value.items)}"
            yield Problem(message=message, span=value.span)
        elif prefix and len(value.items) > heads and more is not None and more.value is False:
            message = f"{path} must have {heads} items, not {len(value.items)}"
            yield Problem(message=message, span=value.items[heads].span)
        for number, item in enumerate(value.items):
            declared = self._declared_item(kind, number)
            if declared is not None:
                yield from self.problems(item, declared, f"{path}[{number}]", depth + 1)

    def _declared_item(self, kind: Node, number: int) -> Node | None:
        prefix = kind.find("prefixItems")
        heads = prefix.items if prefix else ()
        declared = heads[number] if number < len(heads) else kind.find("items")
        return declared if declared is not None and declared.kind is NodeKind.OBJECT else None

    def _variant(self, value: Node, kind: Node) -> Node:
        """Of a tagged union, the type that the value says it is."""
        discriminator = kind.find("discriminator")
        mapping = discriminator.find("mapping") if discriminator else None
        tag = value.text(discriminator.text("propertyName") or "") if discriminator else None
        chosen = mapping.get(tag) if mapping and tag else None
        return self.resolved(chosen) if chosen else kind

    def _properties(self, value: Node, kind: Node, path: str, depth: int) -> Iterator[Problem]:
        properties = kind.find("properties")
        declared = {m.key.casefold(): m for m in properties.members.values()} if properties else {}
        discriminator = kind.find("discriminator")
        if discriminator is not None:
            yield from _untagged(value, discriminator, path)
        additional = kind.find("additionalProperties")
        for key, member in value.members.items():
            known = declared.get(key.casefold())
            if known is not None:
                yield from self.problems(member.value, known.value, f"{path}.{key}", depth + 1)
            elif additional is not None and additional.kind is NodeKind.OBJECT:
                yield from self.problems(member.value, additional, f"{path}.{key}", depth + 1)
            elif additional is not None and additional.value is False:
                names = [entry.key for entry in declared.values()]
                hint = did_you_mean(key, names, quoted=True) or f"there are {listed(names[:10], 'and')}"
                yield Problem(message=f"{path} has no property '{shorten(key)}'", span=member.key_span, hint=hint)
        for entry in declared.values():
            if value.find(entry.key) is None and not self._optional(entry.value):
                yield Problem(message=f"{path}: the property '{entry.key}' is missing", span=value.span)

    def _optional(self, declaration: Node) -> bool:
        kind = self.resolved(declaration)
        nullable = kind.find("nullable")
        return nullable is not None and nullable.value is True


def _declared_property(kind: Node, key: str) -> Node | None:
    properties = kind.find("properties")
    declared = properties.find(key) if properties else None
    declared = declared or kind.find("additionalProperties")
    return declared if declared is not None and declared.kind is NodeKind.OBJECT else None


def _untagged(value: Node, discriminator: Node, path: str) -> Iterator[Problem]:
    name = discriminator.text("propertyName") or ""
    mapping = discriminator.find("mapping")
    tags = list(mapping.members) if mapping else []
    tag = value.find(name)
    if tag is None:
        yield Problem(message=f"{path}: '{name}' is missing, one of {listed(tags)}", span=value.span)
    elif tag.kind is not NodeKind.UNKNOWN and tag.value not in tags:
        yield Problem(message=f"{path}.{name} must be {listed(tags)}, not '{tag.value}'", span=tag.span)


def _allowed(value: Node, kind: Node, path: str) -> Iterator[Problem]:
    allowed = kind.find("allowedValues")
    if allowed is None or not allowed.items or has_unknown(value):
        return
    if any(same(value, choice) for choice in allowed.items):
        return
    # For an array, each of its items may be one of the allowed values.
    if value.kind is NodeKind.ARRAY and all(
        any(same(item, choice) for choice in allowed.items) for item in value.items
    ):
        return
    texts = [
        str(choice.value)
        for choice in allowed.items
        if choice.kind in (NodeKind.STRING, NodeKind.NUMBER, NodeKind.BOOLEAN)
    ]
    question = did_you_mean(value.value, texts, quoted=True) if isinstance(value.value, str) else None
    yield Problem(
        message=f"{path} is not one of the allowed values: {listed(texts[:12])}",
        span=value.span,
        hint=question,
    )


def _bounds(value: Node, kind: Node, path: str) -> Iterator[Problem]:
    if value.kind is NodeKind.NUMBER:
        size, what = value.value, ""
        low, high = kind.find("minValue"), kind.find("maxValue")
    elif value.kind in (NodeKind.STRING, NodeKind.ARRAY):
        size = len(value.items) if value.kind is NodeKind.ARRAY else len(str(value.value))
        what = " items long" if value.kind is NodeKind.ARRAY else " characters long"
        low, high = kind.find("minLength"), kind.find("maxLength")
    else:
        return
    if not isinstance(size, int):
        return
    if low is not None and isinstance(low.value, int) and size < low.value:
        yield Problem(message=f"{path} must be at least {low.value}{what}, not {size}", span=value.span)
    if high is not None and isinstance(high.value, int) and size > high.value:
        yield Problem(message=f"{path} must be at most {high.value}{what}, not {size}", span=value.span)
