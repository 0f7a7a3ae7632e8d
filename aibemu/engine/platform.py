"""What a run tells a machine's platform: from template, plan and settings to a `VirtualMachine`, and its start.

A build machine is a VM of the staging resource group, named as AIB's Packer names it, in the template's location and
size, with the identities of vmProfile.userAssignedIdentities (the template's own `identity` is the service's).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from aibemu.cloud.ids import parse_id, staging_tags
from aibemu.errors import UsageError
from aibemu.guest.platform.vm import ImageReference, ManagedIdentity, Nic, VirtualMachine
from aibemu.template.model import ManagedImageSource, PlatformImage, Template

if TYPE_CHECKING:
    from aibemu.engine.ports import Ports
    from aibemu.guest.identity import Identity
    from aibemu.guest.platform.handle import Platform
    from aibemu.plan.model import Plan, ResolvedImage

# The first address that Azure gives away in a subnet; three are its own (facts: guest-platform 2).
FIRST_FREE = 4
GIB = 1024**3


def describe_vm(ports: Ports, plan: Plan, identity: Identity, public_key: str) -> VirtualMachine:
    """The machine that `identity` is about to become."""
    template, settings = plan.template, ports.settings
    subnet = subnet_of(template, settings.subnets)
    tags = staging_tags(parse_id(plan.template_id), user_supplied=False)
    return VirtualMachine(
        vm_id=identity.vm_id, name=identity.hostname, computer_name=identity.hostname, admin_username=identity.user,
        public_keys=(public_key,), subscription_id=settings.subscription_id, tenant_id=settings.tenant_id,
        resource_group=plan.staging_group.rsplit("/", 1)[-1], location=template.location,
        vm_size=plan.machine.vm_size, generation=plan.source.image.info.generation.value,
        image=image_reference(template, plan.source),
        nic=Nic(mac=identity.mac, address=subnet.network_address + FIRST_FREE, subnet=subnet),
        os_type=plan.source.image.info.os_type, disk_gib=-(-plan.machine.disk_bytes // GIB),
        tags={**tags, **template.managed_resource_tags}, identities=ports.identities,
    )  # fmt: skip


def start_platform(ports: Ports, role: str, vm: VirtualMachine) -> Platform:
    """Start the platform of the run's machine `role`; it may not listen yet."""
    from aibemu.guest.platform.handle import Platform

    return Platform.start(
        ports.run.platform / role, vm, journal=ports.run.platform_journal(role), offline=ports.offline,
        secrets=ports.secrets,
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


def machine_identities(
    template: Template, *, settings: Sequence[str], given: Sequence[str]
) -> tuple[ManagedIdentity, ...]:
    """The machine's identities, with the commands that get real tokens.

    settings and given are `ID=COMMAND`: an identity's resource id, its name or its client id. `UsageError` for a given
    one that the template does not have; the settings may be about other templates.
    """
    known = [ManagedIdentity.local(resource_id) for resource_id in template.vm_profile.user_assigned_identities]
    commands: dict[str, tuple[str, ...]] = {}
    for text, must_match in (*((text, False) for text in settings), *((text, True) for text in given)):
        name, words = parse_identity(text)
        found = [one for one in known if name.casefold() in _names(one)]
        if must_match and not found:
            raise UsageError(
                f"--identity {name}: the build VM has no such identity",
                details=[one.resource_id for one in known] or ["vmProfile.userAssignedIdentities is empty"],
                hint="give its resource id, or the last part of that, as in vmProfile.userAssignedIdentities",
            )
        commands |= {one.resource_id: words for one in found}
    return tuple(ManagedIdentity.local(one.resource_id, commands.get(one.resource_id, ())) for one in known)


def parse_identity(text: str) -> tuple[str, tuple[str, ...]]:
    """`ID=COMMAND` as id and words, split as a shell would. `UsageError` if it is not that."""
    name, separator, command = text.partition("=")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"--identity {name}: the command cannot be split into words: {error}") from None
    if not separator or not name.strip() or not words:
        raise UsageError(
            f"--identity {text!r} is not ID=COMMAND",
            hint="for example --identity web='az account get-access-token --resource {resource}'",
        )
    return name.strip(), words


def _names(identity: ManagedIdentity) -> set[str]:
    return {identity.resource_id.casefold(), identity.resource_id.casefold().rsplit("/", 1)[-1], identity.client_id}


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
