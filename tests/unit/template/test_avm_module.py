"""The image template module of Azure Verified Modules, as Bicep compiled it: 2,000 lines, evaluated completely.

What is expected was written by hand from the module's text, not taken from the program.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from aibemu.arm.evaluate.deployment import evaluate, open_template
from aibemu.arm.expressions.surroundings import Surroundings
from aibemu.arm.findings import Findings
from aibemu.arm.functions.hashing import guid
from aibemu.arm.nodes import Node
from aibemu.arm.places import Places
from aibemu.arm.reader import read
from aibemu.submission.parameters import Values, read_parameters
from aibemu.template.loader import Inputs, load
from tests.public_data import TEMPLATES
from tests.unit.arm.evaluate.workbench import Result, given_of

(MODULE,) = TEMPLATES.glob("*image-template_main.json")
KINDS = frozenset({"Shell", "File", "PowerShell", "WindowsRestart", "WindowsUpdate"})

SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000001"
GROUP = f"{SUBSCRIPTION}/resourceGroups/aibemu"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/aib"
DEFINITION = f"{GROUP}/providers/Microsoft.Compute/galleries/gallery/images/golden"
SUBNET = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/vnet/subnets/build"
AROUND = Surroundings(now=datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC))
TIME = "2026-01-02-15-04-05"

SMALL: dict[str, Any] = {
    "name": "img",
    "imageSource": {
        "type": "PlatformImage", "publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "server",
        "version": "latest",
    },
    "distributions": [{"type": "ManagedImage", "imageName": "mi"}],
    "managedIdentities": {"userAssignedResourceIds": [IDENTITY]},
}  # fmt: skip
LARGE: dict[str, Any] = {
    "name": "big",
    "location": "northeurope",
    "buildTimeoutInMinutes": 90,
    "vmSize": "Standard_D4s_v5",
    "osDiskSizeGB": 64,
    "imageSource": SMALL["imageSource"],
    "customizationSteps": [{"type": "Shell", "name": "hello", "inline": ["echo hello"]}],
    "stagingResourceGroupResourceId": f"{SUBSCRIPTION}/resourceGroups/staging",
    "lock": {"kind": "CanNotDelete"},
    "tags": {"team": "images"},
    "baseTime": "now",
    "enableTelemetry": True,
    "roleAssignments": [
        {"roleDefinitionIdOrName": "Reader", "principalId": "p1"},
        {"roleDefinitionIdOrName": "/providers/Microsoft.Authorization/roleDefinitions/own", "principalId": "p2",
         "principalType": "Group", "condition": "c"},
        {"roleDefinitionIdOrName": "b24988ac-6180-42a0-ab88-20f7382dd24c", "principalId": "p3", "name": "given"},
    ],
    "distributions": [
        {"type": "VHD", "imageName": "disk", "artifactTags": {"a": "b"}},
        {"type": "SharedImage", "sharedImageGalleryImageDefinitionResourceId": DEFINITION,
         "sharedImageGalleryImageDefinitionTargetVersion": "1.2.3", "excludeFromLatest": True,
         "replicationRegions": ["northeurope", "westeurope"], "storageAccountType": "Standard_ZRS"},
        {"type": "ManagedImage", "imageName": "mi", "runOutputName": "own", "location": "westeurope",
         "imageResourceId": f"{GROUP}/providers/Microsoft.Compute/images/mine"},
    ],
    "vmUserAssignedIdentities": [IDENTITY],
    "managedIdentities": {"userAssignedResourceIds": [IDENTITY]},
    "validationProcess": {
        "continueDistributeOnFailure": True, "inVMValidations": [{"type": "Shell", "inline": ["true"]}]
    },
    "optimizeVmBoot": "Enabled",
    "autoRunState": "Enabled",
    "errorHandlingOnCustomizerError": "abort",
    "errorHandlingOnValidationError": "abort",
    "managedResourceTags": {"cost": "1"},
    "vnetConfig": {"subnetResourceId": SUBNET, "proxyVmSize": "Standard_A1_v2"},
}  # fmt: skip
GALLERY: dict[str, Any] = {
    "name": "next",
    "imageSource": {"type": "SharedImageVersion", "imageVersionID": f"{DEFINITION}/versions/latest"},
    "distributions": [{"type": "SharedImage", "sharedImageGalleryImageDefinitionResourceId": DEFINITION}],
    "managedIdentities": {"userAssignedResourceIds": [IDENTITY]},
    "enableTelemetry": False,
}


@cache
def module() -> tuple[Node, str]:
    text = MODULE.read_text(encoding="utf-8-sig")
    root = read(text, "main.json").root
    assert root is not None
    return root, text


def result(values: dict[str, Any]) -> Result:
    root, text = module()
    findings = Findings("main.json")
    scope = open_template(root, findings, Places({"main.json": text}), AROUND, given_of(values))
    return Result(text=text, scope=scope, evaluated=evaluate(scope), findings=findings.sorted())


def tags(time: str, **source: str | None) -> dict[str, str | None]:
    names = ("Type", "Publisher", "Offer", "Sku", "Version", "ImageId", "ImageVersionID")
    return {**{f"source{name}": source.get(name) for name in names}, "creationTime": time}


UBUNTU = {
    "Type": "PlatformImage", "Publisher": "Canonical", "Offer": "ubuntu-24_04-lts", "Sku": "server", "Version": "latest"
}  # fmt: skip


def test_minimal() -> None:
    found = result(SMALL)
    assert not found.findings
    assert found.resources == [
        {
            "type": "Microsoft.VirtualMachineImages/imageTemplates",
            "apiVersion": "2024-02-01",
            "name": f"img-{TIME}",
            "location": "westeurope",
            "tags": None,
            "identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}},
            "properties": {
                "buildTimeoutInMinutes": 0,
                "vmProfile": {
                    "vmSize": "Standard_D2s_v3", "osDiskSizeGB": 128, "userAssignedIdentities": [], "vnetConfig": None
                },
                "source": SMALL["imageSource"],
                "stagingResourceGroup": None,
                "distribute": [
                    {
                        "type": "ManagedImage",
                        "artifactTags": tags(TIME, **UBUNTU),
                        "runOutputName": f"mi-{TIME}-ManagedImage",
                        "location": "westeurope",
                        "imageId": f"{GROUP}/providers/Microsoft.Compute/images/mi-{TIME}",
                    }
                ],
                "validate": None,
                "optimize": None,
                "autoRun": {"state": "Disabled"},
                "errorHandling": {"onCustomizerError": "cleanup", "onValidationError": "cleanup"},
                "managedResourceTags": None,
            },
        }
    ]  # fmt: skip
    assert found.outputs == {
        "resourceId": f"{GROUP}/providers/Microsoft.VirtualMachineImages/imageTemplates/img-{TIME}",
        "resourceGroupName": "aibemu",
        "name": f"img-{TIME}",
        "namePrefix": "img",
        "runThisCommand": (
            f"Invoke-AzResourceAction -ResourceName img-{TIME} -ResourceGroupName aibemu -ResourceType "
            "Microsoft.VirtualMachineImages/imageTemplates -Action Run -Force"
        ),
        "location": "westeurope",
    }


def test_everything() -> None:
    found = result(LARGE)
    assert not found.findings
    (resource,) = found.resources
    assert (resource["name"], resource["location"], resource["tags"]) == ("big-now", "northeurope", {"team": "images"})
    assert resource["properties"] == {
        "buildTimeoutInMinutes": 90,
        "vmProfile": {
            "vmSize": "Standard_D4s_v5",
            "osDiskSizeGB": 64,
            "userAssignedIdentities": [IDENTITY],
            "vnetConfig": {
                "subnetId": SUBNET, "containerInstanceSubnetId": None, "proxyVmSize": "Standard_A1_v2"
            },
        },
        "source": LARGE["imageSource"],
        "customize": LARGE["customizationSteps"],
        "stagingResourceGroup": f"{SUBSCRIPTION}/resourceGroups/staging",
        "distribute": [
            {"type": "VHD", "artifactTags": {"a": "b"}, "runOutputName": "disk-VHD"},
            {
                "type": "SharedImage",
                "artifactTags": tags("now", **UBUNTU),
                "runOutputName": "golden-SharedImage",
                "galleryImageId": f"{DEFINITION}/versions/1.2.3",
                "excludeFromLatest": True,
                "replicationRegions": ["northeurope", "westeurope"],
                "storageAccountType": "Standard_ZRS",
            },
            {
                "type": "ManagedImage",
                "artifactTags": tags("now", **UBUNTU),
                "runOutputName": "own",
                "location": "westeurope",
                "imageId": f"{GROUP}/providers/Microsoft.Compute/images/mine",
            },
        ],
        "validate": LARGE["validationProcess"],
        "optimize": {"vmBoot": {"state": "Enabled"}},
        "autoRun": {"state": "Enabled"},
        "errorHandling": {"onCustomizerError": "abort", "onValidationError": "abort"},
        "managedResourceTags": {"cost": "1"},
    }  # fmt: skip
    assert found.outputs == {
        "resourceId": f"{GROUP}/providers/Microsoft.VirtualMachineImages/imageTemplates/big-now",
        "resourceGroupName": "aibemu",
        "name": "big-now",
        "namePrefix": "big",
        "runThisCommand": (
            "Invoke-AzResourceAction -ResourceName big-now -ResourceGroupName aibemu -ResourceType "
            "Microsoft.VirtualMachineImages/imageTemplates -Action Run -Force"
        ),
        "location": "northeurope",
    }


def test_lock_and_role_assignments_are_evaluated_too() -> None:
    found = result(LARGE)
    others = {instance.symbol: instance.body.known() for instance in found.scope.resources.all}
    id_ = f"{GROUP}/providers/Microsoft.VirtualMachineImages/imageTemplates/big-now"
    roles = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions"
    reader = f"{roles}/acdd72a7-3385-48ef-bd42-f606fba81ae7"
    own = "/providers/Microsoft.Authorization/roleDefinitions/own"

    assert others["imageTemplate_lock"]["name"] == "lock-big"
    assert others["imageTemplate_lock"]["properties"] == {
        "level": "CanNotDelete", "notes": "Cannot delete resource or child resources."
    }  # fmt: skip
    assert others["imageTemplate_lock"]["scope"] == id_
    first, second, third = (others[f"imageTemplate_roleAssignments[{index}]"] for index in range(3))
    assert first["name"] == guid(id_, "p1", reader)
    assert first["properties"]["roleDefinitionId"] == reader
    assert second["name"] == guid(id_, "p2", own)
    assert (second["properties"]["principalType"], second["properties"]["conditionVersion"]) == ("Group", "2.0")
    assert third["name"] == "given"
    assert third["properties"]["roleDefinitionId"] == f"{roles}/b24988ac-6180-42a0-ab88-20f7382dd24c"
    assert third["properties"]["conditionVersion"] is None
    assert others["avmTelemetry"]["name"].startswith("46d3xbcp.res.virtualmachineimages-imagetemplate.--------.")


def test_from_a_gallery_to_a_gallery() -> None:
    found = result(GALLERY)
    assert not found.findings
    (resource,) = found.resources
    assert resource["properties"]["distribute"] == [
        {
            "type": "SharedImage",
            "artifactTags": tags(TIME, Type="SharedImageVersion", ImageVersionID=f"{DEFINITION}/versions/latest"),
            "runOutputName": "golden-SharedImage",
            "galleryImageId": DEFINITION,
            "excludeFromLatest": False,
            "replicationRegions": ["westeurope"],
            "storageAccountType": "Standard_LRS",
        }
    ]
    telemetry = next(instance for instance in found.scope.resources.all if instance.symbol == "avmTelemetry")
    assert telemetry.deployed is False


@pytest.mark.parametrize("values", [SMALL, LARGE, GALLERY], ids=["minimal", "everything", "gallery"])
def test_what_comes_out_is_a_template(values: dict[str, Any]) -> None:
    """`imageVersionID` is the module's own mistake, which the service refuses since 2024-02-01."""
    if values is GALLERY:
        source = {"type": "SharedImageVersion", "imageVersionId": f"{DEFINITION}/versions/latest"}
        values = {**values, "imageSource": source}
    inputs = Inputs(given=given_of(values), surroundings=AROUND)
    template = load(MODULE, known_kinds=KINDS, inputs=inputs, build=False).template
    assert template.distribute
    assert None not in template.distribute[0].artifact_tags.values()


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"distributions": [{"type": "Disk"}]},
        "parameter 'distributions'[0].type must be 'SharedImage', 'ManagedImage' or 'VHD', not 'Disk'",
    ),
    ({"distributions": [{"type": "VHD"}]}, "parameter 'distributions'[0]: the property 'imageName' is missing"),
    (
        {"optimizeVmBoot": "enabled"},
        "parameter 'optimizeVmBoot' is not one of the allowed values: 'Enabled' or 'Disabled'",
    ),
    ({"buildTimeoutInMinutes": 961}, "parameter 'buildTimeoutInMinutes' must be at most 960, not 961"),
    (
        {"vnetConfig": {"subnetResourceId": 1}},
        "parameter 'vnetConfig'.subnetResourceId must be text, not a whole number",
    ),
    ({"nmae": "x"}, "the template has no parameter 'nmae'"),
    ({"baseTime": 5}, "parameter 'baseTime' must be text, not a whole number"),
    (
        {"roleAssignments": [{"principalId": "p"}]},
        "parameter 'roleAssignments'[0]: the property 'roleDefinitionIdOrName' is missing",
    ),
    (
        {"lock": {"kind": "Delete"}},
        "parameter 'lock'.kind is not one of the allowed values: 'CanNotDelete', 'None' or 'ReadOnly'",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_values_are_told_where_they_are(change: dict[str, Any], message: str) -> None:
    found = result({**SMALL, **change})
    assert [(d.id, d.message) for d in found.findings] == [("X06", message)]
    assert found.findings[0].span.file == "parameters"


def test_places_are_those_of_the_parameters_file(tmp_path: Path) -> None:
    values = {**SMALL, "distributions": [*LARGE["distributions"][:2], {"type": "VHD", "imageNmae": "x"}]}
    values["vnetConfig"] = {"subnetResourceId": ["a"]}
    file = tmp_path / "main.parameters.json"
    file.write_text(json.dumps({"parameters": {key: {"value": value} for key, value in values.items()}}, indent=2))
    taken = Values()
    read_parameters(str(file), taken, file.parent)
    root, text = module()
    findings = Findings("main.json")
    open_template(root, findings, Places({"main.json": text, **taken.texts}), AROUND, taken.given)

    lines = file.read_text().splitlines()
    vhd = max(number for number, line in enumerate(lines, 1) if '"VHD"' in line) - 1
    subnet = next(number for number, line in enumerate(lines, 1) if "subnetResourceId" in line)
    assert [(d.id, d.span.file, d.span.line) for d in findings.sorted()] == [
        ("X06", str(file), vhd), ("X06", str(file), subnet),
    ]  # fmt: skip
    assert lines[subnet - 1][findings.sorted()[1].span.column - 1] == "["


def test_missing_values_are_told_at_the_declaration() -> None:
    found = result({"name": "x"})
    assert [(d.id, found.under(d).split('"')[1]) for d in found.findings] == [
        ("X05", "imageSource"), ("X05", "distributions"), ("X05", "managedIdentities"),
    ]  # fmt: skip
