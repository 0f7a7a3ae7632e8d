"""Rules about the build machine: size, network, time, disk (facts: service 1.3, 3, 7.2)."""

from __future__ import annotations

import re

from aibemu.arm.resource_ids import IdForm
from aibemu.template import publishers
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import is_windows, source_of, vm_profile_of
from aibemu.template.spec.versions import V2020_02
from aibemu.template.view import NodeView
from aibemu.template.vm_sizes import DEFAULT_GEN1

SUBNET = IdForm(
    r"/subscriptions/[^/\s]+/resourceGroups/[^/\s]+/providers/Microsoft\.Network/virtualNetworks/[^/\s]+/subnets/[^/\s]+",
    "/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.Network/virtualNetworks/{network}/subnets/{subnet}",
)
# One hour: what a Windows build without updates takes at least, with all that is around it.
_SHORT_WINDOWS_BUILD = 60
_LARGEST_OPTIMIZED_GB = 2048


def check_timeout(template: NodeView, context: RuleContext) -> None:
    """1 to 5 minutes: accepted, and the run fails (facts: service 3). Below an hour: little for Windows."""
    properties = template.child("properties")
    minutes = properties.integer("buildTimeoutInMinutes") if properties else None
    if properties is None or minutes is None:
        return
    where = properties.at("buildTimeoutInMinutes")
    if 1 <= minutes <= 5:
        message = (
            f"a buildTimeoutInMinutes of {minutes} is accepted, and the run fails: 'client_jwt will expire within "
            "5 minutes, please use a JWT that is valid for at least 5 minutes'"
        )
        hint = "use 6 or more, or 0 for 240"
        context.findings.warning("E71", where, message, path=properties.path, hint=hint)
    elif 6 <= minutes < _SHORT_WINDOWS_BUILD and is_windows(template):
        message = (
            f"{minutes} minutes are little for a Windows image: they include starting, sysprep and distribution, "
            "and the run fails when they are over"
        )
        hint = "use 60 or more, with updates 120; 0 stands for 240"
        context.findings.warning("W72", where, message, path=properties.path, hint=hint)


def check_size(template: NodeView, context: RuleContext) -> None:
    """An empty vmSize is one vCPU for a generation 1 image, and Windows has a hard time on that."""
    source = source_of(template, "PlatformImage")
    properties = template.child("properties")
    if source is None or properties is None or properties.is_unknown("vmProfile"):
        return
    profile = vm_profile_of(template)
    if profile and (profile.is_unknown("vmSize") or profile.text("vmSize")):
        return
    if publishers.generation_of(source.text("publisher") or "", source.text("sku") or "") != 1:
        return
    message = (
        f"vmSize is not set: for a generation 1 image the service takes {DEFAULT_GEN1}, which has 1 vCPU, and Windows "
        "is slow on it"
    )
    where = profile or properties
    hint = 'add "vmSize": "Standard_D2s_v5" to vmProfile, or a larger one'
    context.findings.warning("W77", where.at("vmSize"), message, path=where.path, hint=hint)


def check_network(template: NodeView, context: RuleContext) -> None:
    """Which parts of vnetConfig go together."""
    profile = vm_profile_of(template)
    network = profile.child("vnetConfig") if profile else None
    if network is None:
        return
    if context.version < V2020_02:
        _check_old_keys(network, context)
    context.need_id(network, "subnetId", SUBNET)
    if network.text("containerInstanceSubnetId"):
        _check_container_subnet(network, context)
    elif network.text("proxyVmSize") and not _has(network, "subnetId"):
        message = "proxyVmSize does nothing without subnetId: there is a proxy only for a network of yours"
        hint = "add subnetId, or remove proxyVmSize"
        context.findings.warning("E75", network.at("proxyVmSize"), message, path=network.path, hint=hint)


def _check_container_subnet(network: NodeView, context: RuleContext) -> None:
    """Another subnet of the same network, and no proxy (facts: service 3)."""
    field = "containerInstanceSubnetId"
    if not context.need_id(network, field, SUBNET):
        return
    container, build = (network.text(field) or "").casefold(), (network.text("subnetId") or "").casefold()
    if not _has(network, "subnetId"):
        context.bad(
            "E74", network, field, "It needs subnetId beside it", "add subnetId, the subnet of the build machine"
        )
    elif SUBNET.fits(build) and container == build:
        why = "It must be another subnet than subnetId: the containers need one of their own"
        hint = "use a subnet that is delegated to Microsoft.ContainerInstance/containerGroups"
        context.bad("E74", network, field, why, hint)
    elif SUBNET.fits(build) and _network_of(container) != _network_of(build):
        context.bad(
            "E74", network, field, "It must be in the virtual network of subnetId", "use a subnet of that network"
        )
    if network.text("proxyVmSize"):
        message = "proxyVmSize and containerInstanceSubnetId are both there: with containers of yours there is no proxy"
        context.findings.error("E74", network.at("proxyVmSize"), message, path=network.path, hint="remove proxyVmSize")


def _has(view: NodeView, field: str) -> bool:
    """True unless the field is absent or empty; what is not known is there."""
    return view.is_unknown(field) or bool(view.text(field))


def _network_of(subnet: str) -> str:
    return re.split("/subnets/", subnet, flags=re.IGNORECASE)[0]


def _check_old_keys(network: NodeView, context: RuleContext) -> None:
    old = [key for key in ("name", "subnetName", "resourceGroupName") if network.has(key)]
    if old:
        message = f"{', '.join(old)}: this form of vnetConfig was dropped with api version {V2020_02}"
        hint = f"raise the api version, and write subnetId: {SUBNET.example}"
        context.findings.note("W76", network.at(old[0]), message, path=network.path, hint=hint)


def check_optimized_disk(template: NodeView, context: RuleContext) -> None:
    """optimize.vmBoot takes images of up to 2 TB (facts: service 2)."""
    properties = template.child("properties")
    optimize = properties.child("optimize") if properties else None
    boot = optimize.child("vmBoot") if optimize else None
    profile = vm_profile_of(template)
    size = profile.integer("osDiskSizeGB") if profile else None
    if boot and profile and size and boot.text("state") == "Enabled" and size > _LARGEST_OPTIMIZED_GB:
        message = f"optimize.vmBoot does not take images of more than 2 TB, and osDiskSizeGB is {size}"
        hint = "leave optimize.vmBoot out, or make the disk smaller"
        context.findings.warning("W83", profile.at("osDiskSizeGB"), message, path=profile.path, hint=hint)


CHECKS = (check_timeout, check_size, check_network, check_optimized_disk)
