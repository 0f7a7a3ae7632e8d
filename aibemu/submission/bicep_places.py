"""Where in the Bicep files the places of the compiled JSON come from, as far as that is without doubt.

The compiler has no source map. What is certain: a resource is matched by its symbol, or by type, version and all that
is literal in it, and only where one fits; from there, names are followed through literal objects and arrays, and a
value is taken when the same literal stands there. A value that is computed has the place of its name. Anything else
keeps its place in the JSON.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aibemu.arm.nodes import Member, Node, NodeKind
from aibemu.arm.strings import scan
from aibemu.errors import Span
from aibemu.submission.bicep_syntax import Declaration, Doubt, Kind, Value, declarations

# Modules in each other.
_DEEPEST = 20
_DEPLOYMENT = "microsoft.resources/deployments"
# Members of a body that the compiler makes something else of.
_OWN = {"parent", "scope", "dependsOn", "name"}
# The text of a Bicep file by its path, with \n at the end of each line. Raises OSError.
ReadText = Callable[[Path], str]
# How findings name a file.
Named = Callable[[Path], str]
_Place = tuple[int, int]


class BicepPlaces:
    """From places in compiled JSON, which findings say are in `file`, to those in Bicep. strings: what of that JSON
    stands in strings, by where each begins. whole: where everything else is; None: where it is said to be."""

    def __init__(
        self, file: str, spans: Mapping[_Place, Span], strings: Mapping[_Place, _Text], whole: Span | None = None
    ) -> None:
        self._file = file
        self._spans = spans
        self._strings = strings
        self._whole = whole
        self._starts = sorted(strings)

    def of(self, span: Span) -> Span:
        """The place in a Bicep file, or `span` itself."""
        if span.file != self._file:
            return span
        place = (span.line, span.column)
        return self._spans.get(place) or self._around(place) or self._whole or span

    def _around(self, place: _Place) -> Span | None:
        """For a place inside of a string its literal; in one over several lines, the very place."""
        index = bisect_right(self._starts, place) - 1
        if index < 0:
            return None
        start = self._starts[index]
        text = self._strings[start]
        if place[0] != start[0] or place[1] >= start[1] + len(text.raw):
            return None
        if text.inside is None:
            return self._spans[start]
        before = scan(text.raw[: max(1, place[1] - start[1])] + '"', 0).value
        return text.inside(len(before.replace("\r\n", "\n")))


@dataclass(frozen=True, slots=True)
class _Text:
    """A string in the JSON. raw: with its quotes. inside: where its n-th character stands in a Bicep file, if that is
    a text over several lines."""

    raw: str
    inside: Callable[[int], Span] | None


def places_of_template(
    root: Node, text: str, source: Path, *, read_text: ReadText, named: Named
) -> BicepPlaces:  # fmt: skip
    """Of a template `text`, read as `root`, that was compiled from the file `source`."""
    match = _Match(text, read_text, named)
    match.template(root, source)
    return BicepPlaces(root.span.file, match.spans, match.strings)


def places_of_parameters(root: Node, text: str, source: Path, *, read_text: ReadText, named: Named) -> BicepPlaces:
    """Of the parameters that a .bicepparam file `source` was compiled to. What is not known is at its beginning: their
    JSON is kept nowhere."""
    match = _Match(text, read_text, named)
    match.parameters(root, source)
    return BicepPlaces(root.span.file, match.spans, match.strings, Span(file=named(source), line=1, column=1))


@dataclass(frozen=True, slots=True)
class _Source:
    """A Bicep file. starts: of its lines."""

    path: Path
    name: str
    starts: list[int]
    found: list[Declaration]

    def span(self, at: int) -> Span:
        line = bisect_right(self.starts, at)
        return Span(file=self.name, line=line, column=at - self.starts[line - 1] + 1)


class _Match:
    """Collects what is certain. text: the compiled JSON."""

    def __init__(self, text: str, read_text: ReadText, named: Named) -> None:
        self._lines = text.split("\n")
        self._read = read_text
        self._named = named
        self.spans: dict[_Place, Span] = {}
        self.strings: dict[_Place, _Text] = {}

    def _source(self, path: Path) -> _Source | None:
        try:
            text = self._read(path)
            found = declarations(text)
        except (OSError, Doubt, RecursionError):
            return None
        starts = [0, *(at + 1 for at, sign in enumerate(text) if sign == "\n")]
        return _Source(path=path, name=self._named(path), starts=starts, found=found)

    def parameters(self, root: Node, path: Path) -> None:
        source = self._source(path)
        entries = root.find("parameters")
        if source is None or entries is None:
            return
        for given in source.found:
            member = entries.members.get(given.name)
            if given.word == "param" and member is not None:
                self._add(member.key_span, source.span(given.at))
                self._all(member.value, source.span(given.at))
                value = member.value.get("value")
                if value is not None and given.value is not None:
                    self._value(value, given.value, source, given.at)

    def _all(self, node: Node, place: Span) -> None:
        """What follows knows better for some of it."""
        self._add(node.span, place, node)
        for member in node.members.values():
            self._add(member.key_span, place)
            self._all(member.value, place)
        for item in node.items:
            self._all(item, place)

    def template(self, root: Node, path: Path, depth: int = 0) -> None:
        source = self._source(path) if depth < _DEEPEST else None
        if source is None:
            return
        self._add(root.span, source.span(0))
        for word, group, inner in (("param", "parameters", "defaultValue"), ("var", "variables", ""),
                                   ("output", "outputs", "value")):  # fmt: skip
            self._named_ones(root.find(group), [one for one in source.found if one.word == word], inner, source)
        self._resources(root.find("resources"), source, depth)

    def _named_ones(self, group: Node | None, found: Iterable[Declaration], inner: str, source: _Source) -> None:
        for one in found:
            member = group.members.get(one.name) if group is not None else None
            if member is None:
                continue
            self._add(member.key_span, source.span(one.name_at))
            value = member.value.get(inner) if inner else member.value
            if inner:
                self._add(member.value.span, source.span(one.name_at))
            if value is not None and one.value is not None:
                self._value(value, one.value, source, one.name_at)

    def _resources(self, group: Node | None, source: _Source, depth: int) -> None:
        if group is None:
            return
        candidates = [one for one in source.found if one.word in ("resource", "module") and not one.existing]
        pairs: list[tuple[Node, Declaration]] = []
        for symbol, node in _each(group):
            fitting = [one for one in candidates if _fits(node, one) and symbol in (None, _symbol(one))]
            if len(fitting) == 1:
                pairs.append((node, fitting[0]))
        taken = Counter(id(one) for _, one in pairs)
        for node, one in pairs:
            if taken[id(one)] == 1:
                self._resource(node, one, source, depth)

    def _resource(self, node: Node, one: Declaration, source: _Source, depth: int) -> None:
        start = source.span(one.at)
        self._add(node.span, start)
        for key in ("type", "apiVersion"):
            if (member := node.members.get(key)) is not None:
                self._add(member.key_span, start)
                of_type = key == "type" and one.word == "resource" and one.within is None
                self._add(member.value.span, source.span(one.text_at) if of_type else start, member.value)
        body = one.value
        if body is None or body.kind is not Kind.OBJECT:
            return
        if one.word == "module":
            self._module(node, one, body, source, depth)
        else:
            self._object(node, body, source)

    def _module(self, node: Node, one: Declaration, body: Value, source: _Source, depth: int) -> None:
        if "name" in body.members and (name := node.members.get("name")) is not None:
            self._member(name, *body.members["name"], source)
        properties = node.find("properties")
        if properties is None:
            return
        given = properties.find("parameters")
        values = body.members["params"][1] if "params" in body.members else None
        if given is not None and values is not None and values.kind is Kind.OBJECT:
            for key, (at, value) in values.members.items():
                if (entry := given.get(key)) is not None and (inner := entry.get("value")) is not None:
                    self._add(given.members[key].key_span, source.span(at))
                    self._value(inner, value, source, at)
        template = properties.find("template")
        if template is not None and one.text and one.text.casefold().endswith(".bicep"):
            self.template(template, source.path.parent / one.text, depth + 1)

    def _object(self, node: Node, body: Value, source: _Source) -> None:
        for key, (at, value) in body.members.items():
            if (member := node.members.get(key)) is not None:
                self._member(member, at, value, source)
        for name, repeated in _looped(node):
            loop = body.members[name][1] if name in body.members else None
            if loop is not None and loop.kind is Kind.LOOP and loop.items[0].kind is Kind.OBJECT:
                self._value(repeated, loop.items[0], source, None)

    def _member(self, member: Member, at: int, value: Value, source: _Source) -> None:
        self._add(member.key_span, source.span(at))
        self._value(member.value, value, source, at)

    def _value(self, node: Node, value: Value, source: _Source, name_at: int | None) -> None:
        """name_at: where its name is, for what is computed; None for what has none."""
        if value.kind is Kind.LITERAL:
            if _same(node, value):
                begin = value.content_at
                inside = None if begin is None else lambda offset: source.span(begin + offset)
                self._add(node.span, source.span(value.at), node, inside)
        elif value.kind is Kind.OBJECT and node.kind is NodeKind.OBJECT:
            self._add(node.span, source.span(value.at))
            self._object(node, value, source)
        elif value.kind is Kind.ARRAY and len(node.items) == len(value.items) and node.kind is NodeKind.ARRAY:
            self._add(node.span, source.span(value.at))
            for item, inner in zip(node.items, value.items, strict=True):
                self._value(item, inner, source, None)
        elif name_at is not None and _computed(node):
            self._add(node.span, source.span(name_at), node)

    def _add(
        self, json: Span, bicep: Span, node: Node | None = None, inside: Callable[[int], Span] | None = None
    ) -> None:
        place = (json.line, json.column)
        self.spans[place] = bicep
        if node is not None and node.kind is NodeKind.STRING:
            line = self._lines[json.line - 1]
            self.strings[place] = _Text(line[json.column - 1 : scan(line, json.column - 1).end], inside)


def _each(group: Node) -> Iterator[tuple[str | None, Node]]:
    """Each resource, with its symbol where resources have one."""
    if group.kind is NodeKind.OBJECT:
        for member in group.members.values():
            yield member.key, member.value
    for node in group.items:
        yield None, node


def _symbol(one: Declaration) -> str:
    return f"{_symbol(one.within)}::{one.name}" if one.within else one.name


def _typed(one: Declaration) -> tuple[str, str]:
    """Type and version of a resource; of one inside of another, the other's come before."""
    type_, _, version = (one.text or "").partition("@")
    if one.within is None:
        return type_.casefold(), version.casefold()
    outer, outer_version = _typed(one.within)
    return f"{outer}/{type_.casefold()}", version.casefold() or outer_version


