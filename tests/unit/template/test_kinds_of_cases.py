"""What public templates and reports were wrong about, each kind with its twins: placeholders of other tools, addresses
that are none, guessed api versions, files for folders, definitions and triggers of the same file."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from aibemu.arm.diagnostics import Diagnostic
from aibemu.template.addresses import arguments, no_scheme, signature_problem
from aibemu.template.ended_images import ENDED, end_of_support
from aibemu.template.loader import Inputs, judge, understand
from aibemu.template.publishers import generation_by_name
from aibemu.template.regions import meant
from tests.unit.template.test_rules import GALLERY, IDENTITY, IMAGE, KINDS, LINUX, NEWEST, TARGET, WINDOWS

NOW = datetime(2026, 11, 30, tzinfo=UTC)
TYPE = "Microsoft.VirtualMachineImages/imageTemplates"
SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
SIGNED = "https://a.blob.core.windows.net/c/x.sh?sv=2022-11-02&sr=b&sig=abc%3D"


def template(version: str = NEWEST, **properties: Any) -> dict[str, Any]:
    return {
        "type": TYPE, "apiVersion": version, "name": "web", "location": "westeurope",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}},
        "properties": {"source": LINUX, "distribute": [TARGET], **properties},
    }  # fmt: skip


def judged(*resources: Any, text: str | None = None, **frame: Any) -> list[Diagnostic]:
    """The findings about a deployment template."""
    whole = {"$schema": SCHEMA, "contentVersion": "1.0.0.0", **frame, "resources": resources}
    understood = understand(text or json.dumps(whole, indent=1), Path("t.json"), Inputs(), KINDS)
    judge(understood, KINDS, build=False, now=NOW)
    return [one for one in understood.findings.sorted() if one.id != "W27"]


def told(*resources: Any, **frame: Any) -> list[tuple[str, str]]:
    return [(str(one.severity), one.id) for one in judged(*resources, **frame)]


def file(destination: str, source: str = "https://example.com/a") -> dict[str, Any]:
    return {"type": "File", "sourceUri": source, "destination": destination}


def shell(*lines: str, **more: Any) -> dict[str, Any]:
    return {"type": "Shell", **({"inline": list(lines)} if lines else {}), **more}


# Placeholders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("placeholder", "tool"),
    [
        ("#{group}#", "Replace Tokens"),
        ("#{group}", "Octopus"),
        ("$(group)", "Azure Pipelines"),
        ("${group}", "Terraform"),
        ("{{ group }}", "Jinja"),
        ("{{group}}", "Jinja"),
        ("${{ vars.group }}", "GitHub"),
    ],
)
def test_placeholders_of_other_tools_are_named(placeholder: str, tool: str) -> None:
    target = {**TARGET, "imageId": IMAGE.replace("images", placeholder, 1), "location": placeholder}
    (one,) = judged(template(distribute=[target]))
    assert (one.id, one.severity.value) == ("E08", "error")
    assert f"{placeholder} (lines" in one.message and tool in one.message
    # Outside quotes they are no JSON, and still are what they are.
    text = json.dumps(template()).replace('"westeurope"', placeholder, 1)
    (first,) = [one for one in judged(text=text) if one.id == "J01"]
    assert f"the placeholder {placeholder} (" in first.message


def test_other_placeholders_where_any_text_will_do() -> None:
    body = template(
        customize=[shell('echo "$(id) ${HOME} {{x}} #{y}"', name="set $(up)"), file("$HOME/a"), file("/tmp/${x}")]
    )  # fmt: skip
    found = judged({**body, "tags": {"made": "by $(pipeline)"}})
    (labels,) = [one for one in found if one.id == "E08"]
    assert labels.severity.value == "warning" and "$(pipeline)" in labels.message and "$(up)" in labels.message
    assert not [one for one in found if one.severity.value == "error"]


def test_what_a_plugins_step_takes_is_its_own() -> None:
    step = {"type": "Ansible", "command": "run $(id) {{ x }}"}
    assert "E08" not in [one.id for one in judged(template(customize=[step]))]


@pytest.mark.parametrize("half", ["<region", "region>"])
def test_a_placeholder_without_one_end(half: str) -> None:
    (one,) = judged({**template(), "location": half})
    assert one.id == "E08" and one.hint is not None and "'<region>'" in one.hint


@pytest.mark.parametrize(
    "lines",
    [["# put <name> here"], ["true # <name>"], ["<#", "  <name>", "#>"], ["x='<name>a</name>'"]],
)
def test_placeholders_in_comments_go_to_no_command(lines: list[str]) -> None:
    # The comment of PowerShell's is no shell: that it was not parsed is told.
    assert [one for one in told(template(customize=[shell("true", *lines)])) if one != ("note", "W31")] == []
    assert ("warning", "E08") in told(template(customize=[shell("true", *lines, "echo <other>")]))


def test_the_id_of_a_subscription_is_a_guid() -> None:
    target = {**TARGET, "imageId": IMAGE.replace("00000000-0000-0000-0000-000000000001", "12345678-xxxx")}
    assert told(template(distribute=[target])) == [("error", "E84")]


# Api versions ---------------------------------------------------------------------------------------------------------


def test_what_articles_have_for_an_older_version_is_a_note() -> None:
    size, update = {"osDiskSizeGB": 64}, [{"type": "WindowsUpdate"}]
    body = template("2019-05-01-preview", vmProfile={"vmSize": "Standard_D2s_v3", **size})
    assert told(body) == [("note", "E04")]
    assert told(template("2019-05-01-preview", source=WINDOWS, customize=update)) == [("note", "E04")]
    assert ("error", "E04") in told(template("2019-02-01-preview", source=WINDOWS, customize=update))


@pytest.mark.parametrize("version", ["2019-05-01-preview", "2022-07-01", NEWEST])
def test_script_is_scripturi_once(version: str) -> None:
    address = "https://example.com/a.sh"
    (one,) = judged(template(version, customize=[{"type": "Shell", "script": address}]))
    assert (one.severity.value, one.hint) == ("error", "write 'scriptUri'")
    # What is there too: the old name is only ignored.
    found = told(template("2022-07-01", customize=[shell("true", script=address)]))
    assert found == [("warning", "W02")]


def test_a_misspelt_field_that_the_service_then_misses() -> None:
    target = {"type": "ManagedImage", "runOutputName": "image", "imageIdd": IMAGE, "location": "westeurope"}
    assert told(template("2022-07-01", distribute=[target])) == [("error", "E51")]


def test_errors_by_a_guessed_version_are_notes() -> None:
    parameters = {"v": {"type": "string"}}
    target = {**TARGET, "tags": {"a": "b"}, "imageId": ""}
    body = template("[parameters('v')]", distribute=[target], stagingResourceGroup=5)
    body.pop("identity")
    assert told(body, parameters=parameters) == [
        ("error", "X05"), ("note", "E07"), ("note", "T04"), ("error", "E51"), ("note", "E01"), ("note", "S01")
    ]  # fmt: skip


def test_arm_reads_its_envelope_in_any_case() -> None:
    body = template()
    body["Name"], body["LOCATION"] = body.pop("name"), body.pop("location")
    assert told(body) == []
    body["properties"]["Source"] = body["properties"].pop("source")
    assert told(body) == [("error", "E01")]


# Brackets -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("[ -d /opt/app ]", "a test of the shell"),
        ("[ ! -f /x ]", "a test of the shell"),
        ('[ "$a" = b ]', "a test of the shell"),
        ("[ $a -eq 1 ]", "a test of the shell"),
        ("[Environment]::GetCommandLineArgs()[0]", "PowerShell"),
        ("[int[]]$x = @(1)[0]", "PowerShell"),
    ],
)
def test_brackets_that_are_for_a_shell(line: str, what: str) -> None:
    (one,) = judged(template(customize=[shell(line)]))
    assert one.id == "X01" and one.message.endswith(what) and one.hint is not None and f"`[{line[:60]}" in one.hint


def test_brackets_of_bash_lose_one() -> None:
    lines = ["[[ -f /x ]]", "[[ -f /x ]] && true", "[[parameters('x')]", "[ -f /x ] && true"]
    found = [one for one in judged(template(customize=[shell("#!/bin/bash -e", *lines)])) if one.id == "X12"]
    assert len(found) == 1 and "`[ -f /x ]]` is left" in found[0].message


# Addresses ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "rest"),
    [
        ("https://e.com/a.sh --role web", "--role web"),
        ("https://e.com/a.sh?x=1 web", "web"),
        ("setup.ps1 -Name x", "-Name x"),
        ("https://e.com/a -x", "-x"),
        ("https://e.com/my scripts/a.sh", ""),
        ("my scripts/a.sh", ""),
        ("a.sh", ""),
    ],
)
def test_arguments_after_an_address(uri: str, rest: str) -> None:
    found = arguments(uri)
    assert (found[1] if found else "") == rest
    assert (("error", "E28") in told(template(customize=[shell(scriptUri=uri)]))) is bool(rest)


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        ("raw.githubusercontent.com/a/x.sh", "https://raw.githubusercontent.com/a/x.sh"),
        ("//e.com/a", "https://e.com/a"),
        ("http:/e.com/a", "https://e.com/a"),
        ("htps://e.com/a", "https://e.com/a"),
        ("https//e.com/a", "https://e.com/a"),
        ("https://e.com/a", None),
        ("scripts/a.sh", None),
        ("conf.d/a.sh", None),
        ("../a.com/x", None),
        ("file:///a", None),
        ("./e.com/a", None),
        ("setup.sh", None),
    ],
)
def test_addresses_without_a_scheme(uri: str, meant: str | None) -> None:
    assert no_scheme(uri) == meant


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("se=2023-01-01T00:00:00Z&sp=r", "expired on 2023-01-01"),
        ("se=2026-11-29&sp=r", "expired"),
        ("se=2027-01-01&st=2026-12-24T00:00Z&sp=r", "valid from 2026-12-24"),
        ("se=2027-01-01&sp=wl", "does not allow"),
        ("se=2027-01-01T00:00:00Z&sp=r", None),
        ("sp=rl", None),
        ("se=soon", None),
    ],
)
def test_signatures_of_addresses(query: str, why: str | None) -> None:
    found = signature_problem(f"{SIGNED}&{query}", NOW)
    assert found is None if why is None else why in (found or "")
    steps = [shell(scriptUri=f"{SIGNED}&{query}"), file("/tmp/a", f"{SIGNED}&{query}")]
    assert told(template(customize=steps)) == ([("warning", "E28")] * 2 if why else [])


# Destinations ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("/tmp/", []),
        ("/tmp", ["E31"]),
        ("/var/tmp", ["E31"]),
        ("/etc", ["E31"]),
        ("/etc/", ["E30"]),
        ("/tmp/a", []),
        ("/tmp/../etc/x", ["E30"]),
        ("/tmp/./a", []),
        ("/tmp/it's.sh", []),
        ("/home/packer/a", []),
        ("/home/me/a", ["E30"]),
        ("~/a", []),
        ("$HOME/a", []),
        ("${HOME}/a", []),
        ("~/x/a", ["E31"]),
        ("a", []),
        ("conf/a", ["E31"]),
        ("~root/a", ["E30"]),
        ("$TMP/a", ["E30"]),
        (r"C:\a.txt", ["E30"]),
        ("C:/a.txt", ["E30"]),
        (r"a\b", ["E30"]),
    ],
)
def test_destinations_on_linux(destination: str, expected: list[str]) -> None:
    assert [id_ for _, id_ in told(template(customize=[file(destination)]))] == expected


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("C:/", []),
        (r"C:\a.txt", []),
        (r"C:\Windows\Temp\a.txt", []),
        (r"C:\Windows\Temp", ["E31"]),
        ("C:/Windows/Temp/", []),
        ("C:\\Windows\\Temp\\", ["E31"]),
        (r"C:\apps\a.txt", ["E31"]),
        (r"c:\ProgramData\x\a", []),
        (r"D:\apps\a", []),
        ("/tmp/a", ["E30"]),
        ("~/a", ["E30"]),
        (r"%TEMP%\a", []),
        (r"$env:TEMP\a", []),
        (r"C:\Users\me\a", []),
    ],
)
def test_destinations_on_windows(destination: str, expected: list[str]) -> None:
    body = template(source=WINDOWS, customize=[file(destination)], vmProfile={"vmSize": "Standard_D2s_v5"})
    assert [id_ for _, id_ in told(body)] == expected


def test_folders_that_an_earlier_step_makes() -> None:
    make = {"type": "PowerShell", "inline": ["New-Item -Type Directory C:\\Apps -ErrorAction Stop"]}
    profile = {"vmSize": "Standard_D2s_v5"}
    steps = [make, file(r"C:\apps\a.txt")]
    assert "E31" not in [id_ for _, id_ in told(template(source=WINDOWS, customize=steps, vmProfile=profile))]
    steps = [shell("sudo mkdir -p /opt/app && sudo chmod 777 /opt/app"), file("/opt/app/a")]
    assert "E30" not in [id_ for _, id_ in told(template(customize=steps))]
    (one,) = judged(template(customize=[file("/tmp/My Dir/a b")]))
    assert one.hint is not None and one.hint.endswith("mkdir -p '/tmp/My Dir'")


def test_a_file_without_a_name() -> None:
    (one,) = judged(template(customize=[file("/tmp/", "https://example.com/")]))
    assert "neither" in one.message
    assert told(template(customize=[file("/tmp/a", "https://example.com/")])) == []


# What the same file makes ---------------------------------------------------------------------------------------------


def definition(**properties: str) -> dict[str, Any]:
    return {
        "type": "Microsoft.Compute/galleries/images", "apiVersion": "2023-07-03", "name": "gal/def",
        "location": "westeurope", "properties": properties,
    }  # fmt: skip


def to_gallery(source: dict[str, str], version: str = "") -> dict[str, Any]:
    id_ = "[concat(resourceId('Microsoft.Compute/galleries/images', 'gal', 'def'), '" + version + "')]"
    target = {"type": "SharedImage", "runOutputName": "o", "galleryImageId": id_, "targetRegions": [{"name": "westus"}]}
    return template(source=source, distribute=[target], vmProfile={"vmSize": "Standard_D2s_v5"})


@pytest.mark.parametrize(
    ("source", "properties", "count"),
    [
        (LINUX, {"osType": "Linux", "hyperVGeneration": "V2"}, 0),
        (LINUX, {"osType": "Linux"}, 1),
        (LINUX, {"osType": "Windows", "hyperVGeneration": "V1"}, 2),
        (WINDOWS, {"osType": "Windows"}, 1),
        (LINUX, {"osType": "linux", "hyperVGeneration": "v2", "osState": "Specialized"}, 1),
        ({**LINUX, "publisher": "nobody"}, {"osType": "Windows"}, 0),
        (LINUX, {"osType": "[reference('x').y]"}, 1),
    ],
)
def test_definitions_of_the_same_file(source: dict[str, str], properties: dict[str, str], count: int) -> None:
    found = [one for one in told(definition(**properties), to_gallery(source)) if one[1] == "E18"]
    assert found == [("error", "E18")] * count


@pytest.mark.parametrize(
    ("publisher", "offer", "sku", "generation"),
    [
        ("Canonical", "0001-com-ubuntu-server-jammy", "22_04-lts", 1),
        ("Canonical", "ubuntu-24_04-lts", "server", 2),
        ("Canonical", "0001-com-ubuntu-server-jammy", "22_04-lts-gen2", 2),
        ("Canonical", "ubuntu-24_04-lts", "server-gen1", 1),
        ("Debian", "debian-12", "12", 1),
        ("RedHat", "RHEL", "9_4", None),
        ("MicrosoftWindowsServer", "WindowsServer", "2022-datacenter", 1),
        ("Canonical", "ubuntu-24_04-lts", "minimal", None),
        ("other", "a", "b-gen2", None),
    ],
)
def test_generations_that_a_name_tells(publisher: str, offer: str, sku: str, generation: int | None) -> None:
    assert generation_by_name(publisher, offer, sku) == generation


def trigger(kind: str = "SourceImage", name: str = "web/t") -> dict[str, Any]:
    return {"type": f"{TYPE}/triggers", "apiVersion": NEWEST, "name": name, "properties": {"kind": kind},
            "dependsOn": ["web"]}  # fmt: skip


@pytest.mark.parametrize(
    ("resources", "count"),
    [
        ([template(), trigger()], 0),
        ([template(), trigger("Schedule")], 1),
        ([template(), trigger(), trigger(name="web/u")], 1),
        ([template(source={**LINUX, "version": "0.1.2"}), trigger()], 1),
        ([template(source={**LINUX, "version": "0.1.2"})], 0),
        (
            [
                template(source={"type": "SharedImageVersion", "imageVersionId": f"{GALLERY}/versions/latest"}),
                trigger(),
            ],
            0,
        ),
        (
            [template(source={"type": "SharedImageVersion", "imageVersionId": f"{GALLERY}/versions/1.0.0"}), trigger()],
            1,
        ),
        ([template(source={"type": "ManagedImage", "imageId": IMAGE}), trigger()], 1),
        ([to_gallery(LINUX, "/versions/1.0.0"), trigger()], 1),
    ],
)
def test_triggers_of_the_same_file(resources: list[Any], count: int) -> None:
    assert [one for one in told(*resources) if one[1] == "W19"] == [("warning", "W19")] * count


STAGING = {"stagingResourceGroup": "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/staging"}


@pytest.mark.parametrize(("mine", "theirs", "count"), [(STAGING, STAGING, 1), (STAGING, {}, 0), ({}, {}, 0)])
def test_one_staging_group_for_two_templates(mine: dict[str, str], theirs: dict[str, str], count: int) -> None:
    other = {**template(**theirs), "name": "other"}
    understood = understand(
        json.dumps({"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": [template(**mine), other]}),
        Path("t.json"), Inputs(name="web"), KINDS,
    )  # fmt: skip
    judge(understood, KINDS)
    assert [one.id for one in understood.findings.sorted() if "staging" in one.message] == ["E78"] * count


@pytest.mark.parametrize(("location", "count"), [("West Europe", 0), ("westus", 1), ("[deployment().location]", 0)])
def test_the_staging_group_is_in_the_templates_region(location: str, count: int) -> None:
    group = {"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2024-03-01", "name": "staging"}
    text = json.dumps({
        "$schema": SCHEMA.replace("deploymentTemplate", "subscriptionDeploymentTemplate"), "contentVersion": "1.0.0.0",
        "resources": [{**group, "location": location}, {
            "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "in", "resourceGroup": "g",
            "properties": {"mode": "Incremental", "template": {
                "$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": [template(**STAGING)]
            }},
        }],
    })  # fmt: skip
    assert [one.id for one in judged(text=text) if "staging" in one.message] == ["E78"] * count


# Regions --------------------------------------------------------------------------------------------------------------


def gallery(location: str) -> dict[str, Any]:
    return {"type": "Microsoft.Compute/galleries", "apiVersion": "2023-07-03", "name": "gal", "location": location}


@pytest.mark.parametrize(
    ("location", "count"), [("West US", 0), ("westus", 0), ("northeurope", 1), ("[reference('x').y]", 0)]
)
def test_the_gallerys_own_region(location: str, count: int) -> None:
    found = [one for one in judged(gallery(location), to_gallery(LINUX)) if one.id == "W94"]
    assert len(found) == count


@pytest.mark.parametrize(
    ("name", "expected"),
    [("westeurop", "westeurope"), ("West Europe", None), ("wesus2", "westus2"), ("westeurope9", None),
     ("swedencentral", None), ("mars", None),
     ("usgovvirginia", None)],
)  # fmt: skip
def test_names_that_are_nearly_a_regions(name: str, expected: str | None) -> None:
    assert meant(name) == expected
    places = {**template(distribute=[{**TARGET, "location": name}]), "location": name}
    assert [one.id for one in judged(places)] == ["W94"] * (2 if expected else 0)


def test_copies_in_a_region() -> None:
    body = to_gallery(LINUX)
    body["properties"]["distribute"][0]["targetRegions"] = [{"name": "westus", "replicaCount": 101}]
    assert told(body) == [("error", "E59")]


# Ended images ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("urn", "release"),
    [
        ("SUSE:sles-15-sp3-basic:gen2", "SLES 15 SP3"),
        ("SUSE:sles-15-sp6:gen1", "SLES 15 SP6"),
        ("SUSE:sles-12-sp5:gen1", "SLES 12"),
        ("credativ:Debian:9", "Debian 9"),
        ("credativ:Debian:9-backports", "Debian 9"),
        ("Debian:debian-11:11-gen2", "Debian 11"),
        ("MicrosoftCBLMariner:cbl-mariner:cbl-mariner-2-gen2", "CBL-Mariner 2 (Azure Linux 2)"),
        ("Canonical:0001-com-ubuntu-server-kinetic:22_10-gen2", "Ubuntu 22.10"),
        ("Canonical:UbuntuServer:19.04", "Ubuntu 19.04"),
        ("Canonical:ubuntu-24_10:server", "Ubuntu 24.10"),
        ("Canonical:UbuntuServer:18.04-LTS", "Ubuntu 18.04 LTS"),
        ("Canonical:0001-com-ubuntu-minimal-focal:minimal-20_04-lts", "Ubuntu 20.04 LTS"),
        ("Oracle:Oracle-Linux:ol79-gen2", "Oracle Linux 7"),
        ("Oracle:Oracle-Linux:7.6", "Oracle Linux 7"),
        ("MicrosoftWindowsDesktop:windows-ent-cpc:win11-22h2-ent-cpc-os", "Windows 11 22H2"),
        ("MicrosoftWindowsDesktop:windows-11:win11-24h2-pro", "Windows 11 24H2 Pro"),
        (
            "MicrosoftWindowsServer:WindowsServerSemiAnnual:datacenter-core-20h2-with-containers-smalldisk-g2",
            "Windows Server, version 20H2",
        ),
        ("OpenLogic:CentOS-HPC:7.7", "CentOS 7"),
        ("RedHat:rhel-byos:rhel-lvm79", "RHEL 7"),
        ("SUSE:opensuse-leap-15-5:gen2", "openSUSE Leap 15.5"),
    ],
)
def test_releases_that_have_ended(urn: str, release: str) -> None:
    publisher, offer, sku = urn.split(":")
    found = end_of_support(publisher, offer, sku, "2026-11-30")
    assert found is not None and found.release == release


@pytest.mark.parametrize(
    "urn",
    [
        "SUSE:sles-15-sp7:gen2",
        "SUSE:sles-sap-15-sp4:gen2",
        "SUSE:sles-15-sp4-hpc:gen2",
        "Debian:debian-12:12-gen2",
        "Debian:debian-13:13",
        "MicrosoftCBLMariner:azure-linux-3:azure-linux-3-gen2",
        "Canonical:0001-com-ubuntu-pro-bionic:pro-18_04-lts",
        "Canonical:0001-com-ubuntu-server-jammy:22_04-lts-gen2",
        "Canonical:ubuntu-24_04-lts:server",
        "Oracle:Oracle-Linux:ol89-lvm",
        "Oracle:Oracle-Linux:8.6",
        "Oracle:Oracle-Linux:ol810-lvm-gen2",
        "MicrosoftWindowsDesktop:windows-11:win11-24h2-ent",
        "MicrosoftWindowsDesktop:windows-ent-cpc:win11-25h2-ent-cpc-m365",
        "MicrosoftWindowsServer:WindowsServer:2016-datacenter",
        "RedHat:RHEL:8-lvm-gen2",
        "almalinux:almalinux-x86_64:8-gen2",
        "nobody:Debian:9",
    ],
)
def test_releases_that_live(urn: str) -> None:
    publisher, offer, sku = urn.split(":")
    assert end_of_support(publisher, offer, sku, "2026-11-30") is None


def test_the_table_of_ended_images_is_in_order() -> None:
    for row in ENDED:
        date.fromisoformat(row.on if len(row.on) == 10 else f"{row.on}-01")
        assert row.source and row.instead and row.publisher == row.publisher.lower()
        assert not row.is_over(row.on if len(row.on) == 10 else f"{row.on}-28")
    focal = ("Canonical", "0001-com-ubuntu-server-focal", "20_04-lts")
    assert end_of_support(*focal, "2025-05-31") is None
    assert end_of_support(*focal, "2025-06-01") is not None


# What az makes of a body ----------------------------------------------------------------------------------------------


def bare(**changes: Any) -> list[Diagnostic]:
    body = {key: value for key, value in template(**changes).items() if key != "apiVersion"}
    return judged(text=json.dumps(body, indent=1))


def test_what_az_drops_of_a_body() -> None:
    network = {"subnetId": "<subnet>", "containerInstanceSubnetId": "<other>"}
    found = bare(autoRun={"state": "Enabled"}, managedResourceTags={"a": "b"}, vmProfile={"vnetConfig": network})
    (one,) = [one for one in found if one.id == "W05"]
    assert "drops what came later: 'autoRun', 'managedResourceTags' and 'containerInstanceSubnetId'" in one.message
    assert not [one for one in bare(errorHandling={"onCustomizerError": "abort"}) if one.id == "W05"]


def test_what_az_shows_is_one_error() -> None:
    body = template()
    shown = {**body, **body.pop("properties"), "id": "/x", "provisioningState": "Succeeded", "systemData": {"a": "b"}}
    shown["identity"]["userAssignedIdentities"][IDENTITY] = {"clientId": "x", "principalId": "y"}
    del shown["properties"], shown["apiVersion"]
    found = judged(text=json.dumps(shown, indent=1))
    assert [one.id for one in found if one.severity.value != "note"] == ["S02"]
