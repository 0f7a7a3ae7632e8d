"""Parity: what of *this* template is emulated differently here, or not at all. One line of the table a feature.

docs/emulated.md says the same of all features; here only those are named that the template uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aibemu.template.model import OnError, PlatformImage, Target, Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """applies: whether the template uses it; note: what is different."""

    applies: Callable[[Template], bool]
    note: str


def _targets(template: Template, kind: str) -> Iterator[Target]:
    return (target for target in template.distribute if target.kind == kind)


def _option(template: Template, kind: str, *names: str) -> bool:
    return any(target.options.get(name) for target in _targets(template, kind) for name in names)


def _property(*names: str) -> Callable[[Template], bool]:
    """True when the template says something of one of these properties."""
    return lambda template: any(template.document.get("properties", {}).get(name) for name in names)


def _local_script(template: Template) -> bool:
    steps = (*template.customize, *template.validate.steps)
    uris = (step.options.get("scriptUri") or step.options.get("sourceUri") for step in steps)
    return any(isinstance(uri, str) and not uri.casefold().startswith(("http://", "https://")) for uri in uris)


def _has_plan(template: Template) -> bool:
    return isinstance(template.source, PlatformImage) and template.source.plan is not None


TABLE: tuple[Parity, ...] = (
    Parity(
        applies=lambda template: template.optimize_vm_boot,
        note="optimize.vmBoot is accepted and shown as a state; the image is not changed by it",
    ),
    Parity(applies=_property("additionalDataDisks"), note="additionalDataDisks are recorded; the build VM has none"),
    Parity(
        applies=lambda template: bool((template.document.get("properties", {}).get("optimize") or {}).get("workload")),
        note="optimize.workload is accepted; nothing is run for it",
    ),
    Parity(
        applies=lambda template: bool(template.vm_profile.vnet_config),
        note="vnetConfig is recorded; the build VM is alone on a subnet (its addresses: the setting `subnets`), with "
        "access to the Internet",
    ),
    Parity(
        applies=lambda template: bool(template.vm_profile.user_assigned_identities),
        note="tokens of vmProfile.userAssignedIdentities are aibemu's own and open nothing in Azure; --identity hands "
        "out real ones",
    ),
    Parity(
        applies=_has_plan, note="planInfo is recorded; whether the plan's terms are accepted is only known in Azure"
    ),
    Parity(
        applies=_local_script,
        note="local file in scriptUri or sourceUri: works here, Azure refuses it (http(s) only)",
    ),
    Parity(
        applies=lambda template: _option(template, "SharedImage", "targetRegions", "replicationRegions"),
        note="regions and replicas of gallery versions are recorded; nothing is replicated",
    ),
    Parity(
        applies=lambda template: any(
            target.options.get("replicationMode") == "Shallow" for target in _targets(template, "SharedImage")
        ),
        note="replicationMode Shallow is recorded; the version here is a full image",
    ),
    Parity(
        applies=lambda template: (
            (template.document.get("properties", {}).get("autoRun") or {}).get("state") == "Enabled"
        ),
        note="autoRun is recorded: `aibemu run` builds, whatever it says",
    ),
    Parity(
        applies=lambda template: OnError.ABORT in (template.on_customizer_error, template.on_validation_error),
        note="errorHandling abort keeps the local machine running until `aibemu clean`",
    ),
    Parity(
        applies=lambda template: template.validate.source_validation_only,
        note="with sourceValidationOnly nothing is distributed here; what the service does then is not known",
    ),
    Parity(
        applies=lambda template: bool(template.staging_resource_group or template.managed_resource_tags),
        note="the staging resource group is a record here: no policy, quota or lock applies to it",
    ),
)


def parity_notes(template: Template) -> tuple[str, ...]:
    """What of this template is emulated differently, or not at all."""
    return tuple(parity.note for parity in TABLE if parity.applies(template))
