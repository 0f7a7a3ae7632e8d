"""Rules about the structure of a template: what each finds, where, how bad it is; and what it must leave alone."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.arm.diagnostics import Diagnostic
from aibemu.template import publishers
from aibemu.template.loader import Inputs, judge, understand
from aibemu.template.publishers import System
from aibemu.template.remote import RemoteFile
from aibemu.template.rules.durations import seconds

SUB = "/subscriptions/00000000-0000-0000-0000-000000000001"
GROUP = f"{SUB}/resourceGroups/images"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/builder"
IMAGE = f"{GROUP}/providers/Microsoft.Compute/images/web"
GALLERY = f"{GROUP}/providers/Microsoft.Compute/galleries/ours/images/web"
NETWORK = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/net"
KINDS = frozenset({"Shell", "File", "PowerShell", "WindowsRestart", "WindowsUpdate"})
LINUX = {"type": "PlatformImage", "publisher": "Debian", "offer": "debian-12", "sku": "12-gen2", "version": "latest"}
WINDOWS = {
    "type": "PlatformImage", "publisher": "MicrosoftWindowsServer", "offer": "WindowsServer",
    "sku": "2022-datacenter-g2", "version": "latest",
}  # fmt: skip
CLIENT = {**WINDOWS, "publisher": "MicrosoftWindowsDesktop", "offer": "windows-11", "sku": "win11-24h2-ent"}
MANAGED = {"type": "ManagedImage", "imageId": IMAGE}
VERSION = {"type": "SharedImageVersion", "imageVersionId": f"{GALLERY}/versions/1.0.0"}
TARGET = {"type": "ManagedImage", "runOutputName": "image", "imageId": IMAGE, "location": "westeurope"}
SUM = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
RAW = "https://raw.githubusercontent.com/o/r/main/a.sh"
NEWEST = "2025-10-01"


def image(**changes: str) -> dict[str, str]:
    return {**LINUX, **changes}


def shell(**more: Any) -> dict[str, Any]:
    return {"type": "Shell", **({} if "scriptUri" in more or "inline" in more else {"inline": ["true"]}), **more}


def powershell(**more: Any) -> dict[str, Any]:
    return {"type": "PowerShell", "inline": ["$ErrorActionPreference = 'Stop'"], **more}


def file(destination: str = "/tmp/a", **more: Any) -> dict[str, Any]:
    return {"type": "File", "sourceUri": "a", "destination": destination, **more}


def restart(timeout: str | None = None) -> dict[str, Any]:
    return {"type": "WindowsRestart", **({} if timeout is None else {"restartTimeout": timeout})}


UPDATE = {"type": "WindowsUpdate"}


def found(
    properties: Mapping[str, Any],
    *,
    version: str = NEWEST,
    files: Mapping[str, RemoteFile] | None = None,
    kinds: frozenset[str] = KINDS,
    build: bool = True,
) -> list[Diagnostic]:
    """The findings about a template with these properties, where each key of `properties` has a line of its own."""
    body = {
        "type": "Microsoft.VirtualMachineImages/imageTemplates",
        "name": "web",
        "location": "westeurope",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}},
        "properties": {"source": LINUX, "distribute": [TARGET], **properties},
    }
    understood = understand(json.dumps(body, indent=1), Path("t.json"), Inputs(api_version=version), kinds)
    judge(understood, kinds, build=build, files=files)
    return list(understood.findings.sorted())


def ids(properties: Mapping[str, Any], **options: Any) -> list[str]:
    return [f"{d.severity.value} {d.id}" for d in found(properties, **options)]


def steps(*customize: Any, source: Mapping[str, Any] = LINUX, **more: Any) -> dict[str, Any]:
    return {"source": source, "customize": list(customize), **more}


# --- the source ---


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (image(publisher="Canonical", offer="UbuntuServer", sku="18.04-LTS"), "warning"),
        (image(publisher="canonical", offer="ubuntuserver", sku="18_04-lts-gen2"), "warning"),
        (image(publisher="Canonical", offer="0001-com-ubuntu-server-focal", sku="20_04-lts-gen2"), "warning"),
        (image(publisher="OpenLogic", offer="CentOS", sku="7_9"), "warning"),
        (image(offer="debian-10", sku="10"), "warning"),
        (image(publisher="RedHat", offer="RHEL", sku="79-gen2"), "warning"),
        ({**WINDOWS, "sku": "2012-R2-Datacenter"}, "warning"),
        ({**CLIENT, "sku": "win11-22h2-ent"}, "warning"),
        # Machines in Azure still get updates.
        ({**CLIENT, "offer": "Windows-10", "sku": "win10-22h2-pro"}, "note"),
        ({**CLIENT, "offer": "office-365", "sku": "win10-22h2-avd-m365-g2"}, "note"),
    ],
)
def test_images_out_of_support_are_named_with_the_day(source: dict[str, str], expected: str) -> None:
    (one,) = [d for d in found({"source": source, "vmProfile": {"vmSize": "Standard_D2s_v5"}}) if d.id == "W12"]

    assert one.severity.value == expected
    assert "support ended on 20" in one.message
    assert one.hint is not None
    assert one.path == "ImageTemplate.properties.source"


@pytest.mark.parametrize(
    "source",
    [
        LINUX,
        WINDOWS,
        CLIENT,
        image(publisher="Canonical", offer="ubuntu-24_04-lts", sku="server"),
        image(publisher="Canonical", offer="0001-com-ubuntu-server-jammy", sku="22_04-lts-gen2"),
        # Ubuntu Pro has its updates for longer.
        image(publisher="Canonical", offer="0001-com-ubuntu-pro-bionic", sku="pro-18_04-lts"),
        image(publisher="RedHat", offer="RHEL", sku="8-lvm-gen2"),
        image(publisher="RedHat", offer="RHEL", sku="96-gen2"),
        image(publisher="somebody", offer="UbuntuServer", sku="18.04-LTS"),
        {**WINDOWS, "sku": "2016-Datacenter"},
        {**CLIENT, "offer": "Windows-10", "sku": "win10-21h2-entn-ltsc-g2"},
    ],
)
def test_supported_and_unknown_images_are_left_alone(source: dict[str, str]) -> None:
    assert ids({"source": source, "vmProfile": {"vmSize": "Standard_D2s_v5"}}) == []


def test_a_managed_image_is_in_the_subscription_of_the_staging_group() -> None:
    other = f"{SUB[:-1]}2/resourceGroups/staging"

    assert ids({"source": MANAGED, "stagingResourceGroup": other}) == ["error E13"]
    assert ids({"source": MANAGED, "stagingResourceGroup": f"{SUB.upper()}/resourceGroups/staging"}) == []
    assert ids({"source": MANAGED, "stagingResourceGroup": f"{SUB}/resourceGroups/staging"}) == []
    assert ids({"source": MANAGED}) == []


CIS = image(publisher="center-for-internet-security-inc", offer="cis-ubuntu-linux-2204-l1", sku="l1")
PLAN = {"planName": "l1", "planProduct": "cis-ubuntu-linux-2204-l1", "planPublisher": CIS["publisher"]}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (CIS, ["warning W15", "warning W16"]),
        ({**CIS, "planInfo": PLAN}, ["warning W16"]),
        (image(publisher="RedHat", offer="rhel-byos", sku="rhel-lvm9"), ["warning W15"]),
        (image(publisher="RedHat", offer="RHEL", sku="9-lvm-gen2"), []),
        (image(publisher="kali-linux", offer="kali", sku="kali-2024-3"), ["warning W15"]),
    ],
)
def test_plans_and_hardened_images(source: dict[str, Any], expected: list[str]) -> None:
    assert ids({"source": source}) == expected


# --- steps for the system of the source ---


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (steps(powershell()), ["error E23"]),
        (steps(shell(), powershell(), shell()), ["error E23"]),
        (steps(shell(), source=WINDOWS), ["error E23"]),
        (steps(restart("15m"), UPDATE), ["error E23", "error E23"]),
        (steps(powershell(), validate={"inVMValidations": [shell()]}, source=WINDOWS), ["error E23"]),
        # Not known, and still no image runs both.
        (steps(powershell(), shell(), source=VERSION), ["error E23"]),
        (steps(powershell(), source=VERSION), []),
        (steps(shell(), source=VERSION), []),
        (steps(powershell(), source=image(publisher="contoso")), []),
        (steps(shell(), file()), []),
        (steps(powershell(), file("c:\\a"), source=WINDOWS), []),
    ],
)
def test_steps_are_for_the_system_of_the_source(properties: dict[str, Any], expected: list[str]) -> None:
    assert ids(properties) == expected


@pytest.mark.parametrize(
    ("publisher", "offer", "system"),
    [
        ("canonical", "ubuntu-24_04-lts", System.LINUX),
        ("MicrosoftWindowsServer", "WindowsServer", System.WINDOWS),
        ("MicrosoftSQLServer", "sql2022-ws2022", System.WINDOWS),
        ("MicrosoftSQLServer", "sql2019-ubuntu2004", System.LINUX),
        ("center-for-internet-security-inc", "cis-windows-server-2022-l1", System.WINDOWS),
        ("center-for-internet-security-inc", "cis-rhel9-l1", System.LINUX),
        ("center-for-internet-security-inc", "cis-new-thing", None),
        ("contoso", "windows", None),
        ("", "", None),
    ],
)
def test_systems_of_publishers(publisher: str, offer: str, system: System | None) -> None:
    assert publishers.system_of(publisher, offer) is system


@pytest.mark.parametrize(
    ("publisher", "sku", "generation"),
    [
        ("MicrosoftWindowsServer", "2022-datacenter", 1),
        ("MicrosoftWindowsServer", "2022-datacenter-g2", 2),
        ("MicrosoftWindowsServer", "2019-datacenter-gensecond", 2),
        ("MicrosoftWindowsServer", "2022-datacenter-azure-edition", 2),
        ("MicrosoftWindowsDesktop", "win11-24h2-avd", 2),
        ("MicrosoftWindowsDesktop", "win10-22h2-pro", 1),
        ("MicrosoftWindowsDesktop", "win10-22h2-pro-g2", 2),
        ("MicrosoftWindowsServer", "", None),
        ("Debian", "12", None),
    ],
)
def test_generations_of_windows_images(publisher: str, sku: str, generation: int | None) -> None:
    assert publishers.generation_of(publisher, sku) == generation


def test_what_this_aibemu_cannot_run_is_a_note_and_a_build_says_it_by_itself() -> None:
    few = frozenset({"Shell", "File"})
    template = steps(powershell(), source=WINDOWS)

    assert ids(template, kinds=few, build=True) == []
    assert ids(template, kinds=few, build=False) == ["note P01"]


def test_two_steps_of_one_name_are_noted_in_each_list() -> None:
    validate = {"inVMValidations": [shell(name="a")]}

    (one,) = found(steps(shell(name="a"), shell(name="b"), shell(name="a"), shell(), shell(), validate=validate))

    assert (one.id, one.path) == ("W48", "ImageTemplate.properties.customize[2]")
    assert ids(steps(shell(name=""), shell(name=""))) == []


@pytest.mark.parametrize(
    ("before", "destination", "expected"),
    [
        ([], "/tmp/app/a.conf", ["warning E31"]),
        ([shell(inline=["echo hello"])], "/var/tmp/app/a", ["warning E31"]),
        ([file("/tmp/app.tgz")], "/tmp/app/a", ["warning E31"]),
        ([shell(inline=["mkdir -p /tmp/app"])], "/tmp/app/a.conf", []),
        ([shell(inline=["d=app; mkdir /tmp/$d"])], "/tmp/app/a.conf", []),
        # Nobody knows what a script makes.
        ([shell(scriptUri="setup.sh")], "/tmp/app/a.conf", []),
        ([], "/tmp/a.conf", []),
        ([], "/tmp/", []),
        ([], "/etc/app/a.conf", ["warning E30"]),
    ],
)
def test_destinations_on_linux(before: list[Any], destination: str, expected: list[str]) -> None:
    assert ids(steps(*before, file(destination))) == expected


def test_thousands_of_files_are_looked_at_once_each() -> None:
    began = time.process_time()
    assert ids(steps(*(file(f"/tmp/d{number}/") for number in range(3000)))).count("warning E31") == 3000
    assert time.process_time() - began < 4.0, "each was compared with all before it"


def test_folders_of_other_images_are_not_judged() -> None:
    # An image of the user's own may have the folder.
    assert ids(steps(file("/tmp/app/a.conf"), source=VERSION)) == []
    assert ids(steps(file("c:\\app\\a.conf"), powershell(), source=VERSION)) == []


# --- files ---


def known(data: bytes = b"", *, size: int | None = None, problem: str | None = None) -> RemoteFile:
    return RemoteFile(
        place="a.sh", problem=problem, size=len(data) if size is None else size,
        sha256=hashlib.sha256(data).hexdigest(), head=data,
    )  # fmt: skip


def test_a_checksum_is_compared_with_the_file() -> None:
    template = steps(shell(scriptUri="a.sh", sha256Checksum=SUM))

    assert ids(template, files={"a.sh": known(b"")}) == []
    script = b"#!/bin/sh\necho\n"
    (wrong,) = found(template, files={"a.sh": known(script)})
    assert wrong.id == "E26"
    assert hashlib.sha256(script).hexdigest() in (wrong.hint or "")
    # Nobody looked at it; and one that is no checksum is not compared.
    assert ids(template) == []
    assert ids(steps(shell(scriptUri="a.sh", sha256Checksum="abc")), files={"a.sh": known(script)}) == ["error E26"]


def test_files_without_a_checksum_are_one_note_at_the_first() -> None:
    template = steps(
        shell(scriptUri=RAW, sha256Checksum=SUM), shell(scriptUri=RAW, name="second"), file(sourceUri=RAW),
        shell(scriptUri="local.sh"),
    )  # fmt: skip

    (one,) = found(template)

    assert (one.id, one.severity.value, one.path) == ("W27", "note", "ImageTemplate.properties.customize[1]")
    assert "customize[1] 'second', customize[2];" in one.message


@pytest.mark.parametrize(
    ("step", "file_", "expected"),
    [
        (shell(scriptUri="gone.sh"), known(problem="there is no such file"), ["error E28"]),
        (shell(scriptUri=f"{RAW}?", sha256Checksum=SUM), known(problem="404 Not Found"), ["error E28"]),
        # The service may read it, with the template's identity.
        (
            shell(scriptUri="https://a.blob.core.windows.net/c/a.sh", sha256Checksum=SUM),
            known(problem="404"),
            ["warning E28"],
        ),
        (
            shell(scriptUri="https://a.blob.core.windows.net/c/a.sh?sv=1&sig=x", sha256Checksum=SUM),
            known(problem="403"),
            ["error E28"],
        ),
        (shell(scriptUri="https://github.com/o/r/blob/main/a.sh", sha256Checksum=SUM), None, ["error E28"]),
        (file(sourceUri="https://github.com/o/r/blob/main/a.zip", sha256Checksum=SUM), None, ["warning E28"]),
        (shell(scriptUri="https://github.com/o/r/blob/main/a.sh?raw=true", sha256Checksum=SUM), None, []),
        (shell(scriptUri="https://github.com/o/r/raw/main/a.sh", sha256Checksum=SUM), None, []),
        (shell(scriptUri="https://github.com/o/r/releases/download/v1/blob/a", sha256Checksum=SUM), None, []),
        (shell(scriptUri="page.sh"), known(b"\n<!DOCTYPE html>\n"), ["error E28"]),
        (file(sourceUri="index.html"), known(b"<!DOCTYPE html>\n"), []),
        (file(sourceUri="big.zip"), known(size=21 * 1024 * 1024), ["warning W29"]),
        (file(sourceUri="big.zip"), known(size=19 * 1024 * 1024), []),
    ],
)
def test_files_that_cannot_be_had(step: dict[str, Any], file_: RemoteFile | None, expected: list[str]) -> None:
    uri = step.get("scriptUri") or step["sourceUri"]

    assert ids(steps(step), files={uri: file_} if file_ else {}) == expected


# --- Windows ---


def windows(*customize: Any, source: Mapping[str, Any] = WINDOWS, **more: Any) -> dict[str, Any]:
    return {"vmProfile": {"vmSize": "Standard_D2s_v5"}, **steps(*customize, source=source, **more)}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (windows(powershell(runElevated=True)), ["note W25"]),
        (windows(powershell(runElevated=True), powershell(runElevated=True)), ["note W25"]),
        (windows(powershell(runElevated=True), source=CLIENT), ["warning W25"]),
        (windows(powershell(runElevated=True, runAsSystem=True), source=CLIENT), []),
        (windows(powershell(runAsSystem=True)), ["error E24"]),
        (windows(powershell(runElevated=False)), []),
    ],
)
def test_elevation(properties: dict[str, Any], expected: list[str]) -> None:
    assert ids(properties) == expected


@pytest.mark.parametrize(
    ("timeout", "source", "expected"),
    [
        ("5", WINDOWS, ["error E43"]),
        ("5 minutes", WINDOWS, ["error E43"]),
        ("00:05:00", WINDOWS, ["error E43"]),
        ("-5m", WINDOWS, ["error E43"]),
        ("4m59s", WINDOWS, ["note W44"]),
        ("5m", WINDOWS, []),
        ("599s", WINDOWS, []),
        ("5m", {**WINDOWS, "sku": "2016-datacenter"}, ["warning W44"]),
        ("10m", WINDOWS, []),
        ("1h30m", WINDOWS, []),
        ("1.5h", WINDOWS, []),
        ("", WINDOWS, []),
        (None, WINDOWS, []),
        (None, {**WINDOWS, "sku": "2016-datacenter"}, ["warning W44"]),
    ],
)
def test_restart_timeouts(timeout: str | None, source: dict[str, str], expected: list[str]) -> None:
    assert ids(windows(restart(timeout), source=source)) == expected


def test_short_restart_timeouts_are_one_note() -> None:
    (one,) = found(windows(restart("4m"), restart("15m"), restart("90s")))

    assert "customize[0], customize[2];" in one.message


@pytest.mark.parametrize("timeout", ["5m", "9m", None])
def test_the_default_is_short_after_updates_written_out_or_not(timeout: str | None) -> None:
    assert ids(windows(restart(timeout), UPDATE, restart("15m"))) == []
    (one,) = found(windows(restart("15m"), UPDATE, restart(timeout), powershell(), restart(timeout)))
    assert (one.id, "customize[2], customize[4];" in one.message) == ("W44", True)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(["h", "m", "s", "ms", "us", "µs", "ns"])), min_size=1))
def test_durations_add_up(parts: list[tuple[int, str]]) -> None:
    units = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}

    assert seconds("".join(f"{number}{unit}" for number, unit in parts)) == pytest.approx(
        sum(number * units[unit] for number, unit in parts)
    )


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_not(text: str) -> None:
    length = seconds(text)

    assert length is None or length >= 0


@pytest.mark.parametrize(
    ("customize", "size", "expected"),
    [
        # Nothing before it can have left a restart pending.
        ([UPDATE], "Standard_D2s_v5", []),
        ([file("C:/Windows/Temp/a"), UPDATE], "Standard_D2s_v5", []),
        ([powershell(), UPDATE, restart("15m")], "Standard_D2s_v5", ["note W42"]),
        ([restart("15m"), powershell(), UPDATE], "Standard_D2s_v5", []),
        ([restart("15m"), UPDATE], "standard_d1_v2", ["warning W42"]),
        ([restart("15m"), UPDATE], "Standard_Unknown_v9", []),
        ([powershell()], "Standard_D1_v2", []),
    ],
)
def test_updates(customize: list[Any], size: str, expected: list[str]) -> None:
    assert ids({"vmProfile": {"vmSize": size}, **steps(*customize, source=WINDOWS)}) == expected


# --- the machine ---

GEN1 = {**WINDOWS, "sku": "2022-datacenter"}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"source": GEN1}, ["warning W77"]),
        ({"source": GEN1, "vmProfile": {"vmSize": ""}}, ["warning W77"]),
        ({"source": GEN1, "vmProfile": {"osDiskSizeGB": 200}}, ["warning W77"]),
        ({"source": GEN1, "vmProfile": {"vmSize": "Standard_D2s_v5"}}, []),
        # The default of generation 2 has two vCPUs.
        ({"source": WINDOWS}, []),
        ({"source": LINUX}, []),
        ({"source": VERSION, "customize": [powershell()]}, []),
    ],
)
def test_the_default_size_is_small_for_windows(properties: dict[str, Any], expected: list[str]) -> None:
    assert ids(properties) == expected


@pytest.mark.parametrize(
    ("minutes", "source", "expected"),
    [
        (0, WINDOWS, []),
        (5, WINDOWS, ["warning E71"]),
        (6, WINDOWS, ["warning W72"]),
        (59, WINDOWS, ["warning W72"]),
        (60, WINDOWS, []),
        (6, LINUX, []),
    ],
)
def test_time(minutes: int, source: dict[str, str], expected: list[str]) -> None:
    assert ids({"source": source, "buildTimeoutInMinutes": minutes}) == expected


def subnet(name: str, network: str = NETWORK) -> str:
    return f"{network}/subnets/{name}"


@pytest.mark.parametrize(
    ("vnet", "expected"),
    [
        ({"subnetId": subnet("a")}, []),
        ({"subnetId": "a"}, ["error S03"]),
        ({"subnetId": subnet("a"), "proxyVmSize": "Standard_A1_v2"}, []),
        ({"proxyVmSize": "Standard_A1_v2"}, ["warning E75"]),
        ({"proxyVmSize": ""}, []),
        ({"containerInstanceSubnetId": subnet("b")}, ["error E74"]),
        ({"subnetId": subnet("a"), "containerInstanceSubnetId": subnet("A")}, ["error E74"]),
        ({"subnetId": subnet("a"), "containerInstanceSubnetId": subnet("b", f"{NETWORK}2")}, ["error E74"]),
        ({"subnetId": subnet("a"), "containerInstanceSubnetId": subnet("b", NETWORK.upper())}, []),
        ({"subnetId": subnet("a"), "containerInstanceSubnetId": subnet("b")}, []),
        (
            {"subnetId": subnet("a"), "containerInstanceSubnetId": subnet("b"), "proxyVmSize": "Standard_A1_v2"},
            ["error E74"],
        ),
        ({"subnetId": subnet("a"), "containerInstanceSubnetId": subnet("b"), "proxyVmSize": ""}, []),
    ],
)
def test_networks(vnet: dict[str, str], expected: list[str]) -> None:
    assert ids({"vmProfile": {"vnetConfig": vnet}}) == expected


def test_the_old_form_of_a_network_says_what_to_write() -> None:
    vnet = {"name": "net", "subnetName": "a", "resourceGroupName": "images"}

    (old,) = found({"vmProfile": {"vnetConfig": vnet}}, version="2019-05-01-preview")

    assert (old.id, old.severity.value) == ("W76", "note")
    assert "subnetId" in (old.hint or "")


def test_boot_optimization_has_a_largest_disk() -> None:
    enabled = {"vmBoot": {"state": "Enabled"}}

    assert ids({"optimize": enabled, "vmProfile": {"osDiskSizeGB": 2049}}) == ["warning W83"]
    assert ids({"optimize": enabled, "vmProfile": {"osDiskSizeGB": 2048}}) == []
    assert ids({"optimize": {"vmBoot": {"state": "Disabled"}}, "vmProfile": {"osDiskSizeGB": 4096}}) == []


# --- targets, validation, failure ---


def gallery(image: str = GALLERY, **more: Any) -> dict[str, Any]:
    more = more or {"targetRegions": [{"name": "westeurope"}]}
    return {"type": "SharedImage", "runOutputName": "gallery", "galleryImageId": image, **more}


@pytest.mark.parametrize(
    ("target", "version", "expected"),
    [
        (gallery(), NEWEST, []),
        (gallery(replicationRegions=["westeurope"]), NEWEST, ["note W54"]),
        (gallery(replicationRegions=["westeurope"]), "2022-02-14", []),
        (gallery(f"{GALLERY}/versions/1.0.0"), NEWEST, ["note W56"]),
        (gallery(f"{GALLERY}/versions/1.0"), NEWEST, ["error E55"]),
        (gallery(f"{GALLERY}/versions/1.0.0", versioning={"scheme": "Latest"}), NEWEST, ["error E57"]),
        ({**TARGET, "location": "West Europe"}, NEWEST, []),
        ({**TARGET, "location": "northeurope"}, NEWEST, ["note W60"]),
        ({"type": "VHD", "runOutputName": "vhd"}, NEWEST, ["note W62"]),
        ({"type": "VHD", "runOutputName": "vhd"}, "2020-02-14", ["note W62"]),
        ({"type": "VHD", "runOutputName": "vhd", "uri": "https://a/b.vhd"}, NEWEST, []),
        ({"type": "VHD", "runOutputName": "vhd", "uri": "https://a/b.VHD?sig=x"}, NEWEST, []),
        ({"type": "VHD", "runOutputName": "vhd", "uri": "https://a/b.vhdx"}, NEWEST, ["warning W61"]),
    ],
)
def test_targets(target: dict[str, Any], version: str, expected: list[str]) -> None:
    assert ids({"distribute": [target]}, version=version) == expected


def test_what_happens_after_a_failure_is_noted() -> None:
    validate = {"continueDistributeOnFailure": True}

    assert ids({"validate": {**validate, "inVMValidations": [shell()]}}) == ["note W82"]
    assert ids({"validate": validate}) == []
    assert ids({"errorHandling": {"onCustomizerError": "abort", "onValidationError": "abort"}}) == ["note W86"]
    assert ids({"errorHandling": {"onValidationError": "abort"}}) == ["note W86"]
    assert ids({"errorHandling": {"onValidationError": "cleanup"}}) == []


def test_values_that_are_not_known_are_not_judged() -> None:
    properties = {
        "source": {**GEN1, "sku": "<sku>"},
        "vmProfile": {"vmSize": "<size>", "vnetConfig": {"subnetId": "<subnet>", "proxyVmSize": "Standard_A1_v2"}},
        "customize": [
            powershell(runElevated=True, runAsSystem="<flag>"),
            restart("<timeout>"),
            powershell(inline=None, scriptUri="<uri>"),
            {"type": "PowerShell", "scriptUri": RAW, "sha256Checksum": "<sum>"},
        ],
        "distribute": [{"type": "VHD", "runOutputName": "vhd", "uri": "<uri>"}, {**TARGET, "location": "<region>"}],
    }

    assert {d.id for d in found(properties)} == {"E08"}
