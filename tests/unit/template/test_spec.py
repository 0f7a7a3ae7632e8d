from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from aibemu.template.spec import (
    IMAGE_TEMPLATE,
    VERSIONS,
    Array,
    Map,
    Record,
    Shape,
    Text,
    Union,
    as_read,
    with_defaults,
)
from aibemu.template.spec.steps import CUSTOMIZER
from tests.public_data import SCHEMAS
from tests.unit.template.schema_corpus import examples, objects

# The official schema has these in the object around the variants.
COMMON = {"name", "runOutputName", "artifactTags"}
# Accepted in 2019-05 though not in its published schema (facts: service 1.3).
UNPUBLISHED = {("2019-05-01-preview", "ImageTemplateVmProfile"): {"vnetConfig"}}


def records(shape: Shape, version: str) -> Iterator[tuple[Record, str | None]]:
    """Every record that an API version can reach, with the discriminator of the union that it is in."""
    if isinstance(shape, Record):
        yield shape, None
        yield from inner(shape, version)
    elif isinstance(shape, Union):
        for variant in shape.variants:
            if variant.era.covers(version):
                yield variant.record, shape.discriminator
                yield from inner(variant.record, version)
    elif isinstance(shape, Array):
        yield from records(shape.items, version)
    elif isinstance(shape, Map):
        yield from records(shape.values, version)


