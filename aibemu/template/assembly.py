"""A checked resource becomes a Template: frozen, with every default filled in. Nothing here can fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aibemu.arm.nodes import Json, Node, NodeKind
from aibemu.errors import Span
from aibemu.template.model import (
    ManagedImageSource,
    OnError,
    PlatformImage,
    SharedImageVersionSource,
    Source,
    StepSpec,
    Target,
    Template,
    Validate,
    VmProfile,
)
from aibemu.template.spec import Shape, with_defaults
from aibemu.template.spec.distributors import DISTRIBUTOR
from aibemu.template.spec.steps import CUSTOMIZER, VALIDATOR
from aibemu.template.view import NodeView

_EMPTY = Span(file="", line=1, column=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a template comes from: its file as the user named it, the absolute folder, the API version."""

    file: str
    directory: str
    version: str


def assemble(resource: NodeView, origin: Origin) -> Template:
    """Make the Template of a resource that has no errors."""
    nothing = NodeView(Node(NodeKind.OBJECT, _EMPTY), "")
    properties = resource.child("properties") or nothing
    handling = properties.child("errorHandling") or nothing
    boot = (properties.child("optimize") or nothing).child("vmBoot") or nothing
    identity = (resource.child("identity") or nothing).child("userAssignedIdentities") or nothing
    return Template(
        name=resource.text("name") or "",
        location=resource.text("location") or "",
        api_version=origin.version,
        tags=resource.texts("tags"),
        identities=tuple(identity.node.members),
        source=_source(properties.child("source") or nothing),
        customize=_steps(properties, "customize", CUSTOMIZER, origin.version),
        validate=_validate(properties.child("validate") or nothing, origin.version),
        optimize_vm_boot=boot.text("state") == "Enabled",
        distribute=tuple(_targets(properties, origin.version)),
        on_customizer_error=OnError(handling.text("onCustomizerError") or OnError.CLEANUP),
        on_validation_error=OnError(handling.text("onValidationError") or OnError.CLEANUP),
        build_timeout_minutes=properties.integer("buildTimeoutInMinutes") or 0,
        vm_profile=_vm_profile(properties.child("vmProfile") or nothing),
        staging_resource_group=properties.text("stagingResourceGroup") or "",
        managed_resource_tags=properties.texts("managedResourceTags"),
        file=origin.file,
        directory=origin.directory,
        document=resource.plain(),
    )


def _source(view: NodeView) -> Source:
    if view.text("type") == "ManagedImage":
        return ManagedImageSource(image_id=view.text("imageId") or "", span=view.span)
    if view.text("type") == "SharedImageVersion":
        return SharedImageVersionSource(image_version_id=view.text("imageVersionId") or "", span=view.span)
    return PlatformImage(
        publisher=view.text("publisher") or "",
        offer=view.text("offer") or "",
        sku=view.text("sku") or "",
        version=view.text("version") or "",
        plan=view.texts("planInfo") if view.has("planInfo") else None,
        span=view.span,
    )


def _filled(view: NodeView, shape: Shape, version: str, *without: str) -> dict[str, Json]:
    """The object's options with the defaults of its API version, without the fields that have a place of their own."""
    filled: dict[str, Json] = with_defaults(view.plain(), shape, version)
    return {key: value for key, value in filled.items() if key not in without}


def _steps(around: NodeView, key: str, shape: Shape, version: str) -> tuple[StepSpec, ...]:
    return tuple(
        StepSpec(
            kind=view.text("type") or "",
            index=index,
            name=view.text("name") or "",
            options=_filled(view, shape, version, "type", "name"),
            span=view.span,
            option_spans=_option_spans(view),
        )
        for index, view in enumerate(around.children(key))
    )


def _option_spans(view: NodeView) -> Mapping[str, Span]:
    """The place of each option's value, and of each entry of an array as `inline[2]`."""
    spans: dict[str, Span] = {}
    for key, member in view.node.members.items():
        spans[key] = member.value.span
        spans.update({f"{key}[{index}]": item.span for index, item in enumerate(member.value.items)})
    return spans


def _validate(view: NodeView, version: str) -> Validate:
    return Validate(
        continue_distribute_on_failure=view.flag("continueDistributeOnFailure"),
        source_validation_only=view.flag("sourceValidationOnly"),
        steps=_steps(view, "inVMValidations", VALIDATOR, version),
    )


def _targets(properties: NodeView, version: str) -> list[Target]:
    return [
        Target(
            kind=view.text("type") or "",
            index=index,
            run_output_name=view.text("runOutputName") or "",
            artifact_tags=view.texts("artifactTags"),
            options=_filled(view, DISTRIBUTOR, version, "type", "runOutputName", "artifactTags"),
            span=view.span,
        )
        for index, view in enumerate(properties.children("distribute"))
    ]


def _vm_profile(view: NodeView) -> VmProfile:
    vnet = view.child("vnetConfig")
    return VmProfile(
        vm_size=view.text("vmSize") or "",
        os_disk_size_gb=view.integer("osDiskSizeGB") or 0,
        user_assigned_identities=tuple(str(item.value) for item in view.items("userAssignedIdentities")),
        vnet_config=vnet.plain() if vnet else {},
        disk_span=view.at("osDiskSizeGB"),
    )
