"""Public templates as people wrote them, with the values that people would give: what their authors meant comes out.

The expected resources were written by hand from the files (fixtures/public-templates), not taken from the program. The
module of Azure Verified Modules has a test file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aibemu.arm.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.arm.evaluate.deployment import evaluate, open_template
from aibemu.arm.evaluate.parameters import Given
from aibemu.arm.expressions.surroundings import Surroundings
from aibemu.arm.findings import Findings
from aibemu.arm.nodes import Node, NodeKind
from aibemu.arm.places import Places
from aibemu.arm.reader import read
from aibemu.errors import Span
from aibemu.template.loader import Inputs, load
from tests.public_data import TEMPLATES

KINDS = frozenset({"Shell", "File", "PowerShell", "WindowsRestart", "WindowsUpdate"})

SUB = "00000000-0000-0000-0000-000000000000"
IDENTITY = f"/subscriptions/{SUB}/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/aib"
GALLERY_IMAGE = f"/subscriptions/{SUB}/resourceGroups/rg/providers/Microsoft.Compute/galleries/gal/images/def"
MANAGED_IMAGE = f"/subscriptions/{SUB}/resourceGroups/rg/providers/Microsoft.Compute/images/img"
VERSION = f"{GALLERY_IMAGE}/versions/1.2.3"
SUBNET = f"/subscriptions/{SUB}/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/vn/subnets/sn"
RAW = "https://raw.githubusercontent.com/danielsollondon/azvmimagebuilder/master"
QUICK = f"{RAW}/quickquickstarts"
PLACEHOLDERS = {
    "subscriptionID": SUB, "rgName": "rg", "region": "westus", "region1": "westus", "region2": "eastus",
    "imgBuilderId": IDENTITY, "runOutputName": "out", "imageName": "img", "sharedImageGalName": "gal", "acgName": "gal",
    "imageDefName": "def", "scriptUrl": "https://example.com/a.sh", "sigDefImgVersionId": VERSION, "vnetRgName": "net",
    "vnetName": "vn", "subnetName": "sn", "buildRGName": "staging",
}  # fmt: skip
PARAMETERS = {"imageTemplateName": "tpl", "api-version": "2022-07-01", "svclocation": "westus"}
SCRIPT = {
    "type": "Shell", "name": "RunScriptFromSource", "scriptUri": f"{QUICK}/customizeScript.sh"
}  # fmt: skip
CHECKED = {
    "type": "Shell", "name": "CheckSumCompareShellScript", "scriptUri": f"{QUICK}/customizeScript2.sh",
    "sha256Checksum": "ade4c5214c3c675e92c66e2d067a870c5b81b9844b3de3cc72c49ff36425fc93",
}  # fmt: skip
INDEX = f"{QUICK}/exampleArtifacts/buildArtifacts/index.html"
DOWNLOAD = {"type": "File", "name": "downloadBuildArtifacts", "sourceUri": INDEX, "destination": "/tmp/index.html"}
SETUP = {
    "type": "Shell", "name": "setupBuildPath",
    "inline": ["sudo mkdir /buildArtifacts", "sudo cp /tmp/index.html /buildArtifacts/index.html"],
}  # fmt: skip
UPGRADES = {"type": "Shell", "name": "InstallUpgrades", "inline": ["sudo apt install unattended-upgrades"]}
RESTART = {
    "type": "WindowsRestart", "restartTimeout": "5m",
    "restartCheckCommand": (
        "echo Azure-Image-Builder-Restarted-the-VM  > c:\\buildArtifacts\\azureImageBuilderRestart.txt"
    ),
}  # fmt: skip
UPDATE = {
    "type": "WindowsUpdate", "searchCriteria": "IsInstalled=0", "updateLimit": 20,
    "filters": ["exclude:$_.Title -like '*Preview*'", "include:$true"],
}  # fmt: skip
WINDOWS_DOWNLOAD = {**DOWNLOAD, "destination": "c:\\buildArtifacts\\index.html"}
WAS_HERE = "echo Azure-Image-Builder-Was-Here  > c:\\buildActions\\buildActionsOutput.txt"
AGENT = {"type": "PowerShell", "name": "settingUpMgmtAgtPath", "inline": ["mkdir c:\\buildActions", WAS_HERE]}
CREATE = {"type": "PowerShell", "name": "CreateBuildPath", "scriptUri": f"{RAW}/testPsScript.ps1"}
OWN = {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}
BIONIC = {"type": "PlatformImage", "publisher": "Canonical", "offer": "UbuntuServer", "sku": "18.04-LTS",
          "version": "latest"}  # fmt: skip


def shared_image(base: str | None, source: str = "azureVmImageBuilder", **more: Any) -> dict[str, Any]:
    regions = more or {"replicationRegions": ["westus", "eastus"]}
    tags = {"artifactTags": {"source": source, "baseosimg": base}} if base else {}
    return {"type": "SharedImage", "galleryImageId": GALLERY_IMAGE, "runOutputName": "out", **tags, **regions}


def managed_image(base: str) -> dict[str, Any]:
    return {
        "type": "ManagedImage", "imageId": MANAGED_IMAGE, "location": "westus", "runOutputName": "out",
        "artifactTags": {"source": "azVmImageBuilder", "baseosimg": base},
    }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """file: a part of the name. name: of the template, for --name where the file has none. parameters: what a user
    gives besides the placeholders. resource: what comes out of it, without what the service ignores."""

    file: str
    name: str
    version: str
    resource: Mapping[str, Any]
    parameters: Mapping[str, str] = field(default_factory=dict)


CASES = (
    Case(
        file="helloImageTemplateLinux",
        name="helloImageTemplateLinux",
        version="2020-02-14",
        resource={
            "location": "westus",
            "tags": {"imagebuilderTemplate": "ubuntu1804", "userIdentity": "enabled"},
            "identity": OWN,
            "properties": {
                "buildTimeoutInMinutes": 80,
                "vmProfile": {"vmSize": "Standard_D1_v2", "osDiskSizeGB": 30},
                "source": BIONIC,
                "customize": [SCRIPT, CHECKED, DOWNLOAD, SETUP, UPGRADES],
                "distribute": [managed_image("ubuntu1804")],
            },
        },
    ),
    Case(
        file="helloImageTemplateWin.",
        name="helloImageTemplateWin",
        version="2022-02-14",
        resource={
            "location": "westus",
            "tags": {"imagebuilderTemplate": "windows2022", "userIdentity": "enabled"},
            "identity": OWN,
            "properties": {
                "buildTimeoutInMinutes": 100,
                "vmProfile": {"vmSize": "Standard_D2s_v3", "osDiskSizeGB": 127},
                "source": {
                    "type": "PlatformImage", "publisher": "MicrosoftWindowsServer", "offer": "WindowsServer",
                    "sku": "2022-datacenter-azure-edition", "version": "latest",
                },
                "customize": [
                    {**CREATE, "runElevated": False}, RESTART, WINDOWS_DOWNLOAD, {**AGENT, "runElevated": False}, UPDATE
                ],
                "distribute": [managed_image("windows2022")],
            },
        },
    ),
    Case(
        file="Linux_Shared_Image_Gallery_Image_helloImageTemplateforSIG.",
        name="helloImageTemplateforSIG",
        version="2022-02-14",
        resource={
            "location": "westus",
            "tags": {"imagebuilderTemplate": "AzureImageBuilderSIG", "userIdentity": "enabled"},
            "identity": OWN,
            "properties": {
                "buildTimeoutInMinutes": 80,
                "vmProfile": {"vmSize": "Standard_D2s_v3", "osDiskSizeGB": 30},
                "source": {
                    "type": "PlatformImage", "publisher": "Canonical", "offer": "0001-com-ubuntu-server-focal",
                    "sku": "20_04-lts-gen2", "version": "latest",
                },
                "customize": [SCRIPT, CHECKED, DOWNLOAD, SETUP, UPGRADES],
                "distribute": [shared_image("ubuntu2004")],
            },
        },
    ),
    Case(
        file="existingVNETWindows",
        name="tpl",
        version="2022-07-01",
        parameters=PARAMETERS,
        resource={
            "location": "westus",
            "tags": {"imagebuilderTemplate": "AzureVMImageBuilderVNET", "userIdentity": "enabled"},
            "identity": OWN,
            "properties": {
                "buildTimeoutInMinutes": 100,
                "vmProfile": {
                    "vmSize": "Standard_D2_v2", "osDiskSizeGB": 127, "vnetConfig": {"subnetId": SUBNET}
                },
                "source": {
                    "type": "PlatformImage", "publisher": "MicrosoftWindowsServer", "offer": "WindowsServer",
                    "sku": "2019-Datacenter", "version": "latest",
                },
                "customize": [CREATE, RESTART, WINDOWS_DOWNLOAD, AGENT, UPDATE],
                "distribute": [managed_image("windows2019")],
            },
        },
    ),
    Case(
        file="helloImageTemplateforSIGfromWinSIG",
        name="tpl",
        version="2022-07-01",
        parameters=PARAMETERS,
        resource={
            "location": "westus",
            "tags": {"imagebuilderTemplate": "AzureVMImageBuilderSIGonSIG", "userIdentity": "enabled"},
            "identity": OWN,
            "properties": {
                "buildTimeoutInMinutes": 100,
                "vmProfile": {"vmSize": "Standard_D2_v2", "osDiskSizeGB": 127},
                "source": {"type": "SharedImageVersion", "imageVersionId": VERSION},
                "customize": [
                    {
                        "type": "PowerShell", "name": "settingUpMgmtAgtPath",
                        "inline": [
                            "mkdir c:\\buildActions2",
                            "echo Azure-Image-Builder-Was-Here  > c:\\buildActions2\\buildActionsOutput.txt",
                        ],
                    },
                    UPDATE,
                ],
                "distribute": [shared_image("windows2019")],
            },
        },
    ),
    Case(
        file="helloImageTemplateMsi",
        name="helloImageTemplateMsi",
        version="2020-02-14",
        resource={
            "location": "westus",
            "tags": {"imagebuilderTemplate": "msiEnabled"},
            "identity": OWN,
            "properties": {
                "source": BIONIC,
                "customize": [{"type": "Shell", "name": "RunScripts01", "scriptUri": "https://example.com/a.sh"}],
                "distribute": [shared_image("ubuntu1804")],
            },
        },
    ),
    Case(
        file="Trigger_with_a_Custom_Linux_Image_helloImageTemplate.",
        name="helloImageTemplate",
        version="2022-07-01",
        resource={
            "location": "westus",
            "identity": OWN,
            "properties": {
                # exactVersion is the service's own, and dropped
                "source": BIONIC,
                "customize": [
                    {**SCRIPT, "sha256Checksum": "2c6ff6902a4a52deee69e8db26d0036a53388651008aaf31795bb20dabd21fd8"},
                    CHECKED,
                    {**DOWNLOAD, "sha256Checksum": "d9715d72889fb1a0463d06ce9e89d1d2bd33b2c5e5362a736db6f5a25e601a58"},
                    {**SETUP, "inline": [SETUP["inline"][0], "\n" + SETUP["inline"][1]]},
                    UPGRADES,
                ],
                "distribute": [
                    shared_image(
                        None,
                        targetRegions=[
                            {"name": "westus", "storageAccountType": "Premium_LRS"},
                            {"name": "eastus", "replicaCount": 2, "storageAccountType": "Standard_ZRS"},
                        ],
                    )
                ],
            },
        },
    ),
    Case(
        file="devOpsEnvTemplate",
        name="tpl",
        version="2019-05-01-preview",
        parameters={
            "imageTemplateName": "tpl", "svcLocation": "westus", "managedImageName": "img", "targetOS": "linux",
            "managedImageResGroupId": MANAGED_IMAGE.removesuffix("img"), "packagesToInstall": "nginx git",
        },
        resource={
            "location": "westus",
            "properties": {
                "source": BIONIC,
                "customize": [
                    {
                        "type": "Shell", "name": "setEnvVarsMkdir",
                        "inline": [
                            "Target_OS=linux", "echo setting Target OS working directory: $Target_OS",
                            "sudo mkdir /$Target_OS",
                        ],
                    },
                    {
                        "type": "Shell", "name": "installPackages",
                        "inline": [
                            "app_Packages=nginx git", "echo Packages to be installed: $app_Packages",
                            "sudo apt-get install -y $app_Packages",
                        ],
                    },
                ],
                # aritfactTags is ignored by this api version
                "distribute": [
                    {"type": "ManagedImage", "imageId": MANAGED_IMAGE, "location": "westus", "runOutputName": "img"}
                ],
            },
        },
    ),
    Case(
        file="GoldenLinuxImage",
        name="GoldenLinuxImage",
        version="2019-05-01-preview",
        resource={
            "location": "westus",
            "tags": {"imagebuilderTemplate": "AzureImageBuilderSIG", "userIdentity": "enabled"},
            "identity": OWN,
            "properties": {
                "buildTimeoutInMinutes": 80,
                # stagingResourceGroup is newer than this api version
                "vmProfile": {"vmSize": "Standard_D1_v2", "osDiskSizeGB": 50},
                "source": BIONIC,
                "customize": [
                    {
                        "type": "Shell", "name": "Prepare-and-install-unattended-upgrades",
                        "inline": [
                            "sudo bash -c 'set -euo pipefail && apt-get update -y && DEBIAN_FRONTEND=noninteractive "
                            "apt-get install -y --no-install-recommends unattended-upgrades'"
                        ],
                    },
                    {
                        "type": "Shell", "name": "Install-snapd-and-NotepadPlusPlus",
                        "inline": [
                            "sudo bash -c 'set -euo pipefail && apt-get update -y && DEBIAN_FRONTEND=noninteractive "
                            "apt-get install -y --no-install-recommends snapd && snap install notepad-plus-plus'"
                        ],
                    },
                    DOWNLOAD,
                    SETUP,
                ],
                "distribute": [shared_image("ubuntu1804")],
            },
        },
    ),
)  # fmt: skip
ELSEWHERE = ("image-template_main", "armTemplateWinSIG", "_trigger.")


def path_of(part: str) -> Path:
    (path,) = [path for path in TEMPLATES.glob("*.json") if part in path.name]
    return path


def given_of(values: Mapping[str, str]) -> dict[str, Given]:
    span = Span(file="--parameters", line=1, column=1)
    return {
        name.casefold(): Given(name=name, span=span, node=Node(NodeKind.STRING, span, value), raw=True)
        for name, value in values.items()
    }


def inputs(case: Case) -> Inputs:
    used = {name: value for name, value in PLACEHOLDERS.items() if f"<{name}>" in path_of(case.file).read_text()}
    return Inputs(name=case.name, given=given_of(case.parameters), placeholders=used)


def refused(path: Path, **options: Any) -> tuple[Diagnostic, ...]:
    with pytest.raises(TemplateInvalid) as caught:
        load(path, known_kinds=KINDS, inputs=Inputs(**options), build=False)
    return caught.value.diagnostics


def errors(found: tuple[Diagnostic, ...]) -> list[str]:
    return [d.id for d in found if d.severity is Severity.ERROR]


def test_every_template_has_its_expectation() -> None:
    parts = [*(case.file for case in CASES), *ELSEWHERE]
    left = [path.name for path in TEMPLATES.glob("*.json") if not any(part in path.name for part in parts)]
    assert left == []
    assert len(parts) == len(list(TEMPLATES.glob("*.json")))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_what_its_author_meant(case: Case) -> None:
    loaded = load(path_of(case.file), known_kinds=KINDS, inputs=inputs(case), build=False)

    assert (loaded.template.name, loaded.template.api_version) == (case.name, case.version)
    assert {key: value for key, value in loaded.template.document.items() if key != "name"} == case.resource
    assert not [d for d in loaded.diagnostics if d.severity is Severity.ERROR]


def test_what_the_service_ignores_is_evaluated_still() -> None:
    """Parameters in any case, a variable, and the field with the slip of the pen, which this api version ignores."""
    (case,) = [case for case in CASES if case.file == "devOpsEnvTemplate"]
    text = path_of(case.file).read_text()
    root, findings = read(text, "t.json").root, Findings()
    assert root is not None
    scope = open_template(root, findings, Places({"t.json": text}), Surroundings(), given_of(case.parameters))
    (resource,) = [node.known() for node in evaluate(scope).resources]
    assert not findings.sorted()
    assert (resource["type"], resource["dependsOn"]) == ("Microsoft.VirtualMachineImages/imageTemplates", [])
    tags = {"source": "azVmImageBuilder", "releaseStatus": "staging", "type": "mdionly"}
    (distribute,) = case.resource["properties"]["distribute"]
    assert resource["properties"] == {
        **case.resource["properties"], "distribute": [{**distribute, "aritfactTags": tags}]
    }  # fmt: skip


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.file != "devOpsEnvTemplate"], ids=lambda case: case.file
)
def test_without_values_every_placeholder_is_named_in_one_error(case: Case) -> None:
    found = refused(path_of(case.file), given=given_of(case.parameters))

    (error,) = [d for d in found if d.severity is Severity.ERROR and d.id == "E08"]
    text = path_of(case.file).read_text()
    assert {name for name in PLACEHOLDERS if f"<{name}>" in text} == {
        name for name in PLACEHOLDERS if f"<{name}> (line" in error.message
    }
    assert set(errors(found)) == {"E08"}


@pytest.mark.parametrize("case", [case for case in CASES if case.parameters], ids=lambda case: case.file)
def test_without_values_every_parameter_is_named(case: Case) -> None:
    found = refused(path_of(case.file), placeholders=inputs(case).placeholders)
    assert errors(found) == ["X05"] * len(case.parameters)


def test_the_broken_one_is_broken_where_it_is() -> None:
    path = path_of("armTemplateWinSIG")
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if text.strip() == "<region>")
    placeholders = {**PLACEHOLDERS, "machinesku": "Standard_D2s_v3", "skuName": "win10"}

    found = refused(path, given=given_of(PARAMETERS), placeholders=placeholders)

    (slip,) = [d for d in found if d.severity is Severity.ERROR]
    assert (slip.id, slip.span.line, slip.span.column, slip.hint) == (
        "J01", line, 15, 'text stands in double quotes: "..."',
    )  # fmt: skip


def test_the_trigger_is_called_a_trigger() -> None:
    (found,) = refused(path_of("_trigger."))
    assert found.id == "T01"
    assert "a trigger of an image template" in found.message
