"""The build machine: size, disk, network, time."""

from __future__ import annotations

from aibemu.arm.diagnostics import Severity
from aibemu.template.catalogue.fragments import GROUP, properties
from aibemu.template.catalogue.model import Example, Rule

_NETWORK = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/vnet/subnets"
_SUBNET = f'"subnetId": "{_NETWORK}/build"'


def _network(text: str) -> Example:
    return properties(f'"vmProfile": {{ "vnetConfig": {{ {text} }} }}')


RULES: tuple[Rule, ...] = (
    Rule(
        id="E70",
        level=Severity.ERROR,
        title="buildTimeoutInMinutes is out of bounds",
        why="It is 0 to 960; 0 stands for 240 (documented).",
        fix="Write at most 960.",
        bad=properties('"buildTimeoutInMinutes": 1000'),
        good=properties('"buildTimeoutInMinutes": 960'),
    ),
    Rule(
        id="E71",
        level=Severity.WARNING,
        title="buildTimeoutInMinutes is too short to run",
        why="1 to 5 is accepted at submission, and the run fails: 'client_jwt will expire within 5 minutes' "
        "(observed).",
        fix="Use 6 or more, or 0.",
        bad=properties('"buildTimeoutInMinutes": 5'),
        good=properties('"buildTimeoutInMinutes": 60'),
    ),
    Rule(
        id="W72",
        level=Severity.WARNING,
        title="little time for Windows",
        why="Starting, sysprep and distribution of a Windows image alone take most of an hour (observed).",
        fix="Give it more, or leave it out: 240 minutes is the default.",
        bad=properties('"buildTimeoutInMinutes": 30', system="windows"),
        good=properties('"buildTimeoutInMinutes": 120', system="windows"),
    ),
    Rule(
        id="E73",
        level=Severity.ERROR,
        title="osDiskSizeGB is smaller than the source",
        why="A disk can only grow (documented). Found by `plan` and `run`, which know the source.",
        fix="Leave it out, or make it larger than the source.",
        bad=properties('"vmProfile": { "osDiskSizeGB": 1 }'),
        good=properties('"vmProfile": { "osDiskSizeGB": 64 }'),
    ),
    Rule(
        id="E74",
        level=Severity.ERROR,
        title="containerInstanceSubnetId",
        why="It needs subnetId, another subnet of the same network, and no proxyVmSize beside it (documented).",
        fix="As the message says.",
        bad=_network(f'"containerInstanceSubnetId": "{_NETWORK}/containers"'),
        good=_network(f'{_SUBNET}, "containerInstanceSubnetId": "{_NETWORK}/containers"'),
    ),
    Rule(
        id="E75",
        level=Severity.WARNING,
        title="proxyVmSize without subnetId",
        why="There is a proxy only for a network of yours.",
        fix="Add subnetId, or remove proxyVmSize.",
        bad=_network('"proxyVmSize": "Standard_A1_v2"'),
        good=_network(f'{_SUBNET}, "proxyVmSize": "Standard_A1_v2"'),
    ),
    Rule(
        id="W76",
        level=Severity.NOTE,
        title="the old form of vnetConfig",
        why="name, subnetName and resourceGroupName were dropped with api version 2020-02-14 (documented).",
        fix="Use a newer api version, and subnetId.",
        bad=properties(
            '"vmProfile": { "vnetConfig": { "name": "vnet", "subnetName": "build" } }', "2019-05-01-preview"
        ),
        good=_network(_SUBNET),
    ),
    Rule(
        id="W77",
        level=Severity.WARNING,
        title="Windows on the default size",
        why="Without vmSize a generation 1 image gets one vCPU, and Windows is slow on that (observed).",
        fix="Choose a vmSize of two vCPUs or more.",
        bad=properties('"vmProfile": { "vmSize": "" }, "source": { "sku": "2022-datacenter" }', system="windows"),
        good=properties('"source": { "sku": "2022-datacenter" }', system="windows"),
    ),
    Rule(
        id="E78",
        level=Severity.ERROR,
        title="stagingResourceGroup is not the id of a resource group",
        why="It is an id, not a name: /subscriptions/.../resourceGroups/... (documented).",
        fix="Write the whole id.",
        bad=properties('"stagingResourceGroup": "staging"'),
        good=properties(f'"stagingResourceGroup": "{GROUP}-staging"'),
    ),
    Rule(
        id="W83",
        level=Severity.WARNING,
        title="optimize.vmBoot with a very large disk",
        why="It does not take images of more than 2 TB (documented).",
        fix="Use a smaller disk, or leave optimize out.",
        bad=properties('"optimize": { "vmBoot": { "state": "Enabled" } }, "vmProfile": { "osDiskSizeGB": 4096 }'),
        good=properties('"optimize": { "vmBoot": { "state": "Enabled" } }, "vmProfile": { "osDiskSizeGB": 128 }'),
    ),
)
