"""Functions on arrays, and those that take text or objects just as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from aibemu.arm.expressions.errors import CALLED, ExpressionError, Unknowable
from aibemu.arm.expressions.values import Value, azure_type, described, has_unknown
from aibemu.arm.functions import collation, units
from aibemu.arm.functions.equality import Lookup, equal, found_in, place_of
from aibemu.arm.functions.json_text import text_of
from aibemu.arm.functions.signature import HIGHEST, LOWEST, Function, all_of, fn, in_32_bits, wrong_count
from aibemu.arm.functions.strings import LONGEST, ONE_OF
from aibemu.arm.nodes import Member, Node, NodeKind

MAX_RANGE = 10_000
_ENDS = (
    "The template language function '{called}' expects its parameter be an array or a string. "
    "The provided value is of type '{type}'"
)
_LENGTH = (
    "The template language function '{called}' expects its parameter to be an array, object, or a string. "
    "The provided value is of type '{type}'"
)
_EMPTY = (
    "The template function '{called}' expects its parameter to be an object, an array, or a string. "
    "The provided value is of type '{type}'"
)
_COLLECTION = (
    "The template language function '{called}' expects its first parameter 'collection' to be an array or a string. "
    "The provided value is of type '{type}'"
)


def _concat(*values: Node) -> Value:
    """Arrays to one array, anything else to one text."""
    if values and all(value.kind is NodeKind.ARRAY for value in values):
        return [item for value in values for item in value.items]
    for value in values:
        if not _joins(value):
            azure = (
                f"The provided parameters for language function '{CALLED}' are invalid. "
                "Either all or none of the parameters must be an array"
            )
            what = f"concat joins text, or arrays: not {described(value)} with text"
            raise ExpressionError(what, id_="X02", azure=azure)
    texts = [text_of(value) for value in values]
    if sum(map(len, texts)) > LONGEST:
        raise ExpressionError("concat makes too long a text")
    return "".join(texts)


def _joins(value: Node) -> bool:
    """True for what stands in text: text, whole numbers, true and false."""
    return value.kind in (NodeKind.STRING, NodeKind.BOOLEAN) or isinstance(value.value, int)


def _contains(container: Node, item: Node) -> bool:
    """An item of an array, a key of an object in any case, a part of a text by case."""
    if container.kind is NodeKind.ARRAY:
        return found_in(container.items, item)
    if item.kind is not NodeKind.STRING or container.kind not in (NodeKind.OBJECT, NodeKind.STRING):
        azure = (
            f"The template function '{CALLED}' expects parameters of matching types: a dictionary and a key (string), "
            "an array and a value (object), or a string and a substring. The provided types "
            f"'{azure_type(container)}' and '{azure_type(item)}' are incompatible"
        )
        what = "contains takes an array and a value, an object and a key, or two texts"
        message = f"{what}: not {described(container)} and {described(item)}"
        raise ExpressionError(message, id_="X02", azure=azure)
    if container.kind is NodeKind.OBJECT:
        return container.find(str(item.value)) is not None
    return str(item.value) in str(container.value)


def _empty(value: Node) -> bool:
    return not (value.items or value.members or (value.kind is not NodeKind.NULL and value.value))


def _length(value: Node) -> int:
    return units.length(str(value.value)) if value.kind is NodeKind.STRING else len(value.items or value.members)


def _part(value: Node, start: int | None, end: int | None) -> Value:
    if value.kind is NodeKind.STRING:
        return units.part(str(value.value), start, end)
    return value.items[start:end]


def _end(place: int) -> Callable[[Node], Value]:
    """The first or last item: of empty text nothing, of an empty array null."""

    def end(value: Node) -> Value:
        if value.kind is NodeKind.STRING:
            text = str(value.value)
            return units.part(text, place, None if place < 0 else 1) if text else ""
        return value.items[place] if value.items else None

    return end


def _index_of(container: Node, item: Node) -> int:
    if container.kind is NodeKind.STRING:
        return collation.index_of(str(container.value), _looked_for("indexOf", item))
    return place_of(enumerate(container.items), item)


def _last_index_of(container: Node, item: Node) -> int:
    if container.kind is NodeKind.STRING:
        return collation.last_index_of(str(container.value), _looked_for("lastIndexOf", item))
    return place_of(reversed(list(enumerate(container.items))), item)


def _looked_for(name: str, item: Node) -> str:
    if item.kind is not NodeKind.STRING:
        azure = (
            f"The template language function '{CALLED}' expects its second parameter to be of type 'String'. "
            f"The provided value is of type '{azure_type(item)}'"
        )
        message = f"{name} takes text as argument 2, not {described(item)}: argument 1 is text"
        raise ExpressionError(message, id_="X02", at=1, azure=azure)
    return str(item.value)


def _from_end(items: Sequence[Node], place: int) -> Node:
    if 1 <= place <= len(items):
        return items[-place]
    azure = f"Unable to evaluate the template language function '{CALLED}'. The index parameter "
    if place < 1:
        azure += f"must be greater than zero, but an index of '{place}' was received"
    else:
        azure += (
            f"cannot be larger than the length of the array. The index parameter was '{place}', "
            f"and the length of the array parameter was '{len(items)}'"
        )
    message = f"there is no item {place} from the end: the array has {len(items)}, counted from 1"
    raise ExpressionError(message, azure=azure)


def _flatten(items: Sequence[Node]) -> list[Node]:
    """One level less of arrays."""
    all_of("flatten", items, "an array of arrays", (NodeKind.ARRAY,), "Array")
    return [part for item in items for part in item.items]


def _range(start: int, count: int) -> range:
    for number in (start, count):
        if number < LOWEST:
            in_32_bits(number)
    if not 0 <= count <= MAX_RANGE or start + count > HIGHEST + 1:
        azure = (
            f"The template language function '{CALLED}' parameters are out of range: 'count' must be a positive "
            f"integer no larger than 1000 and the sum of 'start index' and 'count' must be no larger than {HIGHEST}"
        )
        message = f"range makes 0 to {MAX_RANGE} numbers, not {count}, and none above {HIGHEST}"
        raise ExpressionError(message, azure=azure)
    return range(start, start + count)


def _distinct(items: Sequence[Node]) -> list[Node]:
    found: list[Node] = []
    seen: set[str] = set()
    for item in items:
        # As Azure's engine: objects whose members come in another order are not the same.
        key = "?" if has_unknown(item) else f"{azure_type(item)}{text_of(item)}"
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
    """One object of two; keys are the same in any case. deep, as union() does it: objects under the same key are merged
    too, null changes nothing, and of two spellings of a key the last one stays."""
    members = dict(left.members)
    spelled = {key.casefold(): key for key in members}
    renamed: dict[str, str] = {}
    for key, member in right.members.items():
        own = spelled.setdefault(key.casefold(), key)
        old = members.get(own)
        value = member.value
        if deep and old is not None:
            value = old.value if value.kind is NodeKind.NULL else _merged(old.value, value)
            renamed[own] = key
            if len(spelled) < len(members):  # keys of one object that differ by case become one, too
                for twin in [name for name in members if name != own and name.casefold() == key.casefold()]:
                    del members[twin]
        members[own] = Member(own, member.key_span, value)
    named = {renamed.get(key, key): replace(member, key=renamed.get(key, key)) for key, member in members.items()}
    return replace(left, members=named if renamed else members)


def _merged(old: Node, new: Node) -> Node:
    if new.kind is NodeKind.OBJECT and old.kind is NodeKind.OBJECT:
        return merge(old, new, deep=True)
    # It may be an object with more in it.
    return old if new.kind is NodeKind.OBJECT and old.kind is NodeKind.UNKNOWN else new


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
        if all((found := other.get(key)) is not None and equal(found, member.value) for other in others)
    }
    return replace(first, members=members)


def _alike(name: str, values: Sequence[Node]) -> None:
    if len({value.kind for value in values}) != 1:
        azure = f"Template language function '{CALLED}' expects parameters of the same type, but found multiple types"
        raise ExpressionError(f"{name} takes arrays or objects, and not both", id_="X02", azure=azure)


def _largest(numbers: Sequence[int | float]) -> int | float:
    """Of a whole number and one with a fraction that are equal, the second."""
    if all(isinstance(number, int) for number in numbers):
        return max(numbers)
    return max(numbers, key=lambda number: (float(number), isinstance(number, float)))


def _smallest(numbers: Sequence[int | float]) -> int | float:
    if all(isinstance(number, int) for number in numbers):
        return min(numbers)
    return min(numbers, key=lambda number: (float(number), isinstance(number, int)))


def _extreme(name: str, choose: Callable[[Sequence[int | float]], int | float]) -> Callable[..., int | float]:
    def extreme(*values: Node) -> int | float:
        items = values[0].items if values[0].kind is NodeKind.ARRAY and len(values) == 1 else values
        if any(item.kind is NodeKind.UNKNOWN for item in items):
            raise Unknowable
        if not items:
            raise ExpressionError(
                f"{name} takes numbers, or one array of them: this one is empty", azure=wrong_count(1, None, 0)
            )
        numbers = [item.value for item in items if item.kind is NodeKind.NUMBER and isinstance(item.value, int | float)]
        if len(numbers) != len(items):
            raise ExpressionError(f"{name} takes numbers, or one array of them", id_="X02", azure=NOT_NUMERIC)
        return choose(numbers)

    return extreme


NOT_NUMERIC = (
    f"The provided arguments for template language function '{CALLED}' is not valid: "
    "all function arguments should be of numeric types"
)

TABLE: tuple[Function, ...] = (
    fn("array", "any", lambda value: value if value.kind is NodeKind.ARRAY else [value]),
    fn("concat", "any*", _concat),
    fn("contains", "any any", _contains),
    fn("createArray", "any*", lambda *values: values, lenient=True),
    fn("distinct", "array", _distinct),
    fn("empty", "array|object|string|null", _empty, refusal=_EMPTY),
    fn("first", "array|string", _end(0), refusal=_ENDS),
    fn("flatten", "array", _flatten),
    fn("indexFromEnd", "array int32", _from_end),
    fn("indexOf", "string|array any", _index_of, public=True, refusal=ONE_OF),
    fn("intersection", "array|object array|object array|object*", _intersection),
    fn("last", "array|string", _end(-1), refusal=_ENDS),
    fn("lastIndexOf", "string|array any", _last_index_of, public=True, refusal=ONE_OF),
    fn("length", "array|object|string", _length, public=True, refusal=_LENGTH),
    fn("max", "any...", _extreme("max", _largest)),
    fn("min", "any...", _extreme("min", _smallest)),
    fn("range", "int int", _range),
    fn("skip", "array|string int32", lambda value, count: _part(value, max(0, count), None), refusal=_COLLECTION),
    fn("take", "array|string int32", lambda value, count: _part(value, None, max(0, count)), refusal=_COLLECTION),
    fn("union", "array|object array|object array|object*", _union),
)
