"""Functions on arrays, and those that take text or objects just as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from aibemu.arm.expressions.errors import ExpressionError, Unknowable
from aibemu.arm.expressions.values import Value, described, has_unknown
from aibemu.arm.functions.equality import Lookup, equal, found_in, place_of
from aibemu.arm.functions.json_text import text_of
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.functions.strings import LONGEST, folded
from aibemu.arm.nodes import Member, Node, NodeKind

MAX_RANGE = 10_000


def _concat(*values: Node) -> Value:
    """Arrays to one array, anything else to one text."""
    if all(value.kind is NodeKind.ARRAY for value in values):
        return [item for value in values for item in value.items]
    for value in values:
        if value.kind in (NodeKind.ARRAY, NodeKind.OBJECT):
            raise ExpressionError(f"concat joins text, or arrays: not {described(value)} with text", id_="X02")
    texts = [text_of(value) for value in values]
    if sum(map(len, texts)) > LONGEST:
        raise ExpressionError("concat makes too long a text")
    return "".join(texts)


def _contains(container: Node, item: Node) -> bool:
    """An item of an array, a key of an object in any case, a part of a text by case."""
    if container.kind is NodeKind.ARRAY:
        return found_in(container.items, item)
    if container.kind is NodeKind.OBJECT:
        return container.find(text_of(item)) is not None
    return text_of(item) in str(container.value)


def _empty(value: Node) -> bool:
    return not (value.items or value.members or (value.kind is not NodeKind.NULL and value.value))


def _length(value: Node) -> int:
    return len(str(value.value)) if value.kind is NodeKind.STRING else len(value.items or value.members)


def _part(value: Node, part: slice) -> Value:
    return str(value.value)[part] if value.kind is NodeKind.STRING else value.items[part]


def _end(place: int) -> Callable[[Node], Value]:
    """The first or last item: of empty text nothing, of an empty array null."""

    def end(value: Node) -> Value:
        if value.kind is NodeKind.STRING:
            return str(value.value)[place:][:1]
        return value.items[place] if value.items else None

    return end


def _index_of(container: Node, item: Node) -> int:
    if container.kind is NodeKind.STRING:
        return folded(str(container.value)).find(folded(text_of(item)))
    return place_of(enumerate(container.items), item)


def _last_index_of(container: Node, item: Node) -> int:
    if container.kind is NodeKind.STRING:
        return folded(str(container.value)).rfind(folded(text_of(item)))
    return place_of(reversed(list(enumerate(container.items))), item)


def _from_end(items: Sequence[Node], place: int) -> Node:
    if not 1 <= place <= len(items):
        raise ExpressionError(f"there is no item {place} from the end: the array has {len(items)}, counted from 1")
    return items[-place]


def _try_from_end(items: Sequence[Node], place: int) -> Node | None:
    return items[-place] if 1 <= place <= len(items) else None


def _try_get(base: Node, *keys: Node) -> Value:
    """Item by item down a path; null as soon as there is nothing."""
    for key in keys:
        if base.kind is NodeKind.UNKNOWN:
            raise Unknowable
        found: Node | None = None
        if base.kind is NodeKind.OBJECT and isinstance(key.value, str):
            found = base.find(key.value)
        elif base.kind is NodeKind.ARRAY and isinstance(key.value, int) and 0 <= key.value < len(base.items):
            found = base.items[key.value]
        if found is None:
            return None
        base = found
    if base.kind is NodeKind.UNKNOWN:
        raise Unknowable
    return base


def _flatten(items: Sequence[Node]) -> list[Node]:
    """One level less of arrays."""
    flat: list[Node] = []
    for item in items:
        if item.kind is NodeKind.UNKNOWN:
            raise Unknowable
        if item.kind is not NodeKind.ARRAY:
            raise ExpressionError(f"flatten takes an array of arrays, not of {described(item)}", id_="X02")
        flat.extend(item.items)
    return flat


def _range(start: int, count: int) -> range:
    if not 0 <= count <= MAX_RANGE:
        raise ExpressionError(f"range makes 0 to {MAX_RANGE} numbers, not {count}")
    return range(start, start + count)


def _distinct(items: Sequence[Node]) -> list[Node]:
    found: list[Node] = []
    seen: set[str] = set()
    for item in items:
        # Text of JSON tells values apart as `same` does, but for keys that differ by case.
        key = "?" if has_unknown(item) else f"{item.kind}{text_of(item)}"
        if key not in seen or has_unknown(item):
            seen.add(key)
            found.append(item)
    return found


def _union(*values: Node) -> Value:
    """Arrays without what is there twice; objects merged at every depth, the last value of a key wins."""
    _alike("union", values)
    if values[0].kind is NodeKind.ARRAY:
        return _distinct([item for value in values for item in value.items])
    merged = values[0]
    for value in values[1:]:
        merged = merge(merged, value, deep=True)
    return merged


def merge(left: Node, right: Node, *, deep: bool) -> Node:
    """One object of two; keys are the same in any case. deep: objects under the same key are merged too."""
    members = dict(left.members)
    spelled = {key.casefold(): key for key in members}
    for key, member in right.members.items():
        own = spelled.setdefault(key.casefold(), key)
        old = members.get(own)
        value = member.value
        if deep and old is not None and value.kind is NodeKind.OBJECT:
            if old.value.kind is NodeKind.OBJECT:
                value = merge(old.value, value, deep=True)
            elif old.value.kind is NodeKind.UNKNOWN:
                value = old.value  # it may be an object with more in it
        members[own] = Member(own, member.key_span, value)
    return replace(left, members=members)


def _intersection(*values: Node) -> Value:
    """What is in all of them, in the order of the first."""
    _alike("intersection", values)
    first, *others = values
    if first.kind is NodeKind.ARRAY:
        lookups = [Lookup(other.items) for other in others]
        return _distinct([item for item in first.items if all(item in lookup for lookup in lookups)])
    members = {
        key: member
        for key, member in first.members.items()
        if all((found := other.find(key)) is not None and equal(found, member.value) for other in others)
    }
    return replace(first, members=members)


def _alike(name: str, values: Sequence[Node]) -> None:
    if len({value.kind for value in values}) != 1:
        raise ExpressionError(f"{name} takes arrays or objects, and not both", id_="X02")


def _extreme(name: str, choose: Callable[[Sequence[int]], int]) -> Callable[..., int]:
    def extreme(*values: Node) -> int:
        items = values[0].items if values[0].kind is NodeKind.ARRAY and len(values) == 1 else values
        if any(item.kind is NodeKind.UNKNOWN for item in items):
            raise Unknowable
        numbers = [item.value for item in items if item.kind is NodeKind.NUMBER and isinstance(item.value, int)]
        if not numbers or len(numbers) != len(items):
            raise ExpressionError(f"{name} takes whole numbers, or one array of them", id_="X02")
        return choose(numbers)

    return extreme


TABLE: tuple[Function, ...] = (
    fn("array", "any", lambda value: value if value.kind is NodeKind.ARRAY else [value]),
    fn("concat", "any...", _concat),
    fn("contains", "array|object|string any", _contains),
    fn("createArray", "any*", lambda *values: values, lenient=True),
    fn("empty", "array|object|string|null", _empty),
    fn("first", "array|string", _end(0)),
    fn("flatten", "array", _flatten),
    fn("indexFromEnd", "array int", _from_end),
    fn("indexOf", "string|array any", _index_of, public=True),
    fn("intersection", "array|object array|object...", _intersection),
    fn("last", "array|string", _end(-1)),
    fn("lastIndexOf", "string|array any", _last_index_of, public=True),
    fn("length", "array|object|string", _length, public=True),
    fn("max", "int|array...", _extreme("max", max)),
    fn("min", "int|array...", _extreme("min", min)),
    fn("range", "int int", _range),
    fn("skip", "array|string int", lambda value, count: _part(value, slice(max(0, count), None))),
    fn("take", "array|string int", lambda value, count: _part(value, slice(max(0, count)))),
    fn("tryGet", "any any...", _try_get),
    fn("tryIndexFromEnd", "array int", _try_from_end),
    fn("union", "array|object array|object*", _union),
)
