"""The table of an API version as a JSON Schema (draft-07) for editors.

Written for the messages that an editor shows: one `if`/`then` for each form of an object instead of `oneOf`, so that a
slip is reported where it is; unknown fields are slips in every version, though the service took them silently before
2024-02-01. `patternErrorMessage`, `deprecationMessage` and `doNotSuggest` are extensions that VS Code understands and
others ignore. null means absent, as for the service.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from aibemu.template.documents import ARM_FIELDS, ARM_FIELDS_OF_BARE, TYPE
from aibemu.template.spec.shapes import Array, Boolean, Field, Integer, Map, Record, Shape, Text, Union
from aibemu.template.spec.table import IMAGE_TEMPLATE

JsonSchema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
_EXPRESSION = "#/definitions/expression"
_BEGINS_WITH_BRACKET = r"^\["
_TYPES = {Integer: "integer", Boolean: "boolean", Array: "array", Map: "object", Record: "object", Union: "object"}


def for_body(version: str, kinds: Iterable[str] = (), targets: Iterable[str] = ()) -> JsonSchema:
    """The schema of a file that holds the body of an image template. kinds, targets: customizers and distributors of
    plugins, also allowed."""
    writer = _Writer(version=version, plugins=_plugins(kinds, targets), expressions=False)
    members = writer.members(IMAGE_TEMPLATE)
    # The name may come from the command line or from the file's.
    members["required"].remove("name")
    for name in ("type", *ARM_FIELDS_OF_BARE):
        members["properties"].setdefault(name, _silent("Not sent to the service."))
    members["properties"]["$schema"] = {"type": "string", "doNotSuggest": True}
    return {
        "$schema": DRAFT,
        "title": f"Azure VM image template, api version {version}",
        "description": "The body of an imageTemplates resource. Unknown fields are marked in every api version, though "
        "the service ignores them silently before 2024-02-01.",
        "type": "object",
        **members,
    }


def for_deployment(version: str, kinds: Iterable[str] = (), targets: Iterable[str] = ()) -> JsonSchema:
    """The schema of a deployment template: its image templates of that API version, with expressions anywhere.

    Other resources, other API versions and nested deployments are not judged.
    """
    writer = _Writer(version=version, plugins=_plugins(kinds, targets), expressions=True)
    members = writer.members(IMAGE_TEMPLATE)
    for name in (*ARM_FIELDS, "apiVersion"):
        members["properties"].setdefault(name, _silent("For the deployment, not sent to the service."))
    mine = {"type": {"pattern": f"^{_any_case(TYPE)}$"}, "apiVersion": {"const": version}}
    resource = {"$ref": "#/definitions/resource"}
    return {
        "$schema": DRAFT,
        "title": f"Deployment template with image templates of api version {version}",
        "description": f"Judges resources of type {TYPE} and api version {version}, no others.",
        "type": "object",
        "required": ["$schema", "contentVersion", "resources"],
        "properties": {
            "resources": {"type": ["array", "object"], "items": resource, "additionalProperties": resource},
        },
        "definitions": {
            "resource": {
                "if": {"type": "object", "properties": mine, "required": ["type", "apiVersion"]},
                "then": {"$ref": "#/definitions/imageTemplate"},
            },
            "imageTemplate": {"type": "object", **members},
            "expression": {
                "if": {"type": "string"},
                "then": {
                    "pattern": _BEGINS_WITH_BRACKET,
                    "patternErrorMessage": 'This is not text: write the value, or an expression like "[...]".',
                },
            },
        },
    }  # fmt: skip


def _silent(doc: str) -> JsonSchema:
    """A member that is accepted, whatever it holds, and not advertised."""
    return {"description": doc, "doNotSuggest": True}


def _any_case(word: str) -> str:
    """A pattern for a word, in any case: the types of resources are compared without it."""
    return "".join(f"[{c.upper()}{c.lower()}]" if c.isalpha() else re.escape(c) for c in word)


def _plugins(kinds: Iterable[str], targets: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    return {"": (), "customizers": tuple(kinds), "distributors": tuple(targets)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """One API version. plugins: names by kind of plugin. expressions: any value may be given by one."""

    version: str
    plugins: Mapping[str, tuple[str, ...]]
    expressions: bool

    def field(self, field: Field) -> JsonSchema:
        """The schema of a member's value."""
        if field.read_only:
            doc = f"{field.doc} Set by the service: what a template says is ignored."
            return {"description": doc, "readOnly": True, "doNotSuggest": True}
        required = field.is_required(self.version)
        schema: JsonSchema = {"description": field.doc}
        if field.default is not None:
            schema["default"] = deepcopy(field.default)
        if field.is_deprecated(self.version):
            schema |= {"deprecated": True, "deprecationMessage": f"Deprecated: {field.doc}"}
        return schema | self.shape(field.shape, null=not required, filled=required)

    def shape(self, shape: Shape, *, null: bool = False, filled: bool = False) -> JsonSchema:
        """The schema of a value. null: it may be that; filled: text in it may not be blank."""
        if isinstance(shape, Text):
            return self.text(shape, null=null, filled=filled)
        types = [_TYPES[type(shape)], *(["string"] if self.expressions else []), *(["null"] if null else [])]
        schema: JsonSchema = {"type": types if len(types) > 1 else types[0]}
        if isinstance(shape, Integer):
            bounds = {"minimum": shape.minimum, "maximum": shape.maximum}
            schema |= {name: bound for name, bound in bounds.items() if bound is not None}
        elif isinstance(shape, Array):
            schema["items"] = self.shape(shape.items, filled=filled)
        elif isinstance(shape, Map):
            schema["additionalProperties"] = self.shape(shape.values, null=True)
        elif isinstance(shape, Record):
            schema |= self.members(shape)
        elif isinstance(shape, Union):
            schema |= self.forms(shape)
        if self.expressions:
            schema["allOf"] = [{"$ref": _EXPRESSION}, *schema.get("allOf", [])]
        return schema

    def text(self, shape: Text, *, null: bool, filled: bool) -> JsonSchema:
        types: JsonSchema = {"type": ["string", "null"] if null else "string"}
        allowed = [*shape.allowed(self.version), *([None] if null else [])]
        rule: JsonSchema = {}
        if shape.choices:
            rule = {"enum": allowed}
        elif shape.pattern:
            rule = {"pattern": f"^{shape.pattern}$", "patternErrorMessage": f"It must be {shape.rule}."}
        elif filled:
            rule = {"pattern": r"\S", "patternErrorMessage": "It must not be empty."}
        if rule and self.expressions:
            return types | {"if": {"pattern": _BEGINS_WITH_BRACKET}, "else": rule}
        return rule if shape.choices else types | rule

    def members(self, record: Record, *, discriminator: str = "") -> JsonSchema:
        """What the members of an object are; it says nothing of a value that is no object."""
        living = record.living(self.version)
        properties: JsonSchema = {entry.name: self.field(entry) for entry in living}
        if discriminator:
            properties = {discriminator: True, **properties}
        schema: JsonSchema = {"properties": properties, "additionalProperties": False}
        required = [entry.name for entry in living if entry.is_required(self.version)]
        if not self.expressions:
            return schema | ({"required": required} if required else {})
        # A name may be an expression; and `copy` makes members of other names.
        properties["copy"] = _silent("Makes members in a loop.")
        schema["patternProperties"] = {_BEGINS_WITH_BRACKET: True}
        if required:
            schema |= {"if": {"required": ["copy"]}, "else": {"required": required}}
        return schema

    def forms(self, union: Union) -> JsonSchema:
        """An object with a discriminator: which there are, then what each of them holds."""
        name = union.discriminator
        rule: JsonSchema = {
            "enum": [*union.tags(self.version), *sorted(filter(union.extends, self.plugins[union.plugins]))]
        }
        if self.expressions:
            rule = {"type": "string", "if": {"pattern": _BEGINS_WITH_BRACKET}, "else": rule}
        return {
            "required": [name],
            "properties": {name: {"description": union.doc, **rule}},
            "allOf": [
                {
                    "if": {"properties": {name: {"const": variant.tag}}, "required": [name]},
                    "then": self.members(variant.record, discriminator=name),
                }
                for variant in union.living(self.version)
            ],
        }
