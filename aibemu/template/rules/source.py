"""Rules about the source (facts: service 1.3, 3)."""

from __future__ import annotations

from aibemu.template.resource_ids import IMAGE_VERSION, MANAGED_IMAGE
from aibemu.template.rules.context import Context
from aibemu.template.spec.table import SOURCE
from aibemu.template.spec.versions import V2022_07
from aibemu.template.view import View


def source_of(template: View, kind: str) -> View | None:
    """The source, when it is of that type."""
    properties = template.child("properties")
    source = properties.child("source") if properties else None
    return source if source and source.text("type") == kind else None


def check_iso(template: View, context: Context) -> None:
    """ISO was a source until 2019-05; it cannot be one here (az CLI: the same sentence)."""
    if source := source_of(template, "ISO"):
        refusal = SOURCE.refused["ISO"]
        context.findings.error("E10", source.at("type"), refusal.message, path=source.path, hint=refusal.hint)


def check_platform_image(template: View, context: Context) -> None:
    """Optional in the schema, all four needed to find an image."""
    source = source_of(template, "PlatformImage")
    if source is None:
        return
    for field in ("publisher", "offer", "sku", "version"):
        if source.is_unknown(field) or source.text(field):
            continue
        if source.has(field) and source.text(field) is None:
            continue
        message = f"Missing field '{field}': a marketplace image is known by publisher, offer, sku and version"
        hint = 'write "version": "latest"' if field == "version" else None
        context.findings.error("E11", source.at(field), message, path=source.path, hint=hint)


def check_managed_image(template: View, context: Context) -> None:
    if source := source_of(template, "ManagedImage"):
        context.need_id(source, "imageId", MANAGED_IMAGE)


def check_image_version(template: View, context: Context) -> None:
    """`latest` in a gallery version came with 2022-07-01."""
    source = source_of(template, "SharedImageVersion")
    if source is None or not context.need_id(source, "imageVersionId", IMAGE_VERSION):
        return
    text = source.text("imageVersionId") or ""
    if text.casefold().endswith("/latest") and context.version < V2022_07:
        why = f"'latest' needs api version {V2022_07} or newer; this template uses {context.version}"
        context.bad("E14", source, "imageVersionId", why, "name the version, or raise the api version")


RULES = (check_iso, check_platform_image, check_managed_image, check_image_version)
