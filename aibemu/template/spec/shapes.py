"""What a schema is made of: shapes (what a value may be) and fields (a shape's place in an object, and since when).

Plain data, one way to say each thing, so that a validator, defaults and a JSON Schema can all be derived from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aibemu.arm.nodes import Json
from aibemu.names import Form


@dataclass(frozen=True, slots=True, kw_only=True)
class Era:
    """API versions from `since` on, and before `until`; empty = open. documented: an older version that Microsoft's
    articles have it for, though the published schema of that version lacks it; empty = none."""

    since: str = ""
    until: str = ""
    documented: str = ""

    def covers(self, version: str) -> bool:
        return self.since <= version and (not self.until or version < self.until)

    def is_early(self, version: str) -> bool:
        """True for a version whose schema lacks it, and for which Microsoft's articles have it."""
        return bool(self.documented) and self.documented <= version < self.since


ALWAYS = Era()


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string. choices: allowed values and since when; pattern matches all of it, `rule` says the pattern in words.
    form: what it names, if it names something."""

    choices: Mapping[str, Era] = field(default_factory=dict)
    pattern: str = ""
    rule: str = ""
    form: Form | None = None

    def allowed(self, version: str) -> tuple[str, ...]:
        """The choices of an API version."""
        return tuple(choice for choice, era in self.choices.items() if era.covers(version))


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer:
    """A whole number, bounds included."""

    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Boolean:
    """true or false."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    items: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """An object with free keys. form: what a key names, if it names something."""

    values: Shape
    form: Form | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An object with known fields. name: the official schema's; what: how messages call it. one_of: fields of which the
    object needs exactly one.

    A field whose shape changed stands there twice, with eras that do not meet.
    """

    name: str
    what: str
    fields: tuple[Field, ...] = ()
    one_of: tuple[str, ...] = ()

    def living(self, version: str) -> tuple[Field, ...]:
        """The fields of an API version."""
        return tuple(entry for entry in self.fields if entry.era.covers(version))

    def field(self, name: str, version: str) -> Field | None:
        """A field of an API version by its exact name."""
        return next((entry for entry in self.fields if entry.name == name and entry.era.covers(version)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One form of a Union: `tag` is the value of the discriminator."""

    tag: str
    record: Record
    era: Era = ALWAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A tag that people write and the service refuses, with the reason in words."""

    id: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Union:
    """An object whose form follows from its `discriminator`; doc says of the discriminator what `Field.doc` says of a
    field. plugins: the plugins that may add forms, "customizers" or "distributors"; common: what such a form must hold
    too, besides what it likes."""

    what: str
    discriminator: str
    doc: str
    variants: tuple[Variant, ...]
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    plugins: str = ""
    common: Record | None = None

    def tags(self, version: str) -> tuple[str, ...]:
        """The tags of an API version."""
        return tuple(variant.tag for variant in self.living(version))

    def living(self, version: str) -> tuple[Variant, ...]:
        """The forms of an API version."""
        return tuple(variant for variant in self.variants if variant.era.covers(version))

    def variant(self, tag: Json, version: str) -> Variant | None:
        """The form that a tag means in an API version."""
        return next((variant for variant in self.living(version) if variant.tag == tag), None)

    def extends(self, tag: str) -> bool:
        """True when a plugin may add a form of that tag: not one that the service knows, or refuses here."""
        known = tag in self.refused or any(variant.tag == tag for variant in self.variants)
        return bool(self.plugins) and not known


Shape = Text | Integer | Boolean | Array | Map | Record | Union


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A member of a Record.

    doc: for the author of a template, what it is, its unit and what happens without it. era: the versions that know
    it; required, deprecated: the versions that need it, or advise against it, or None. default: what the service fills
    in when absent (None: nothing). aka: wrong names that people write. instead: what took its place, of a field that is
    gone. missing, invalid, mistyped: ids of the findings.
    """

    name: str
    shape: Shape
    doc: str
    era: Era = ALWAYS
    required: Era | None = None
    deprecated: Era | None = None
    default: Json = None
    read_only: bool = False
    aka: tuple[str, ...] = ()
    instead: str = ""
    missing: str = "S02"
    invalid: str = "S03"
    mistyped: str = "S01"

    def is_required(self, version: str) -> bool:
        """True when an API version refuses a template without it."""
        return self.required is not None and self.required.covers(version)

    def is_deprecated(self, version: str) -> bool:
        """True when an API version advises against it."""
        return self.deprecated is not None and self.deprecated.covers(version)
