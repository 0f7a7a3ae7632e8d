"""What a run tells a machine's platform: from template, plan and settings to a `VirtualMachine`. Pure.

A build machine is a VM of the staging resource group, named as AIB's Packer names it, in the template's location and
size, with the identities of vmProfile.userAssignedIdentities (the template's own `identity` is the service's).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network

from aibemu.cloud.ids import parse_id, staging_tags
from aibemu.fabric.identity import Identity
from aibemu.fabric.vm import ImageReference, ManagedIdentity, Nic, VirtualMachine
from aibemu.plan.model import Plan, ResolvedImage
from aibemu.settings import Settings
from aibemu.template.model import ManagedImageSource, PlatformImage, Template

# The first address that Azure gives away in a subnet; three are its own (facts: guest-platform 2).
FIRST_FREE = 4
GIB = 1024**3


def describe_vm(
    plan: Plan, identity: Identity, public_key: str, *, settings: Settings, identities: tuple[ManagedIdentity, ...]
) -> VirtualMachine:
    """The machine that `identity` is about to become."""
    template = plan.template
    subnet = subnet_of(template, settings.subnets)
    tags = staging_tags(parse_id(plan.template_id), user_supplied=False)
    return VirtualMachine(
        vm_id=identity.vm_id, name=identity.hostname, computer_name=identity.hostname, admin_username=identity.user,
        public_keys=tuple(filter(None, [public_key])), subscription_id=settings.subscription_id,
        tenant_id=settings.tenant_id,
        resource_group=plan.staging_group.rsplit("/", 1)[-1], location=template.location,
        vm_size=plan.machine.vm_size, generation=plan.source.image.info.generation.value,
        image=image_reference(template, plan.source),
        nic=Nic(mac=identity.mac, address=subnet.network_address + FIRST_FREE, subnet=subnet),
        os_type=plan.source.image.info.os_type, disk_gib=-(-plan.machine.disk_bytes // GIB),
        tags={**tags, **template.managed_resource_tags}, identities=identities,
        trusted=plan.machine.devices.hardware.secure_boot and plan.machine.devices.hardware.tpm,
    )  # fmt: skip


def subnet_of(template: Template, subnets: Sequence[str]) -> IPv4Network:
    """The addresses of the build VM's subnet: what the setting says of vnetConfig's VNET/SUBNET, else 10.0.0.0/24.

    A template has only names; which addresses they stand for is known in Azure.
    """
    given = {name.casefold(): IPv4Network(cidr) for name, _, cidr in (text.partition("=") for text in subnets)}
    parts = str(template.vm_profile.vnet_config.get("subnetId") or "").casefold().split("/")
    if len(parts) >= 3:
        vnet, subnet = parts[-3], parts[-1]
        for name in (f"{vnet}/{subnet}", subnet):
            if name in given:
                return given[name]
    return IPv4Network("10.0.0.0/24")


def image_reference(template: Template, source: ResolvedImage) -> ImageReference:
    """What the metadata service says of the image that the machine was made from."""
    asked = template.source
    if isinstance(asked, PlatformImage):
        plan: Mapping[str, str] = asked.plan or {}
        return ImageReference(
            publisher=asked.publisher, offer=asked.offer, sku=asked.sku, version=asked.version,
            exact_version=source.exact_version, plan=plan,
        )  # fmt: skip
    if isinstance(asked, ManagedImageSource):
        return ImageReference(id=asked.image_id)
    return ImageReference(id=source.exact_version or asked.image_version_id)
