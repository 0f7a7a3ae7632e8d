"""The table gives the verdict of Microsoft's published schemas, for every API version, but for what is listed here."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.template.documents import ARM_FIELDS_OF_BARE, TYPE
from aibemu.template.spec import STRICT_SINCE, VERSIONS
from tests.public_data import SCHEMAS, TEMPLATES
from tests.unit.template.schema_corpus import Document, examples, judge, node_of, objects, spoiled


class Stricter(NamedTuple):
    """What aibemu refuses and the official schema does not. applies: to a finding, in an API version."""

    applies: Callable[[Diagnostic, str], bool]
    reason: str


class Milder(NamedTuple):
    """What aibemu understands and the official schema does not. mend: gives a template its official form, in place."""

    mend: Callable[[Document, str], None]
    reason: str


def drop_nulls(document: Document, version: str) -> None:
    for found in objects(document):
        for key in [key for key, value in found.items() if value is None]:
            del found[key]


def mend_case(document: Document, version: str) -> None:
    names = {name.casefold(): name for name in official_names(version)}
    for found in objects(document):
        for key in list(found):
            found[names.get(key.casefold(), key)] = found.pop(key)


def mend_documented(document: Document, version: str) -> None:
    if version == "2019-05-01-preview":
        for found in objects(document):
            if found.get("type") == "WindowsUpdate":
                found.clear()
                found["type"] = "WindowsRestart"


UNKNOWN_FIELD = re.compile(r"unknown field |'\w+' (came with|was dropped with) api version")
STRICTER = (
    Stricter(
        lambda found, version: found.id == "E81",
        "a name is none that no file system and no resource can have (`..`, a line break, a slash: aibemu.names); the "
        "schemas take any text",
    ),
    Stricter(
        lambda found, version: version >= STRICT_SINCE and UNKNOWN_FIELD.match(found.message) is not None,
        "unknown fields, those of other versions and wrong case are refused since 2024-02-01 (facts: service 1.9); "
        "the schemas close no object",
    ),
    Stricter(
        lambda found, version: found.id == "E20" and "and then misses" in found.message,
        "a script needs scriptUri or inline (documented); a misspelt one is ignored, and the schemas ask for neither",
    ),
    Stricter(
        lambda found, version: found.message.endswith("is empty"),
        "a required text that is blank names nothing: the service says the field is missing (inferred)",
    ),
    Stricter(
        lambda found, version: found.id in ("E06", "E50") and "bad value" in found.message,
        "a name with a line break at its end: `$` of Python's patterns allows it, ECMA's and the service's do not",
    ),
    Stricter(
        lambda found, version: version == "2019-05-01-preview" and "vnetConfig" in f"{found.path} {found.message}",
        "vnetConfig of 2019-05-01-preview is not in its schema, and the service took it (facts: service 1.3)",
    ),
)
MILDER = (
    Milder(drop_nulls, "null means absent; a GET shows `versioning: null` (facts: service 1.6)"),
    Milder(
        mend_documented, "Microsoft's article of 2020-06 has WindowsUpdate with 2019-05-01-preview (facts: service)"
    ),
    Milder(mend_case, "names are compared without case before 2024-02-01 (facts: service 1.9)"),
)


def prepared(schema: Any) -> Any:
    """An official schema for templates without expressions.

    `oneOf [value, expression]` is the value. The base of a discriminated object closes it (`additionalProperties` in
    `allOf`), which by the letter of draft-04 would refuse every Shell customizer with a script: it is opened.
    """
    if isinstance(schema, list):
        return [prepared(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "oneOf" in schema:
        values = [form for form in schema["oneOf"] if not form.get("$ref", "").endswith("/expression")]
        if len(values) < len(schema["oneOf"]):
            (value,) = values
            return prepared(value)
    if "allOf" in schema:
        schema = {**schema, "allOf": [{k: v for k, v in part.items() if v is not False} for part in schema["allOf"]]}
    return {key: prepared(value) for key, value in schema.items()}


@cache
def raw(version: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{version}.json").read_text())
    return loaded


@cache
def official(version: str) -> Draft4Validator:
    schema = prepared(raw(version))
    resource = schema["resourceDefinitions"]["imageTemplates"]
    # Child resources are ARM's business, and no part of the template.
    resource["properties"].pop("resources", None)
    return Draft4Validator({**resource, "definitions": schema["definitions"]})


@cache
def official_names(version: str) -> frozenset[str]:
    """Every name of a field in the schema of a version."""
    schema = raw(version)
    parts = [found["properties"] for found in objects(schema) if isinstance(found.get("properties"), dict)]
    return frozenset(name for part in parts for name in part)


def accepted(document: Document, version: str) -> bool:
    return bool(official(version).is_valid({**document, "apiVersion": version, "type": TYPE}))


def official_form(document: Document, version: str) -> Document:
    """The template as it would have to be written for the official schema to understand what aibemu does."""
    form = copy.deepcopy(document)
    for entry in MILDER:
        entry.mend(form, version)
    return form


def errors_of(document: Document, version: str) -> list[Diagnostic]:
    return [found for found in judge(node_of(document), version).sorted() if found.severity is Severity.ERROR]


def compare(document: Document, version: str) -> None:
    """Fail for a difference of verdict that is not listed."""
    errors = errors_of(document, version)
    valid = not errors
    if accepted(document, version) == valid or accepted(official_form(document, version), version) == valid:
        return
    assert not valid, f"the official schema of {version} refuses {document}"
    unlisted = [f for f in errors if not any(entry.applies(f, version) for entry in STRICTER)]
    assert not unlisted, f"the official schema of {version} accepts {document}"


def members(schema: dict[str, Any], definitions: dict[str, Any], seen: set[str]) -> Iterator[tuple[str, str]]:
    """(definition, field) of everything that a schema can reach."""
    for found in objects(schema):
        name = str(found.get("$ref", "")).rpartition("/")[2]
        if name in definitions and name not in seen:
            seen.add(name)
            for part in objects(definitions[name]):
                yield from ((name, field) for field in part.get("properties", {}) if isinstance(field, str))
            yield from members(definitions[name], definitions, seen)


@pytest.mark.parametrize("version", VERSIONS)
def test_examples_are_valid_and_have_every_field_of_the_version(version: str) -> None:
    held: set[str] = set()
    for document in examples(version):
        assert accepted(document, version)
        assert not judge(node_of(document), version).sorted(), document
        held |= {key for found in objects(document) for key in found}
    schema = raw(version)
    resource = schema["resourceDefinitions"]["imageTemplates"]["properties"]
    body = {key: value for key, value in resource.items() if key != "resources"}
    known = {field for _, field in members(body, schema["definitions"], set())} | set(body)
    assert known - {"apiVersion"} <= held


@pytest.mark.parametrize("version", VERSIONS)
def test_examples_of_other_versions_get_the_official_verdict(version: str) -> None:
    for other in VERSIONS:
        for document in examples(other):
            compare(document, version)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=300)
@given(seed=st.integers(0, 2**32))
def test_spoiled_templates_get_the_official_verdict(version: str, seed: int) -> None:
    compare(spoiled(version, random.Random(seed)), version)


PLACEHOLDER = re.compile(r"<[^<>]*>")


def bare_bodies() -> list[Path]:
    return [path for path in sorted(TEMPLATES.glob("*hello*.json")) if "parameters(" not in path.read_text("utf-8-sig")]


@pytest.mark.parametrize("path", bare_bodies(), ids=lambda path: path.stem[-40:])
@pytest.mark.parametrize("version", VERSIONS)
def test_real_templates_get_the_official_verdict(path: Path, version: str) -> None:
    text = PLACEHOLDER.sub("filled-in", path.read_text("utf-8-sig"))
    document = json.loads(text)
    body = {key: value for key, value in document.items() if key not in ("type", *ARM_FIELDS_OF_BARE)}
    compare({"name": "demo", **body}, version)


def test_every_listed_difference_occurs() -> None:
    """Entries that nothing needs any more must go."""
    seen: set[str] = set()
    spoilt = ((version, spoiled(version, random.Random(seed))) for version in VERSIONS for seed in range(300))
    # A customizer that chance seldom brings into a template that is right.
    updates = ((version, spoiled(version, random.Random(seed))) for version in VERSIONS for seed in range(30))
    for version, document in (*spoilt, *((version, with_updates(document)) for version, document in updates)):
        errors = errors_of(document, version)
        if errors and accepted(document, version):
            seen |= {entry.reason for entry in STRICTER if any(entry.applies(found, version) for found in errors)}
        elif not errors and not accepted(document, version):
            seen |= {entry.reason for entry in MILDER if needed(entry, document, version)}
    assert seen == {entry.reason for entry in (*STRICTER, *MILDER)}


def with_updates(document: Document) -> Document:
    """The same, with nothing but WindowsUpdate as its steps."""
    properties = document.get("properties")
    if not isinstance(properties, dict):
        return document
    return {**document, "properties": {**properties, "customize": [{"type": "WindowsUpdate"}]}}


def needed(entry: Milder, document: Document, version: str) -> bool:
    mended = copy.deepcopy(document)
    entry.mend(mended, version)
    return mended != document
