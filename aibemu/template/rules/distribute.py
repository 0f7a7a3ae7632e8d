"""Rules about distribute targets (facts: service 1.3, 3, 6, 7.2)."""

from __future__ import annotations

import re

from aibemu.arm.nodes import NodeKind
from aibemu.arm.resource_ids import GALLERY_IMAGE, MANAGED_IMAGE
from aibemu.arm.resource_names import blob_problems
from aibemu.template.regions import normalised
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import source_of, targets_of
from aibemu.template.spec.versions import V2022_07
from aibemu.template.view import NodeView

_VERSION = re.compile(r"[0-9]{1,10}\.[0-9]{1,10}\.[0-9]{1,10}")
_INT32 = 2**31 - 1


def check_some_target(template: NodeView, context: RuleContext) -> None:
    properties = template.child("properties")
    found = properties.node.get("distribute") if properties else None
    if properties and found and found.kind is NodeKind.ARRAY and not found.items:
        message = "Field 'distribute' is empty: the image would go nowhere"
        context.findings.error("S02", found.span, message, path=properties.path, hint="add a distribute target")


def check_run_output_names(template: NodeView, context: RuleContext) -> None:
    """Unique in a template: one record per name is kept. Resource names are compared without case."""
    seen: dict[str, NodeView] = {}
    for target in targets_of(template):
        name = target.text("runOutputName")
        if not name:
            continue
        first = seen.setdefault(name.casefold(), target)
        if first is not target:
            line = first.at("runOutputName").line
            why = f"Another target has it (line {line}); each keeps its own record under its name"
            context.bad("E50", target, "runOutputName", why, "give each target its own name")


def check_ids(template: NodeView, context: RuleContext) -> None:
    for target in targets_of(template, "ManagedImage"):
        context.need_id(target, "imageId", MANAGED_IMAGE)
    for target in targets_of(template, "SharedImage"):
        context.need_id(target, "galleryImageId", GALLERY_IMAGE)


def check_places(template: NodeView, context: RuleContext) -> None:
    """Two targets with one place: the second would replace what the first one made, or fails when it distributes."""
    seen: dict[str, NodeView] = {}
    for target in targets_of(template):
        field, place = _place(target)
        if not place:
            continue
        first = seen.setdefault(place, target)
        if first is not target:  # in a loop all have one line
            message = f"another target has the same place (line {first.at(field).line}): only one image can be there"
            hint = "give each target a place of its own, or remove one of the two"
            context.findings.error("E85", target.at(field), message, path=target.path, hint=hint)


def _place(target: NodeView) -> tuple[str, str]:
    """(field, the one place that the target fills), "" where it is unknown, or the service chooses a free one."""
    kind = target.text("type") or ""
    if kind == "ManagedImage":
        return "imageId", (target.text("imageId") or "").casefold()
    if kind == "VHD":
        return "uri", (target.text("uri") or "").partition("?")[0]
    definition, number = _version_of(target)
    versioning = target.child("versioning")
    if definition and number:
        return "galleryImageId", f"{definition}/{number}"
    if definition and versioning and (versioning.text("scheme") or "").casefold() == "source":
        return "galleryImageId", f"{definition}/of the source"
    return "galleryImageId", ""


def _version_of(target: NodeView) -> tuple[str, str]:
    """(definition, explicit version), in one spelling; "" for what is not there."""
    text = (target.text("galleryImageId") or "").casefold()
    definition, separator, version = text.partition("/versions/")
    if not GALLERY_IMAGE.fits(text):
        return "", ""
    if separator and _VERSION.fullmatch(version):
        version = ".".join(str(int(number)) for number in version.split("."))
    return definition, version


