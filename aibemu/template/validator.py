"""A resource against the table of the schema: names, types, bounds, versions; every finding at once.

`Validator.check` gives back the tree as the service would understand it: names in their proper case, what the service
ignores left out. Rules and assembly work on that tree. From api version 2024-02-01 on the service refuses unknown
fields and wrong case; before, it ignored the one and accepted the other, silently (facts: service 1.9).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from aibemu.arm.findings import Findings, listed, shorten
from aibemu.arm.nodes import Member, Node, NodeKind
from aibemu.errors import Span
from aibemu.names import problem
from aibemu.suggestions import closest
from aibemu.template.spec import (
    STRICT_SINCE,
    Array,
    Boolean,
    Field,
    Integer,
    Map,
    Record,
    Shape,
    Text,
    Union,
)

MAX_SUGGESTIONS = 100

_EXPECTED = {Text: NodeKind.STRING, Integer: NodeKind.NUMBER, Boolean: NodeKind.BOOLEAN, Array: NodeKind.ARRAY}
_ARTICLE = {
    NodeKind.OBJECT: "an object", NodeKind.ARRAY: "an array", NodeKind.STRING: "a string", NodeKind.NUMBER: "a number",
    NodeKind.BOOLEAN: "true or false", NodeKind.NULL: "null", NodeKind.UNKNOWN: "unknown",
}  # fmt: skip
# Text that was meant as a value of that kind.
_UNQUOTED = {NodeKind.NUMBER: "-?[0-9]{1,18}", NodeKind.BOOLEAN: "true|false"}
_LARGE = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPlace:
    """Where a value is: path of the object around it, and how its own name reads there."""

    path: str
    name: str
    field: Field | None = None

    @property
    def inner(self) -> str:
        """The path of the value itself."""
        return f"{self.path}.{self.name}" if self.name else self.path

    def item(self, index: int) -> FieldPlace:
        return replace(self, name=f"{self.name}[{index}]")


def _got(node: Node, *, whole: bool) -> str:
    """What stands there instead."""
    if node.kind is NodeKind.BOOLEAN or (whole and node.kind is NodeKind.NUMBER):
        return str(node.value).lower()
    return _ARTICLE[node.kind]


def _rewrite(node: Node, kind: NodeKind) -> str | None:
    """The hint how to write a value of the wrong type, where one can guess."""
    if kind is NodeKind.ARRAY and node.kind in (NodeKind.STRING, NodeKind.OBJECT):
        return "put it into brackets: [ ... ]"
    if isinstance(node.value, str) and re.fullmatch(_UNQUOTED.get(kind, "(?!)"), node.value):
        return f"write {node.value} without quotes"
    if kind is NodeKind.STRING and node.kind in (NodeKind.NUMBER, NodeKind.BOOLEAN):
        return f'write "{str(node.value).lower()}", in quotes'
    if (
        isinstance(node.value, float)
        and kind is NodeKind.NUMBER
        and node.value.is_integer()
        and abs(node.value) < _LARGE
    ):
        return f"write {node.value:.0f}"
    return None


class Validator:
    """One resource, one API version. kinds, targets: customizers and distributors that this aibemu can run, whether the
    service knows them or not."""

    def __init__(self, version: str, kinds: Iterable[str], findings: Findings, targets: Iterable[str] = ()) -> None:
        self.version = version
        self.kinds = {"customizers": frozenset(kinds), "distributors": frozenset(targets)}
        self.strict = version >= STRICT_SINCE
        self.findings = findings
        self.suggestions = MAX_SUGGESTIONS
        # Whether the document is what az printed: that is told once, and read-only fields belong to it.
        self.printed = False

    def check(self, node: Node, shape: Shape, where: FieldPlace) -> Node:
        """Check a value against its shape; the value as the service understands it."""
        if node.kind is NodeKind.UNKNOWN:
            return node
        if isinstance(shape, Record):
            return self.record(node, shape, where)
        if isinstance(shape, Union):
            return self.union(node, shape, where)
        if isinstance(shape, Map):
            return self.map(node, shape, where)
        if not self.typed(node, _EXPECTED[type(shape)], where, whole=isinstance(shape, Integer)):
            return node
        if isinstance(shape, Array):
            items = tuple(self.check(item, shape.items, where.item(i)) for i, item in enumerate(node.items))
            return replace(node, items=items)
        if isinstance(shape, Text):
            self.text(node, shape, where)
        elif isinstance(shape, Integer):
            self.integer(node, shape, where)
        return node

    def nearest(self, word: str, options: Sequence[str]) -> str | None:
        """The did-you-mean; after so many of them nobody reads on, and each takes its time."""
        self.suggestions -= 1
        return closest(word, options) if self.suggestions >= 0 else None

    def typed(self, node: Node, kind: NodeKind, where: FieldPlace, *, whole: bool = False) -> bool:
        """Check the JSON type; whole: a number without fraction."""
        if node.kind is kind and not (whole and isinstance(node.value, float)):
            return True
        wanted = "a whole number" if whole else _ARTICLE[kind]
        id_ = where.field.mistyped if where.field and "[" not in where.name else "S01"
        message = f"Field '{where.name}' must be {wanted}, not {_got(node, whole=whole)}"
        self.findings.error(id_, node.span, message, path=where.path, hint=_rewrite(node, kind))
        return False

    def bad(self, node: Node, where: FieldPlace, why: str, hint: str | None = None) -> None:
        """A value that the service refuses, in its words."""
        shown = shorten(str(node.value), 100)
        id_ = where.field.invalid if where.field else "S03"
        message = f"Field '{where.name}' has a bad value: '{shown}'. {why}"
        self.findings.error(id_, node.span, message, path=where.path, hint=hint)

    def text(self, node: Node, shape: Text, where: FieldPlace) -> None:
        value = str(node.value)
        allowed = shape.allowed(self.version)
        if shape.choices and value not in allowed:
            if value in shape.choices:
                since = shape.choices[value].since
                self.bad(node, where, f"It came with api version {since}; this template uses {self.version}")
                return
            near = self.nearest(value, allowed)
            self.bad(node, where, f"It must be {listed(allowed)}", f"did you mean '{near}'?" if near else None)
        elif shape.pattern and not re.fullmatch(shape.pattern, value):
            self.bad(node, where, f"It must be {shape.rule}")
        elif shape.form and (why := problem(shape.form, value)):
            message = f"Field '{where.name}' cannot be '{shorten(value, 60)}': it {why}"
            self.findings.error("E81", node.span, message, path=where.path)
        elif not value.strip() and where.field and where.field.is_required(self.version):
            self.findings.error(where.field.missing, node.span, f"Field '{where.name}' is empty", path=where.path)

    def integer(self, node: Node, shape: Integer, where: FieldPlace) -> None:
        if not isinstance(node.value, int):
            return
        if shape.minimum is not None and node.value < shape.minimum:
            self.bad(node, where, f"It must be {shape.minimum} or more")
        elif shape.maximum is not None and node.value > shape.maximum:
            self.bad(node, where, f"It must be {shape.maximum} or less")

    def map(self, node: Node, shape: Map, where: FieldPlace) -> Node:
        if not self.typed(node, NodeKind.OBJECT, where):
            return node
        members = {}
        for key, member in node.members.items():
            # Null is the same as absent here too: Microsoft's own modules deploy such tags.
            if member.value.kind is NodeKind.NULL:
                continue
            if shape.form and (why := problem(shape.form, key)):
                message = f"Field '{where.name}' cannot have '{shorten(key, 60)}' as a key: it {why}"
                self.findings.error("E81", member.key_span, message, path=where.path)
            inner = FieldPlace(path=where.inner, name=key)
            members[key] = replace(member, value=self.check(member.value, shape.values, inner))
        return replace(node, members=members)

    def union(self, node: Node, shape: Union, where: FieldPlace) -> Node:
        if not self.typed(node, NodeKind.OBJECT, where):
            return node
        tag = node.find(shape.discriminator)
        allowed = shape.tags(self.version)
        if tag is None or tag.kind is NodeKind.NULL:
            message = f"Missing field '{shape.discriminator}': it says which {shape.what} this is"
            self.findings.error("S02", node.span, message, path=where.inner, hint=f"one of {listed(allowed)}")
            return node
        inner = FieldPlace(path=where.inner, name=shape.discriminator)
        if tag.kind is NodeKind.UNKNOWN or not self.typed(tag, NodeKind.STRING, inner):
            return replace(node, members={})
        variant = shape.variant(tag.value, self.version)
        if variant is None:
            early = (one for one in shape.variants if one.tag == tag.value and one.era.is_early(self.version))
            if variant := next(early, None):
                self.told_early(str(tag.value), variant.era.since, tag.span, where.inner)
        if variant:
            return self.record(node, variant.record, where, discriminator=shape.discriminator)
        if shape.extends(str(tag.value)) and tag.value in self.kinds[shape.plugins]:
            message = f"'{tag.value}' is a {shape.what} of this aibemu's plugins; the service does not know it"
            self.findings.warning("P02", tag.span, message, path=where.inner)
            return self.form_of_plugin(node, shape, where)
        self.unknown_tag(tag, shape, where.inner)
        return replace(node, members={})

    def form_of_plugin(self, node: Node, shape: Union, where: FieldPlace) -> Node:
        """What every form has is checked; the rest is between the template and the plugin."""
        if shape.common is None:
            return node
        names = {field.name.casefold() for field in shape.common.fields}
        mine = {key: member for key, member in node.members.items() if member.key.casefold() in names}
        rest = {key: member for key, member in node.members.items() if key not in mine}
        checked = self.record(replace(node, members=mine), shape.common, where)
        return replace(node, members={**rest, **checked.members})

    def unknown_tag(self, tag: Node, shape: Union, path: str) -> None:
        """Say why there is no such form: newer, gone, refused, or unknown altogether."""
        text = str(tag.value)
        allowed = shape.tags(self.version)
        known = [variant for variant in shape.variants if variant.tag == text]
        newer = next((variant for variant in known if variant.era.since > self.version), None)
        intro = f"Field '{shape.discriminator}' has a bad value: '{shorten(text)}'."
        refusal = next((why for name, why in shape.refused.items() if name.casefold() == text.casefold()), None)
        near = self.nearest(text, allowed)
        if newer:
            message = (
                f"{intro} This {shape.what} came with api version {newer.era.since}, the template uses {self.version}"
            )
            self.findings.error("E04", tag.span, message, path=path, hint=f"use api version {newer.era.since} or newer")
        elif refusal:
            self.findings.error(refusal.id, tag.span, refusal.message, path=path, hint=refusal.hint)
        else:
            hint = f"did you mean '{near}'?" if near else None
            message = f"{intro} There is no such {shape.what}: it must be {listed(allowed)}"
            self.findings.error("E03", tag.span, message, path=path, hint=hint)

    def record(self, node: Node, shape: Record, where: FieldPlace, *, discriminator: str = "") -> Node:
        if not self.typed(node, NodeKind.OBJECT, where):
            return node
        path = where.inner
        members: dict[str, Member] = {}
        flat = self.flattened(node, shape, path)
        for member in node.members.values():
            if flat and not any(member.key.casefold() == entry.name.casefold() for entry in shape.fields):
                continue  # of that one cause
            if member.key.casefold() == discriminator.casefold() and discriminator:
                if member.key != discriminator:
                    self.wrong_case(member, discriminator, path)
                members[discriminator] = replace(member, key=discriminator)
                continue
            field = self.field(member, shape, path, node)
            if field is None or member.value.kind is NodeKind.NULL:
                continue
            if field.name != member.key and field.name in node.members:
                continue  # the field is there too, rightly written
            inner = FieldPlace(path=path, name=field.name, field=field)
            # Of what was perhaps meant otherwise, only the name is told.
            misnamed = field.name.casefold() != member.key.casefold()
            value = member.value if misnamed else self.check(member.value, field.shape, inner)
            members[field.name] = replace(member, key=field.name, value=value)
        self.missing(members, shape, node.span, path, told=flat)
        return replace(node, members=members)

    def flattened(self, node: Node, shape: Record, path: str) -> str | None:
        """The name of a field that is not there, but whose own fields are, in its place; that is told, once."""
        keys = {member.key.casefold() for member in node.members.values()}
        known = {entry.name.casefold() for entry in shape.fields}
        for field in shape.living(self.version):
            if not isinstance(field.shape, Record) or field.name.casefold() in keys:
                continue
            own = {entry.name.casefold() for entry in field.shape.living(self.version)} - known
            inside = [member for member in node.members.values() if member.key.casefold() in own]
            if field.is_required(self.version) and len(inside) > 1:
                names = [member.key for member in inside]
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                message = (
                    f"the fields of '{field.name}' are not in it but in its place ({', '.join(names[:3])}{more}): so "
                    f"`az image builder show` prints a template, and the service refuses it"
                )
                hint = f"put them into '{field.name}', or take the template from `az resource show`, which keeps it"
                self.findings.error(field.missing, inside[0].key_span, message, path=path, hint=hint)
                self.printed = True
                return field.name
        return None

    def told_early(self, name: str, since: str, span: Span, path: str) -> None:
        message = (
            f"'{name}' is in the published schema from api version {since} on; Microsoft's articles have it with "
            f"{self.version} too"
        )
        self.findings.note("E04", span, message, path=path, hint=f"use api version {since} or newer, to be sure")

    def field(self, member: Member, shape: Record, path: str, around: Node) -> Field | None:
        """The field that a key of `around` means, None when the service drops (or refuses) it; complaints included."""
        living = shape.living(self.version)
        exact = next((entry for entry in living if entry.name == member.key), None)
        folded = next((entry for entry in living if entry.name.casefold() == member.key.casefold()), None)
        field = exact or folded
        if field is None:
            early = (one for one in shape.fields if one.name == member.key and one.era.is_early(self.version))
            if found := next(early, None):
                self.told_early(member.key, found.era.since, member.key_span, path)
                return found
            near = self.meant(member, shape, living)
            meant = next((entry for entry in living if entry.name == near), None)
            needed = meant is not None and self.needs(meant, shape, around)
            same = self.unknown_field(member, shape, near, path, meant if needed else None)
            # That is the one cause: the field that was meant is not told to be missing.
            return meant if same and (self.strict or needed) else None
        if field.read_only:
            if not self.printed:
                message = f"Field '{field.name}' is read-only: the service sets it and ignores what a template says"
                self.findings.warning("S04", member.key_span, message, path=path, hint="remove it")
            return None
        if exact is None:
            self.wrong_case(member, field.name, path)
        return field

    def wrong_case(self, member: Member, name: str, path: str) -> None:
        hint = f"write '{name}'"
        if self.strict:
            message = f'unknown field "{member.key}": from api version {STRICT_SINCE} on case matters'
            self.findings.error("E01", member.key_span, message, path=path, hint=hint)
        else:
            message = (
                f"wrong case: '{member.key}' is read as '{name}'; from api version {STRICT_SINCE} on it is refused"
            )
            self.findings.warning("W02", member.key_span, message, path=path, hint=hint)

    def meant(self, member: Member, shape: Record, living: Sequence[Field]) -> str | None:
        """The name of the field that was meant by one that this API version does not have, as far as one can tell."""
        key = member.key.casefold()
        if other := next((entry for entry in shape.fields if entry.name.casefold() == key), None):
            return other.instead or None
        names = tuple(entry.name for entry in living if not entry.read_only)
        aka = next((entry.name for entry in living if key in {a.casefold() for a in entry.aka}), None)
        return aka or self.nearest(member.key, names)

    def needs(self, field: Field, shape: Record, around: Node) -> bool:
        """Whether the service refuses the object, as this field is not there."""
        keys = {member.key.casefold() for member in around.members.values()}
        if field.name in shape.one_of:
            return not keys & {name.casefold() for name in shape.one_of}
        return field.is_required(self.version) and field.name.casefold() not in keys

    def unknown_field(
        self, member: Member, shape: Record, near: str | None, path: str, needed: Field | None
    ) -> bool:  # fmt: skip
        """Not a field of this API version: newer, gone, or never was. needed: the field that was meant, if the service
        refuses the template without it. True when the value is one for the field that was meant."""
        key = member.key
        living = shape.living(self.version)
        other = next((entry for entry in shape.fields if entry.name.casefold() == key.casefold()), None)
        if other and other.era.since > self.version:
            message = f"'{key}' came with api version {other.era.since}"
            self.refuse_or_warn(
                "E04", "E04", member, message, path, f"use api version {other.era.since} or newer", None
            )  # fmt: skip
            return False
        if other:
            message = f"'{key}' was dropped with api version {other.era.until}"
            hint = f"write '{other.instead}'" if other.instead else "remove it"
            same = any(entry.name == other.instead and entry.shape == other.shape for entry in living)
            self.refuse_or_warn("E01", "W02", member, message, path, hint, needed if same else None)
            return same
        names = tuple(entry.name for entry in living if not entry.read_only)
        hint = (
            f"did you mean '{near}'?" if near else f"remove it; {shape.what} has {listed(names, 'and') or 'no fields'}"
        )
        message = f'unknown field "{shorten(key, 60)}" in {shape.what}'
        self.refuse_or_warn("E01", "W02", member, message, path, hint, needed)
        return near is not None

    def refuse_or_warn(
        self, error: str, warning: str, member: Member, message: str, path: str, hint: str | None, needed: Field | None
    ) -> None:
        """An error where the service refuses unknown fields, a warning where it drops them without a word; but an error
        there too when it then misses the field that was meant."""
        if self.strict:
            full = f"{message}; with api version {self.version} the service refuses it"
            self.findings.error(error, member.key_span, full, path=path, hint=hint)
        elif needed:
            full = f"{message}; the service ignores it, and then misses '{needed.name}'"
            self.findings.error(needed.missing, member.key_span, full, path=path, hint=hint)
        else:
            full = f"{message}; with api version {self.version} the service silently ignores it"
            self.findings.warning(warning, member.key_span, full, path=path, hint=hint)

    def missing(
        self, members: dict[str, Member], shape: Record, span: Span, path: str, *, told: str | None = None
    ) -> None:
        """told: a field that was told of already."""
        for field in shape.living(self.version):
            if field.is_required(self.version) and field.name not in members and field.name != told:
                message = f"Missing field '{field.name}': {shape.what} needs it with api version {self.version}"
                self.findings.error(field.missing, span, message, path=path)
