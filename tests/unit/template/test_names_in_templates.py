"""Wherever a template gives a name, what cannot be one is refused at validate: with its place, and exit code 3."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aibemu.cli.main import run
from aibemu.template.spec import IMAGE_TEMPLATE, Array, Field, Map, Record, Shape, Text, Union

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups"
COMPUTE = f"{GROUP}/images/providers/Microsoft.Compute"
IDENTITY = f"{GROUP}/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
BLOB = "https://account.blob.core.windows.net"
# Where a template gives a name, as a path into the resource, and how the name stands there.
PLACES = {
    "name": "{}", "location": "{}", "identity.userAssignedIdentities": f"{IDENTITY}/{{}}",
    "properties.stagingResourceGroup": f"{GROUP}/{{}}", "properties.source.offer": "{}",
    "properties.vmProfile.vmSize": "{}", "properties.vmProfile.userAssignedIdentities.0": f"{IDENTITY}/{{}}",
    "properties.vmProfile.vnetConfig.subnetId":
        f"{GROUP}/g/providers/Microsoft.Network/virtualNetworks/{{}}/subnets/default",
    "properties.distribute.0.runOutputName": "{}", "properties.distribute.0.imageId": f"{COMPUTE}/images/{{}}",
    "properties.distribute.1.galleryImageId": f"{COMPUTE}/galleries/{{}}/images/web",
    "properties.distribute.1.galleryImageId ": f"{COMPUTE}/galleries/gallery/images/{{}}",
    "properties.distribute.1.targetRegions.0.name": "{}", "properties.distribute.2.uri": f"{BLOB}/images/{{}}",
    "properties.distribute.2.uri ": f"{BLOB}/{{}}/disk.vhd", "properties.customize.0.scriptUri": "https://h.example/{}",
    "properties.customize.1.sourceUri": "https://h.example/a/{}",
}  # fmt: skip
NAMES = [".", "..", "a\0b", "a\\b", "a" * 300, "a\nb", "a\u202eb", "\u00e4" * 128]


def resource() -> dict[str, Any]:
    target = {
        "type": "ManagedImage",
        "runOutputName": "image",
        "location": "westeurope",
        "imageId": f"{COMPUTE}/images/a",
    }
    gallery = {
        "type": "SharedImage", "runOutputName": "gallery", "galleryImageId": f"{COMPUTE}/galleries/g/images/web",
        "targetRegions": [{"name": "westeurope"}],
    }  # fmt: skip
    return {
        "name": "web", "location": "westeurope", "apiVersion": "2024-02-01",
        "type": "Microsoft.VirtualMachineImages/imageTemplates",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {f"{IDENTITY}/builder": {}}},
        "properties": {
            "source": {"type": "PlatformImage", "publisher": "Debian", "offer": "d", "sku": "12", "version": "latest"},
            "vmProfile": {"vnetConfig": {}, "userAssignedIdentities": [f"{IDENTITY}/web"]},
            "customize": [
                {"type": "Shell", "scriptUri": "https://h.example/a.sh"},
                {"type": "File", "sourceUri": "https://h.example/a", "destination": "/tmp/a"},
            ],
            "distribute": [target, gallery, {"type": "VHD", "runOutputName": "disk", "uri": f"{BLOB}/images/disk.vhd"}],
        },
    }  # fmt: skip


def put(document: Any, path: str, text: str) -> None:
    *way, last = path.strip().split(".")
    for key in way:
        document = document[int(key) if key.isdigit() else key]
    if last == "userAssignedIdentities":
        document[last] = {text: {}}
    else:
        document[int(last) if last.isdigit() else last] = text


@pytest.fixture
def validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("AIBEMU_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AIBEMU_CHECK_SCRIPTS", "false")

    def call(document: Any) -> tuple[int, list[dict[str, Any]]]:
        path = tmp_path / "t.json"
        frame = {
            "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
            "contentVersion": "1.0.0.0",
        }
        path.write_text(json.dumps({**frame, "resources": [document]}, indent=1))
        capsys.readouterr()
        code = run(["validate", str(path), "-o", "json"])
        said = json.loads(capsys.readouterr().out)
        return code, (said["data"] or said["error"]["details"])["diagnostics"]

    return call


def test_the_template_itself_is_valid(validate: Any) -> None:
    code, found = validate(resource())
    assert (code, [one for one in found if one["severity"] == "error"]) == (0, [])


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("second", [False, True])
def test_what_cannot_be_a_name(validate: Any, name: str, second: bool) -> None:
    """All places at once; those that have two names, in two goes."""
    document, wanted = resource(), set()
    for place, form in PLACES.items():
        if place.endswith(" ") is second:
            put(document, place, form.format(name))
            wanted.add(re.sub(r"\.\d+$", "", place.strip()).rpartition(".")[2])
    code, found = validate(document)
    errors = [one for one in found if one["severity"] == "error" and one["line"] > 1]
    assert code == 3
    assert {key for key in wanted if not any(f"'{key}" in one["message"] for one in errors)} == set()


def shapes(shape: Shape, seen: set[int]) -> Iterator[Field]:
    """Every field of the table."""
    if id(shape) in seen:
        return
    seen.add(id(shape))
    if isinstance(shape, Record):
        for field in shape.fields:
            yield field
            yield from shapes(field.shape, seen)
    elif isinstance(shape, Union):
        for variant in shape.variants:
            yield from shapes(variant.record, seen)
    elif isinstance(shape, Array):
        yield from shapes(shape.items, seen)
    elif isinstance(shape, Map):
        yield from shapes(shape.values, seen)


def test_every_field_that_names_something_says_what() -> None:
    """A new field without a form would take any text as a name."""
    forms = {"name", "id", "uri", "size", "group", "location", "regions", "identities", "publisher", "offer", "sku"}
    fields = [field for field in shapes(IMAGE_TEMPLATE, set()) if not field.read_only]
    assert len(fields) > 60
    missing = []
    for field in fields:
        words = {word.lower() for word in re.findall(r"[A-Za-z][a-z]*", field.name)}
        shape = field.shape.items if isinstance(field.shape, Array) else field.shape
        if words & forms and isinstance(shape, Text | Map) and not shape.form:
            missing.append(field.name)
    assert missing == []
