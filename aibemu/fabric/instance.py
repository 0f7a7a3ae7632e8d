"""The `/metadata/instance` document of a machine, as each api-version has it.

The whole document is written once; what came after the asked api-version is cut out of it by one table. Source of the
table, and of "all primitives are strings, what does not apply is an empty string": Microsoft's page on the Instance
Metadata Service, "Schema breakdown".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aibemu.fabric.vm import VirtualMachine

FIRST_VERSION = "2017-04-02"

# Where a field is -> the api-version it came with; what is not here came with the first one.
SINCE: Mapping[str, str] = {
    "compute.placementGroupId": "2017-08-01",
    "compute.resourceGroupName": "2017-08-01",
    "compute.subscriptionId": "2017-08-01",
    "compute.tags": "2017-08-01",
    "compute.vmScaleSetName": "2017-12-01",
    "compute.zone": "2017-12-01",
    "compute.plan": "2018-04-02",
    "compute.publicKeys": "2018-04-02",
    "compute.azEnvironment": "2018-10-01",
    "compute.provider": "2018-10-01",
    "compute.customData": "2019-02-01",
    "compute.resourceId": "2019-03-11",
    "compute.storageProfile": "2019-06-01",
    "compute.tagsList": "2019-06-04",
    "compute.isHostCompatibilityLayerVm": "2020-06-01",
    "compute.securityProfile": "2020-06-01",
    "compute.osProfile": "2020-07-15",
    "compute.licenseType": "2020-09-01",
    "compute.osProfile.disablePasswordAuthentication": "2020-10-01",
    "compute.evictionPolicy": "2020-12-01",
    "compute.priority": "2020-12-01",
    "compute.userData": "2021-01-01",
    "compute.storageProfile.resourceDisk": "2021-02-01",
    "compute.extendedLocation": "2021-03-01",
    "compute.virtualMachineScaleSet": "2021-03-01",
    "compute.platformSubFaultDomain": "2021-10-01",
    "compute.additionalCapabilities": "2021-11-01",
    "compute.securityProfile.encryptionAtHost": "2021-11-01",
    "compute.storageProfile.osDisk.encryptionSettings.diskEncryptionKey": "2021-11-01",
    "compute.storageProfile.osDisk.encryptionSettings.keyEncryptionKey": "2021-11-01",
    "compute.host": "2021-11-15",
    "compute.hostGroup": "2021-11-15",
    "compute.securityProfile.securityType": "2021-12-13",
    "compute.storageProfile.imageReference.communityGalleryImageId": "2023-07-01",
    "compute.storageProfile.imageReference.exactVersion": "2023-07-01",
    "compute.storageProfile.imageReference.sharedGalleryImageId": "2023-07-01",
    "compute.physicalZone": "2023-11-15",
    # Seen in answers, not documented: the version is a guess.
    "compute.isVmInStandbyPool": "2024-03-15",
}

# No host of its own, no zone, no set, no spot price. customData is switched off in the real service too: it is on the
# provisioning DVD only.
_THE_SAME_FOR_ALL: Mapping[str, Any] = {
    "additionalCapabilities": {"hibernationEnabled": "false"}, "azEnvironment": "AzurePublicCloud", "customData": "",
    "evictionPolicy": "", "extendedLocation": {"name": "", "type": ""}, "host": {"id": ""}, "hostGroup": {"id": ""},
    "isHostCompatibilityLayerVm": "false", "isVmInStandbyPool": "", "licenseType": "", "physicalZone": "",
    "placementGroupId": "", "platformFaultDomain": "0", "platformSubFaultDomain": "", "platformUpdateDomain": "0",
    "priority": "", "provider": "Microsoft.Compute",
    "virtualMachineScaleSet": {"id": ""}, "vmScaleSetName": "", "zone": "",
}  # fmt: skip


def instance_document(vm: VirtualMachine, api_version: str, *, extended: bool = False) -> dict[str, Any]:
    """What `/metadata/instance` answers. extended: what provisioning agents ask for besides (facts: 1.3).

    `extended` is not in Microsoft's page; its boolean is a real one (the answers in cloud-init's own tests).
    """
    document: dict[str, Any] = _known_to(api_version, {"compute": _compute(vm), "network": _network(vm)})
    if extended:
        document["extended"] = {"compute": {"hasCustomData": bool(vm.custom_data), "ppsType": "None"}}
    return document


def _known_to(api_version: str, fields: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """`fields` by name, without those that came after `api_version`. Dates of this form compare as texts."""
    return {
        name: _known_to(api_version, value, f"{where}{name}.") if isinstance(value, Mapping) else value
        for name, value in sorted(fields.items())
        if SINCE.get(f"{where}{name}", FIRST_VERSION) <= api_version
    }


def _security_profile(vm: VirtualMachine) -> Mapping[str, str]:
    """No Secure Boot and no TPM, as a build machine of Image Builder by default, unless it is TrustedLaunch."""
    on = "true" if vm.trusted else "false"
    return {
        "encryptionAtHost": "false", "secureBootEnabled": on, "securityType": "TrustedLaunch" if vm.trusted else "",
        "virtualTpmEnabled": on,
    }  # fmt: skip


def _compute(vm: VirtualMachine) -> dict[str, Any]:
    image, plan = vm.image, vm.image.plan
    return {
        **_THE_SAME_FOR_ALL,
        "securityProfile": _security_profile(vm),
        "location": vm.location,
        "name": vm.name,
        "offer": image.offer,
        "osProfile": _os_profile(vm),
        "osType": vm.os_type,
        "plan": {
            "name": plan.get("planName", ""),
            "product": plan.get("planProduct", ""),
            "publisher": plan.get("planPublisher", ""),
        },
        "publicKeys": [
            {"keyData": key, "path": f"/home/{vm.admin_username}/.ssh/authorized_keys"} for key in vm.public_keys
        ],
        "publisher": image.publisher,
        "resourceGroupName": vm.resource_group,
        "resourceId": vm.resource_id,
        "sku": image.sku,
        "storageProfile": _storage_profile(vm),
        "subscriptionId": vm.subscription_id,
        "tags": ";".join(f"{name}:{value}" for name, value in vm.tags.items()),
        "tagsList": [{"name": name, "value": value} for name, value in vm.tags.items()],
        "userData": vm.user_data,
        # The version that was taken, where imageReference.version is the one asked for: often `latest`.
        "version": image.exact_version,
        "vmId": str(vm.vm_id),
        "vmSize": vm.vm_size,
    }


def _os_profile(vm: VirtualMachine) -> dict[str, str]:
    """disablePasswordAuthentication is there for Linux only; cloud-init locks the user's password by it."""
    profile = {"adminUsername": vm.admin_username, "computerName": vm.computer_name}
    return profile | ({"disablePasswordAuthentication": "true"} if vm.os_type == "Linux" else {})