def _fits(node: Node, one: Declaration) -> bool:
    """Whether this can be what the compiler made of it: everything literal is the same."""
    type_, version = (node.text("type") or "").casefold(), (node.text("apiVersion") or "").casefold()
    body = one.value
    if one.text is None or body is None or body.kind is not Kind.OBJECT:
        return False
    if one.word == "resource":
        name = body.members.get("name")
        alone = one.within is None and "parent" not in body.members
        return (type_, version) == _typed(one) and _agree_in(node, body, _OWN) and (
            not alone or name is None or _agree(node.find("name"), name[1])
        )  # fmt: skip
    given = properties.find("parameters") if (properties := node.find("properties")) is not None else None
    return type_ == _DEPLOYMENT and all(
        _agree(node.find("name"), value) if key == "name"
        else _agree_with_values(given, value) if key == "params" else True
        for key, (_, value) in body.members.items()
    )  # fmt: skip


def _agree_with_values(given: Node | None, params: Value) -> bool:
    if params.kind is not Kind.OBJECT:
        return True
    entries = {key: entry for key in params.members if given is not None and (entry := given.get(key)) is not None}
    return len(entries) == len(params.members) and all(
        (inner := entries[key].get("value")) is None or _agree(inner, value)
        for key, (_, value) in params.members.items()
    )


