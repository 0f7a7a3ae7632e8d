"""The JSON Schema for editors: valid, without `oneOf`, of the validator's verdict, complaining of the slip only."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from aibemu.arm.diagnostics import Severity
from aibemu.template.documents import ARM_FIELDS_OF_BARE, TYPE
from aibemu.template.spec import NEWEST, OLDEST_ACCEPTED, VERSIONS
from aibemu.template.spec.json_schema import for_body, for_deployment
from tests.unit.template.schema_corpus import Document, examples, judge, node_of, objects, spoiled

SOME_VERSIONS = (OLDEST_ACCEPTED, "2022-07-01", NEWEST)
# What the loader takes off a bare body before the validator sees it.
TAKEN_OFF = ("type", *ARM_FIELDS_OF_BARE)


@cache
def body(version: str) -> Draft7Validator:
    return Draft7Validator(for_body(version))


@cache
def deployment(version: str) -> Draft7Validator:
    return Draft7Validator(for_deployment(version))


def deployed(document: Document, version: str) -> Document:
    """A deployment template with that resource in it."""
    own = {key: value for key, value in document.items() if key not in TAKEN_OFF}
    resource = {"type": TYPE, "apiVersion": version, **own}
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    return {"$schema": schema, "contentVersion": "1.0.0.0", "resources": [resource]}


def clean(document: Document, version: str) -> bool:
    """No error, and no field that the service would ignore, according to the validator."""
    node = node_of({"name": "demo", **document}).without(*TAKEN_OFF)
    found = judge(node, version).sorted()
    return all(f.severity is not Severity.ERROR and f.id not in ("W02", "E04") for f in found if f.id != "E81")


def beyond(document: Document) -> bool:
    """Differences of the languages: draft-07 takes 5.0 for a whole number, Python's `$` a line break before the end,
    and without regard to case only aibemu takes off what is ARM's. What can be a name (E81) the schema does not say."""
    text = json.dumps(document)
    others = {key for key in document if key.casefold() in {k.casefold() for k in TAKEN_OFF}} - {*TAKEN_OFF}
    return ": 5.0" in text or "[5.0" in text or '\\n"' in text or bool(others)


@pytest.mark.parametrize("version", VERSIONS)
def test_schemas_are_draft_7_without_one_of(version: str) -> None:
    for schema in (for_body(version), for_deployment(version)):
        Draft7Validator.check_schema(schema)
        keywords = {key for found in objects(schema) for key in found}
        assert not keywords & {"oneOf", "anyOf", "not"}


@pytest.mark.parametrize("version", VERSIONS)
def test_examples_are_accepted(version: str) -> None:
    for document in examples(version):
        assert not list(body(version).iter_errors({"$schema": "./s.json", "type": TYPE, **document}))
        assert not list(deployment(version).iter_errors(deployed(document, version)))


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=150)
@given(seed=st.integers(0, 2**32))
def test_the_verdict_is_the_validators(version: str, seed: int) -> None:
    document = spoiled(version, random.Random(seed))
    if beyond(document):
        return
    expected = clean(document, version)
    assert body(version).is_valid(document) == expected, document
    if "name" in document and "resources" not in document:
        assert deployment(version).is_valid(deployed(document, version)) == expected, document


