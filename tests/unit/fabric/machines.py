"""A machine for the tests of the platform, as a build of a marketplace image would have it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any
from uuid import UUID

from aibemu.fabric.vm import ImageReference, ManagedIdentity, Nic, VirtualMachine

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
TENANT = "99999999-8888-7777-6666-555555555555"
KEY = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7 packer"


def identity(name: str = "builder", command: tuple[str, ...] = ()) -> ManagedIdentity:
    """A user-assigned identity; its client and principal id follow from the name."""
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/identities"
    return ManagedIdentity.local(f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}", command)


def machine(**changes: Any) -> VirtualMachine:
    """A generation 2 Ubuntu machine in a staging group, without an identity; `changes` are fields of it."""
    made = VirtualMachine(
        vm_id=UUID("2f6c1a52-9d1f-4d4b-8a55-2f0c5f6d7e80"),
        name="vm-build",
        computer_name="pkrvmab12cd34ef",
        admin_username="packer",
        public_keys=(KEY,),
        subscription_id=SUBSCRIPTION,
        tenant_id=TENANT,
        resource_group="IT_images_ubuntu_1a2b3c4d",
        location="westeurope",
        vm_size="Standard_D2ds_v4",
        generation="V2",
        image=ImageReference(
            publisher="Canonical", offer="ubuntu-24_04-lts", sku="server", version="latest", exact_version="24.4.202601"
        ),
        nic=Nic(mac="00:0d:3a:1b:2c:3d", address=IPv4Address("10.0.0.4"), subnet=IPv4Network("10.0.0.0/24")),
    )
    return replace(made, **changes)