def inner(record: Record, version: str) -> Iterator[tuple[Record, str | None]]:
    for field in record.fields:
        if field.era.covers(version) and not field.read_only:
            yield from records(field.shape, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_table_has_the_fields_of_the_official_schema(version: str) -> None:
    schema = json.loads((SCHEMAS / f"{version}.json").read_text())
    definitions: dict[str, Any] = schema["definitions"]
    compared = 0
    for record, discriminator in records(IMAGE_TEMPLATE, version):
        official = definitions.get(record.name)
        if official is None:
            continue
        compared += 1
        extra = COMMON | UNPUBLISHED.get((version, record.name), set())
        tag = {discriminator} if discriminator else set()
        fields = {f.name for f in record.fields if f.era.covers(version) and not f.read_only}
        needed = {f.name for f in record.fields if f.name in fields and f.required and f.required.covers(version)}
        theirs, required = set(official.get("properties", {})), set(official.get("required", []))
        assert (fields | tag) - (extra - theirs) == theirs, record.name
        assert (needed | tag) - (extra - theirs) == required, record.name
        check_choices(record, official, version)
    assert compared >= 5
    resource = schema["resourceDefinitions"]["imageTemplates"]
    envelope = {f.name for f in IMAGE_TEMPLATE.fields if f.era.covers(version) and not f.read_only}
    assert envelope == set(resource["properties"]) - {"apiVersion", "type", "resources"}


def check_choices(record: Record, official: dict[str, Any], version: str) -> None:
    for field in record.fields:
        if isinstance(field.shape, Text) and field.shape.choices and field.era.covers(version):
            allowed = official["properties"][field.name]["oneOf"][0]["enum"]
            assert set(field.shape.allowed(version)) == set(allowed), (record.name, field.name)


def test_every_field_says_what_it_is() -> None:
    for version in VERSIONS:
        for record, _ in records(IMAGE_TEMPLATE, version):
            for field in record.fields:
                where = f"{record.name}.{field.name}"
                assert field.doc.endswith((".", "...")), where
                assert field.doc.count(". ") < 3, where
                assert field.default in (None, {}, "") or "Default:" in field.doc, where


def test_a_name_may_hold_a_dot_since_2019_05() -> None:
    old, new = (IMAGE_TEMPLATE.field("name", version) for version in ("2019-02-01-preview", "2019-05-01-preview"))
    assert old and new and isinstance(old.shape, Text) and isinstance(new.shape, Text)
    assert "`.`" not in old.shape.rule
    assert "`.`" in new.shape.rule


def test_names_are_unique_in_every_version() -> None:
    for version in VERSIONS:
        for record, _ in records(IMAGE_TEMPLATE, version):
            names = [f.name.casefold() for f in record.fields if f.era.covers(version)]
            assert len(names) == len(set(names)), record.name


def test_defaults_are_filled_in_at_every_depth_without_touching_the_value() -> None:
    value = {
        "distribute": [{"type": "SharedImage", "targetRegions": [{"name": "a"}], "versioning": {"scheme": "Latest"}}]
    }
    before = json.dumps(value)

    properties = IMAGE_TEMPLATE.field("properties", "2025-10-01")
    assert properties is not None
    filled = with_defaults(value, properties.shape, "2025-10-01")

    assert json.dumps(value) == before
    target = filled["distribute"][0]
    assert target["targetRegions"] == [{"name": "a", "replicaCount": 1, "storageAccountType": "Standard_LRS"}]
    assert target["versioning"] == {"scheme": "Latest", "major": -1}
    assert target["replicationMode"] == "Full"
    assert target["artifactTags"] == {}
    assert filled["buildTimeoutInMinutes"] == 0


def test_defaults_are_those_of_the_api_version() -> None:
    def filled(version: str) -> Any:
        return with_defaults({"type": "PowerShell"}, CUSTOMIZER, version)

    assert filled("2025-10-01") == {
        "type": "PowerShell", "sha256Checksum": "", "validExitCodes": [0], "runElevated": False, "runAsSystem": False,
    }  # fmt: skip
    assert "runAsSystem" not in filled("2019-05-01-preview")
    first, second = filled("2025-10-01"), filled("2025-10-01")
    first["validExitCodes"].append(1)
    assert second["validExitCodes"] == [0]


SERVICE_SIDE = {"id": "/x", "type": "T", "name": "demo"}
RECORDED = {
    "location": "westus",
    **SERVICE_SIDE,
    "identity": {"type": "UserAssigned", "userAssignedIdentities": {"b": {}, "a": {}}},
    "tags": {"z": "1", "a": "2"},
    "properties": {
        "provisioningState": "Creating",
        "distribute": [
            {"type": "SharedImage", "runOutputName": "o", "galleryImageId": "g", "replicationRegions": ["westus"]},
            {"type": "ManagedImage", "runOutputName": "p", "location": "l", "imageId": "i", "artifactTags": {"b": "c"}},
        ],
        "customize": [{"type": "Shell", "scriptUri": "https://x", "name": "n"}],
        "source": {"type": "PlatformImage", "publisher": "p", "offer": "o", "sku": "s", "version": "latest"},
    },
}


def test_a_get_shows_what_recordings_show() -> None:
    """The layout of the recordings of api version 2022-02-14 (facts: service 1.6)."""
    shown = as_read(RECORDED, IMAGE_TEMPLATE, "2022-02-14")

    # As text: the order of keys counts.
    assert json.dumps(shown) == json.dumps(
        {
            "properties": {
                "source": {"offer": "o", "publisher": "p", "sku": "s", "type": "PlatformImage", "version": "latest"},
                "customize": [{"name": "n", "scriptUri": "https://x", "type": "Shell"}],
                "distribute": [
                    {
                        "artifactTags": {}, "excludeFromLatest": False, "galleryImageId": "g",
                        "replicationRegions": ["westus"], "runOutputName": "o", "type": "SharedImage",
                    },
                    {
                        "artifactTags": {"b": "c"}, "imageId": "i", "location": "l", "runOutputName": "p",
                        "type": "ManagedImage",
                    },
                ],
                "provisioningState": "Creating",
                "buildTimeoutInMinutes": 0,
                "vmProfile": {"vmSize": "", "osDiskSizeGB": 0},
                "stagingResourceGroup": "",
                "exactStagingResourceGroup": "",
            },
            "identity": {"type": "UserAssigned", "userAssignedIdentities": {"b": {}, "a": {}}},
            "tags": {"z": "1", "a": "2"},
            "location": "westus",
            "id": "/x",
            "name": "demo",
            "type": "T",
        }
    )  # fmt: skip


def test_a_get_shows_what_the_version_knows() -> None:
    def target(version: str) -> Any:
        return as_read(RECORDED, IMAGE_TEMPLATE, version)["properties"]["distribute"][0]

    assert target("2022-07-01")["versioning"] is None
    assert "versioning" not in target("2022-02-14")
    assert "excludeFromLatest" not in target("2019-05-01-preview")
    old = as_read(RECORDED, IMAGE_TEMPLATE, "2019-05-01-preview")["properties"]
    assert old["vmProfile"] == {"vmSize": ""}
    assert "stagingResourceGroup" not in old


@pytest.mark.parametrize("version", VERSIONS)
def test_a_get_keeps_what_the_template_says(version: str) -> None:
    def holds(shown: Any, said: Any) -> bool:
        if isinstance(said, dict):
            return all(holds(shown[key], value) for key, value in said.items())
        if isinstance(said, list):
            return len(said) == len(shown) and all(map(holds, shown, said))
        return bool(shown == said)

    for document in examples(version):
        before = json.dumps(document)
        shown = as_read(document, IMAGE_TEMPLATE, version)
        assert holds(shown, document)
        assert as_read(shown, IMAGE_TEMPLATE, version) == shown
        for found in objects(shown):
            found["changed"] = True
        assert json.dumps(document) == before
        assert "changed" not in json.dumps(as_read(document, IMAGE_TEMPLATE, version))


def test_a_null_is_no_value_in_a_get() -> None:
    document = {"properties": {"vmProfile": None, "buildTimeoutInMinutes": None}}
    shown = as_read(document, IMAGE_TEMPLATE, "2025-10-01")["properties"]
    assert shown["vmProfile"] == {"vmSize": "", "osDiskSizeGB": 0}
    assert shown["buildTimeoutInMinutes"] == 0