def fields(document: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Every field of a template with the object that it is in, maps with free names left out."""
    for found in objects(document):
        if not {"owner", "/subscriptions/0/resourceGroups/g/identities/i"} & set(found):
            yield from ((found, key) for key in list(found))


@pytest.mark.parametrize("version", SOME_VERSIONS)
def test_a_typo_is_the_only_thing_reported(version: str) -> None:
    for document in examples(version):
        for found, key in fields(document):
            value = found.pop(key)
            found[key + "x"] = value
            errors = list(body(version).iter_errors(document))
            found[key] = found.pop(key + "x")
            told = [error.message for error in errors]
            if key not in ("type", "scheme"):
                assert f"Additional properties are not allowed ('{key}x' was unexpected)" in told
            assert len(told) == 1 or f"'{key}' is a required property" in told, (key, told)
            assert len(told) <= 2, (key, told)


@pytest.mark.parametrize("version", SOME_VERSIONS)
def test_any_value_may_be_an_expression_in_a_deployment(version: str) -> None:
    for document in examples(version):
        for found, key in fields(document):
            value, found[key] = found[key], "[parameters('x')]"
            errors = list(deployment(version).iter_errors(deployed(document, version)))
            assert isinstance(value, str) or not body(version).is_valid(document), key
            found[key] = value
            assert not errors, (key, errors)


def test_text_that_is_no_expression_is_no_number_in_a_deployment() -> None:
    document = next(examples("2025-10-01"))
    document["properties"]["buildTimeoutInMinutes"] = "60"
    (error,) = deployment("2025-10-01").iter_errors(deployed(document, "2025-10-01"))
    assert error.schema["patternErrorMessage"].startswith("This is not text")


def test_loops_and_computed_names_are_accepted_in_a_deployment() -> None:
    document = next(examples("2025-10-01"))
    properties = document["properties"]
    del properties["distribute"]
    assert not deployment("2025-10-01").is_valid(deployed(document, "2025-10-01"))
    properties["copy"] = [{"name": "distribute", "count": 2, "input": {}}]
    properties["[variables('name')]"] = 5
    assert deployment("2025-10-01").is_valid(deployed(document, "2025-10-01"))


def test_only_image_templates_of_the_version_are_judged_in_a_deployment() -> None:
    document = deployed({"properties": 5}, "2025-10-01")
    resource = document["resources"][0]

    def accepted(**changes: Any) -> bool:
        return deployment("2025-10-01").is_valid({**document, "resources": [{**resource, **changes}]})

    assert not accepted()
    assert not accepted(type=TYPE.lower())
    assert accepted(type="Microsoft.Compute/galleries")
    assert accepted(apiVersion="2024-02-01")
    assert not deployment("2025-10-01").is_valid({**document, "resources": {"symbolic": resource}})


def test_steps_of_plugins_may_hold_anything() -> None:
    document = next(examples("2025-10-01"))
    document["properties"]["customize"] = [{"type": "Ansible", "playbook": 5}]
    assert not body("2025-10-01").is_valid(document)
    kinds = ["Ansible", "Shell", "WindowsUpdate"]
    extended = for_body("2025-10-01", kinds)
    assert Draft7Validator(extended).is_valid(document)
    properties = extended["properties"]["properties"]["properties"]
    assert properties["customize"]["items"]["properties"]["type"]["enum"].count("Shell") == 1
    validators = properties["validate"]["properties"]["inVMValidations"]["items"]["properties"]["type"]["enum"]
    assert validators == ["Shell", "PowerShell", "File", "Ansible"]


def test_targets_of_plugins_may_hold_anything() -> None:
    document = next(examples("2025-10-01"))
    document["properties"]["distribute"] = [{"type": "Folder", "runOutputName": "out", "folder": 5}]
    assert not body("2025-10-01").is_valid(document)
    extended = for_body("2025-10-01", ["Shell"], ["Folder", "VHD"])
    assert Draft7Validator(extended).is_valid(document)
    types = extended["properties"]["properties"]["properties"]["distribute"]["items"]["properties"]["type"]["enum"]
    assert types == ["ManagedImage", "SharedImage", "VHD", "Folder"]


def test_editors_get_descriptions_defaults_and_advice() -> None:
    properties = for_body("2022-07-01")["properties"]["properties"]["properties"]
    minutes = properties["buildTimeoutInMinutes"]
    assert (minutes["default"], minutes["minimum"], minutes["maximum"]) == (0, 0, 960)
    assert minutes["description"].startswith("Minutes ")
    shared = next(
        form["then"]["properties"]
        for form in properties["distribute"]["items"]["allOf"]
        if form["if"]["properties"]["type"] == {"const": "SharedImage"}
    )
    assert shared["replicationRegions"]["deprecated"]
    assert shared["runOutputName"]["patternErrorMessage"] == "It must be 1 to 64 letters, digits, `-`, `_` and `.`."
    assert properties["provisioningState"]["readOnly"]
    assert properties["vmProfile"]["properties"]["osDiskSizeGB"]["type"] == ["integer", "null"]


def test_a_schema_can_be_changed_without_changing_the_table() -> None:
    before = json.dumps(for_body("2025-10-01"))
    schema = for_body("2025-10-01")
    for found in objects(schema):
        if isinstance(found.get("default"), list):
            found["default"].append(1)
    assert json.dumps(for_body("2025-10-01")) == before
