"""The instance document: what it says of a machine, and which api-version knows what."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from aibemu.fabric.imds import VERSIONS
from aibemu.fabric.instance import FIRST_VERSION, SINCE, instance_document
from aibemu.fabric.vm import ImageReference, Nic
from tests.unit.fabric.machines import KEY, SUBSCRIPTION, machine

NEW = VERSIONS[-1]
CLOUD_INIT = "2021-08-01"


def compute(api_version: str = NEW, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = instance_document(machine(**changes), api_version)["compute"]
    return found


def paths(fields: Mapping[str, Any], where: str = "") -> Iterator[str]:
    for name, value in fields.items():
        yield f"{where}{name}"
        if isinstance(value, Mapping):
            yield from paths(value, f"{where}{name}.")


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from leaves(one)
    else:
        yield value


def test_who_the_machine_is() -> None:
    told = compute(disk_gib=64)
    expected = {
        "azEnvironment": "AzurePublicCloud", "location": "westeurope", "name": "vm-build", "osType": "Linux",
        "provider": "Microsoft.Compute", "resourceGroupName": "IT_images_ubuntu_1a2b3c4d",
        "subscriptionId": SUBSCRIPTION, "vmId": "2f6c1a52-9d1f-4d4b-8a55-2f0c5f6d7e80", "vmSize": "Standard_D2ds_v4",
        "resourceId": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/IT_images_ubuntu_1a2b3c4d/providers"
        "/Microsoft.Compute/virtualMachines/vm-build",
        "publicKeys": [{"keyData": KEY, "path": "/home/packer/.ssh/authorized_keys"}],
        "osProfile": {
            "adminUsername": "packer", "computerName": "pkrvmab12cd34ef", "disablePasswordAuthentication": "true",
        },
    }  # fmt: skip
    assert {name: told[name] for name in expected} == expected
    assert told["storageProfile"]["osDisk"]["diskSizeGB"] == "64"
    assert told["storageProfile"]["resourceDisk"] == {"size": "0"}


def test_what_cloud_init_needs_is_in_the_versions_it_asks_for() -> None:
    document = instance_document(machine(user_data="I2Nsb3Vk"), CLOUD_INIT, extended=True)
    assert {"osProfile", "publicKeys", "userData", "location", "platformFaultDomain"} <= document["compute"].keys()
    assert document["compute"]["userData"] == "I2Nsb3Vk"
    assert "publicKeys" in compute("2019-06-01")


def test_network() -> None:
    nic = Nic(mac="00:0d:3a:ab:cd:ef", address=IPv4Address("10.1.2.36"), subnet=IPv4Network("10.1.2.32/27"))
    assert instance_document(machine(nic=nic), NEW)["network"] == {
        "interface": [
            {
                "ipv4": {
                    "ipAddress": [{"privateIpAddress": "10.1.2.36", "publicIpAddress": ""}],
                    "subnet": [{"address": "10.1.2.32", "prefix": "27"}],
                },
                "ipv6": {"ipAddress": []},
                "macAddress": "000D3AABCDEF",
            }
        ]
    }


def test_marketplace_image() -> None:
    plan = {"planName": "gold", "planProduct": "offer", "planPublisher": "acme"}
    told = compute(image=replace(machine().image, plan=plan))
    asked = {"publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "server"}
    assert {name: told[name] for name in asked} == asked
    assert told["version"] == "24.4.202601"
    reference = told["storageProfile"]["imageReference"]
    assert asked.items() <= reference.items()
    assert (reference["id"], reference["version"], reference["exactVersion"]) == ("", "latest", "24.4.202601")
    assert told["plan"] == {"name": "gold", "product": "offer", "publisher": "acme"}


def test_image_known_by_its_id_only() -> None:
    told = compute(image=ImageReference(id="/subscriptions/s/images/golden"))
    assert told["storageProfile"]["imageReference"]["id"] == "/subscriptions/s/images/golden"
    assert [told[name] for name in ("publisher", "offer", "sku", "version")] == [""] * 4
    assert told["plan"] == {"name": "", "product": "", "publisher": ""}


def test_tags_in_both_forms() -> None:
    told = compute(tags={"createdby": "AzureVMImageBuilder", "team": "a;b"})
    assert told["tags"] == "createdby:AzureVMImageBuilder;team:a;b"
    assert told["tagsList"] == [{"name": "createdby", "value": "AzureVMImageBuilder"}, {"name": "team", "value": "a;b"}]
    assert (compute()["tags"], compute()["tagsList"]) == ("", [])


def test_windows_does_not_say_how_passwords_are_used() -> None:
    assert compute(os_type="Windows")["osProfile"].keys() == {"adminUsername", "computerName"}


def test_custom_data_is_never_told() -> None:
    document = instance_document(machine(custom_data="c2VjcmV0"), NEW, extended=True)
    assert document["extended"] == {"compute": {"hasCustomData": True, "ppsType": "None"}}
    assert "c2VjcmV0" not in str(document)
    assert instance_document(machine(), NEW, extended=True)["extended"]["compute"]["hasCustomData"] is False
    assert "extended" not in instance_document(machine(), NEW)


def test_every_primitive_is_a_string() -> None:
    vm = machine(tags={"a": "b"}, user_data="eA==")
    assert [leaf for leaf in leaves(instance_document(vm, NEW)) if not isinstance(leaf, str)] == []


@pytest.mark.parametrize("path", SINCE)
def test_a_field_is_there_from_its_version_on(path: str) -> None:
    assert SINCE[path] in VERSIONS
    before = VERSIONS[VERSIONS.index(SINCE[path]) - 1]
    assert path in set(paths(instance_document(machine(), SINCE[path])))
    assert path not in set(paths(instance_document(machine(), before)))


def test_some_versions_as_documented() -> None:
    assert instance_document(machine(), FIRST_VERSION)["compute"].keys() == {
        "location", "name", "offer", "osType", "platformFaultDomain", "platformUpdateDomain", "publisher", "sku",
        "version", "vmId", "vmSize",
    }  # fmt: skip
    introduced = {"tagsList": "2019-06-04", "storageProfile": "2019-06-01", "resourceId": "2019-03-11"}
    introduced |= {"osProfile": "2020-07-15", "userData": "2021-01-01", "securityProfile": "2020-06-01"}
    assert {name: SINCE[f"compute.{name}"] for name in introduced} == introduced
    assert compute("2020-07-15")["osProfile"].keys() == {"adminUsername", "computerName"}


def test_fields_are_in_order_as_in_azure() -> None:
    assert list(compute()) == sorted(compute())


def test_versions_only_add() -> None:
    known = [set(paths(instance_document(machine(), version))) for version in VERSIONS[1:]]
    assert all(older <= newer for older, newer in itertools.pairwise(known))