def check_regions(template: NodeView, context: RuleContext) -> None:
    """replicationRegions is the old form, targetRegions the new one; storageAccountType belongs to the old one."""
    for target in targets_of(template, "SharedImage"):
        old, new = target.has("replicationRegions"), target.has("targetRegions")
        if old and new:
            message = "replicationRegions and targetRegions are both there: only one of them may be"
            context.findings.error(
                "E52",
                target.at("replicationRegions"),
                message,
                path=target.path,
                hint="remove replicationRegions: it is deprecated",
            )
        if target.has("storageAccountType") and not old:
            message = "storageAccountType only goes with replicationRegions"
            hint = "put a storageAccountType into each of targetRegions" if new else None
            context.findings.error("E53", target.at("storageAccountType"), message, path=target.path, hint=hint)
        if old and not new and context.version >= V2022_07:
            message = f"replicationRegions is deprecated since api version {V2022_07}: targetRegions took its place"
            hint = 'write "targetRegions": [{"name": "..."}], with replicaCount and storageAccountType as you need them'
            context.findings.note("W54", target.at("replicationRegions"), message, path=target.path, hint=hint)


def check_version(template: NodeView, context: RuleContext) -> None:
    """An explicit version is x.y.z, and leaves nothing for versioning to do."""
    for target in targets_of(template, "SharedImage"):
        text = target.text("galleryImageId") or ""
        version = re.split("/versions/", text, flags=re.IGNORECASE)[-1]
        if not GALLERY_IMAGE.fits(text) or version == text:
            continue
        numbers = [int(number) for number in version.split(".")] if _VERSION.fullmatch(version) else []
        if not numbers or max(numbers) > _INT32:
            why = (
                "The image version name should follow Major(int).Minor(int).Patch(int) format, "
                "for e.g: 1.0.0, 2018.12.1 etc."
            )
            context.bad("E55", target, "galleryImageId", why, "or leave /versions/... out, and the service counts")
        elif not target.has("versioning"):
            message = f"version {version} can be made only once: a second run of this template fails, as it exists then"
            hint = "leave /versions/... out, and each run makes the next version"
            context.findings.note("W56", target.at("galleryImageId"), message, path=target.path, hint=hint)
        if target.has("versioning"):
            message = f"versioning is there, and galleryImageId says the version already ({version})"
            hint = "remove versioning, or the version from galleryImageId"
            context.findings.error("E57", target.at("versioning"), message, path=target.path, hint=hint)


def check_location(template: NodeView, context: RuleContext) -> None:
    """Another region than the template's means a copy across regions."""
    here = template.text("location")
    for target in targets_of(template, "ManagedImage"):
        there = target.text("location")
        if here and there and normalised(here) != normalised(there):
            message = f"the image goes to '{there}', and the template is in '{here}': copying across regions takes long"
            hint = "build where the image is needed, or distribute to a gallery, which replicates"
            context.findings.note("W60", target.at("location"), message, path=target.path, hint=hint)


def check_source_version(template: NodeView, context: RuleContext) -> None:
    """The scheme Source takes over the source's version, and a managed image has none (facts: service 6)."""
    if source_of(template, "ManagedImage") is None:
        return
    for target in targets_of(template, "SharedImage"):
        versioning = target.child("versioning")
        if versioning and versioning.text("scheme") == "Source":
            message = "versioning Source takes over the version of the source, and a managed image has none"
            hint = 'write "scheme": "Latest"'
            context.findings.error("E49", versioning.at("scheme"), message, path=versioning.path, hint=hint)


def check_vhd(template: NodeView, context: RuleContext) -> None:
    """Where a VHD goes, and how it is called there."""
    for target in targets_of(template, "VHD"):
        uri = target.text("uri")
        if uri:
            for why in blob_problems(uri):
                hint = "no storage of Azure's has this name: correct it"
                context.findings.error("E84", target.at("uri"), why, path=target.path, hint=hint)
            if not uri.partition("?")[0].casefold().endswith(".vhd"):
                message = f"'{uri}' does not end in .vhd: Azure makes disks and images only of blobs with such a name"
                hint = "add .vhd to the name"
                context.findings.warning("W61", target.at("uri"), message, path=target.path, hint=hint)
        elif not target.is_unknown("uri"):
            message = "the VHD stays in the staging resource group, and is deleted together with the template"
            if context.version >= V2022_07:
                hint = "give its place in a storage account of yours by uri, or copy it from there"
            else:
                hint = f"copy it from there, or use api version {V2022_07} and give its place by uri"
            context.findings.note("W62", target.span, message, path=target.path, hint=hint)


CHECKS = (
    check_some_target,
    check_run_output_names,
    check_ids,
    check_places,
    check_regions,
    check_version,
    check_source_version,
    check_location,
    check_vhd,
)
