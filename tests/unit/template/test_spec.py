from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aibemu.template.spec import IMAGE_TEMPLATE, VERSIONS, Array, Map, Record, Shape, Text, Union, with_defaults
from aibemu.template.spec.steps import CUSTOMIZER

SHARED = Path(os.environ.get("AIBEMU_SHARED") or Path(__file__).parents[4] / "shared")
SCHEMAS = SHARED / "data" / "schemas"

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
    path = SCHEMAS / f"{version}.json"
    if not path.exists():
        pytest.skip(f"the official schemas are not there ({SCHEMAS}; AIBEMU_SHARED names the folder)")
    schema = json.loads(path.read_text())
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

    filled = with_defaults(value, IMAGE_TEMPLATE.field("properties").shape, "2025-10-01")  # type: ignore[union-attr]

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
