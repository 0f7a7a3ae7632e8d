"""Rules about distribute targets (facts: service 1.3, 3, 6)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aibemu.errors import Span
from aibemu.template.nodes import Kind
from aibemu.template.resource_ids import GALLERY_IMAGE, MANAGED_IMAGE
from aibemu.template.rules.context import Context
from aibemu.template.view import View

_VERSION = re.compile(r"[0-9]{1,10}\.[0-9]{1,10}\.[0-9]{1,10}")
_INT32 = 2**31 - 1


def targets_of(template: View, kind: str | None = None) -> Iterator[View]:
    """The distribute targets, or those of one type."""
    if properties := template.child("properties"):
        yield from (t for t in properties.children("distribute") if kind is None or t.text("type") == kind)


def check_some_target(template: View, context: Context) -> None:
    properties = template.child("properties")
    found = properties.node.get("distribute") if properties else None
    if properties and found and found.kind is Kind.ARRAY and not found.items:
        message = "Field 'distribute' is empty: the image would go nowhere"
        context.findings.error("S02", found.span, message, path=properties.path, hint="add a distribute target")


def check_run_output_names(template: View, context: Context) -> None:
    """Unique in a template: one record per name is kept. Resource names are compared without case."""
    seen: dict[str, Span] = {}
    for target in targets_of(template):
        name = target.text("runOutputName")
        if not name:
            continue
        first = seen.setdefault(name.casefold(), target.at("runOutputName"))
        if first != target.at("runOutputName"):
            why = f"Another target has it (line {first.line}); each keeps its own record under its name"
            context.bad("E50", target, "runOutputName", why, "give each target its own name")


def check_ids(template: View, context: Context) -> None:
    for target in targets_of(template, "ManagedImage"):
        context.need_id(target, "imageId", MANAGED_IMAGE)
    for target in targets_of(template, "SharedImage"):
        context.need_id(target, "galleryImageId", GALLERY_IMAGE)


def check_regions(template: View, context: Context) -> None:
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


def check_version(template: View, context: Context) -> None:
    """An explicit version is x.y.z, and leaves nothing for versioning to do."""
    for target in targets_of(template, "SharedImage"):
        text = target.text("galleryImageId") or ""
        if not GALLERY_IMAGE.fits(text):
            continue
        version = re.split("/versions/", text, flags=re.IGNORECASE)[-1]
        if version == text:
            continue
        numbers = [int(number) for number in version.split(".")] if _VERSION.fullmatch(version) else []
        if not numbers or max(numbers) > _INT32:
            why = (
                "The image version name should follow Major(int).Minor(int).Patch(int) format, "
                "for e.g: 1.0.0, 2018.12.1 etc."
            )
            context.bad("E55", target, "galleryImageId", why, "or leave /versions/... out, and the service counts")
        if target.has("versioning"):
            message = f"versioning is there, and galleryImageId says the version already ({version})"
            hint = "remove versioning, or the version from galleryImageId"
            context.findings.error("E57", target.at("versioning"), message, path=target.path, hint=hint)


RULES = (check_some_target, check_run_output_names, check_ids, check_regions, check_version)