def _storage_profile(vm: VirtualMachine) -> dict[str, Any]:
    disk, image = f"{vm.name}-osdisk", vm.image
    group = f"/subscriptions/{vm.subscription_id}/resourceGroups/{vm.resource_group}"
    return {
        "dataDisks": [],
        "imageReference": {
            "communityGalleryImageId": "", "exactVersion": image.exact_version, "id": image.id, "offer": image.offer,
            "publisher": image.publisher, "sharedGalleryImageId": "", "sku": image.sku, "version": image.version,
        },
        "osDisk": {
            "caching": "ReadWrite",
            "createOption": "FromImage",
            "diffDiskSettings": {"option": ""},
            "diskSizeGB": str(vm.disk_gib),
            "encryptionSettings": {
                "diskEncryptionKey": {"secretUrl": "", "sourceVault": {"id": ""}},
                "enabled": "false",
                "keyEncryptionKey": {"keyUrl": "", "sourceVault": {"id": ""}},
            },
            "image": {"uri": ""},
            "managedDisk": {
                "id": f"{group}/providers/Microsoft.Compute/disks/{disk}", "storageAccountType": "Premium_LRS",
            },
            "name": disk,
            "osType": vm.os_type,
            "vhd": {"uri": ""},
            "writeAcceleratorEnabled": "false",
        },
        # The machine has no temporary disk, whatever its size in Azure has.
        "resourceDisk": {"size": "0"},
    }  # fmt: skip


def _network(vm: VirtualMachine) -> dict[str, Any]:
    """One interface without a public address: the build machine is reached from its host only."""
    nic = vm.nic
    return {
        "interface": [
            {
                "ipv4": {
                    "ipAddress": [{"privateIpAddress": str(nic.address), "publicIpAddress": ""}],
                    "subnet": [{"address": str(nic.subnet.network_address), "prefix": str(nic.subnet.prefixlen)}],
                },
                "ipv6": {"ipAddress": []},
                "macAddress": nic.mac.replace(":", "").upper(),
            }
        ]
    }