def _agree(node: Node | None, value: Value) -> bool:
    if node is None:
        return value.kind is Kind.LOOP
    if value.kind is Kind.LITERAL:
        return _same(node, value)
    if value.kind is Kind.OBJECT and node.kind is NodeKind.OBJECT:
        return _agree_in(node, value, set())
    if value.kind is Kind.ARRAY and node.kind is NodeKind.ARRAY:
        return len(node.items) == len(value.items) and all(map(_agree, node.items, value.items))
    return value.kind in (Kind.EXPRESSION, Kind.LOOP) or _computed(node)


def _agree_in(node: Node, body: Value, without: set[str]) -> bool:
    return all(
        _agree(node.get(key), value) for key, (_, value) in body.members.items() if key not in without
    )  # fmt: skip


def _computed(node: Node) -> bool:
    text = node.value
    return node.kind is NodeKind.STRING and isinstance(text, str) and text[:1] == "[" and text[:2] != "[["


def _same(node: Node, value: Value) -> bool:
    """The same literal. In JSON a text that begins with `[` has another before it."""
    literal = value.literal
    if isinstance(literal, str):
        text = f"[{literal}" if literal.startswith("[") and literal.endswith("]") else literal
        return node.kind is NodeKind.STRING and str(node.value).replace("\r\n", "\n") == text
    if node.kind not in (NodeKind.NUMBER, NodeKind.BOOLEAN, NodeKind.NULL):
        return False
    return type(node.value) is type(literal) and node.value == literal


def _looped(node: Node) -> Iterator[tuple[str, Node]]:
    """The loops of an object: the name of the member that each makes, and what it makes again and again."""
    loops = node.get("copy")
    for one in loops.items if loops is not None else ():
        name, made = one.text("name"), one.get("input")
        if name and made is not None:
            yield name, made
