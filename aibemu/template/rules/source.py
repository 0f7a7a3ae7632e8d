"""Rules about the source (facts: service 1.3, 3, 7.2)."""

from __future__ import annotations

import re

from aibemu.arm.resource_ids import IMAGE_VERSION, MANAGED_IMAGE, RESOURCE_GROUP
from aibemu.template import publishers
from aibemu.template.ended_images import LOOKED_THROUGH, end_of_support
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import source_of
from aibemu.template.spec.table import SOURCE
from aibemu.template.spec.versions import V2020_02, V2022_07
from aibemu.template.view import NodeView

_SUBSCRIPTION = re.compile(r"/subscriptions/([^/]+)/", re.IGNORECASE)


def check_iso(template: NodeView, context: RuleContext) -> None:
    """ISO was a source until 2019-05; it cannot be one here (az CLI: the same sentence)."""
    if source := source_of(template, "ISO"):
        refusal = SOURCE.refused["ISO"]
        context.findings.error("E10", source.at("type"), refusal.message, path=source.path, hint=refusal.hint)


def check_platform_image(template: NodeView, context: RuleContext) -> None:
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


def check_support(template: NodeView, context: RuleContext) -> None:
    """An image whose release is out of support: a fact, with its day."""
    source = source_of(template, "PlatformImage")
    if source is None:
        return
    publisher, offer, sku = (source.text(field) or "" for field in ("publisher", "offer", "sku"))
    day = f"{context.now:%Y-%m-%d}" if context.now else LOOKED_THROUGH
    ended = end_of_support(publisher, offer, sku, day)
    if ended is None:
        return
    message = f"{ended.release}: support ended on {ended.on}"
    where, hint = source.at("sku"), f"newer: {ended.instead}"
    if ended.still:
        context.findings.note("W12", where, f"{message}; {ended.still}", path=source.path, hint=hint)
    else:
        message += "; the image gets no more fixes, and may go from the marketplace"
        context.findings.warning("W12", where, message, path=source.path, hint=hint)


def check_plan(template: NodeView, context: RuleContext) -> None:
    """Some publishers sell every image with a plan, and no machine starts without its name."""
    source = source_of(template, "PlatformImage")
    if source is None or source.has("planInfo"):
        return
    publisher, offer = source.text("publisher") or "", source.text("offer") or ""
    if not publishers.needs_plan(publisher, offer):
        return
    message = (
        f"images of '{publisher}' come with a purchase plan: without planInfo Azure does not start a machine from one"
    )
    hint = 'add "planInfo": {planName, planProduct, planPublisher} (az vm image show prints it), and accept its terms'
    if context.version < V2020_02:
        hint += f"; planInfo needs api version {V2020_02} or newer"
    context.findings.warning("W15", source.at("publisher"), message, path=source.path, hint=hint)


def check_hardened(template: NodeView, context: RuleContext) -> None:
    """CIS images restrict what the build needs (facts: service 7.1)."""
    source = source_of(template, "PlatformImage")
    if source and (source.text("publisher") or "").casefold() == publishers.CIS:
        message = (
            "CIS images are hardened: SSH or WinRM may be closed to the build, and scripts may not run from /tmp"
            " (mounted noexec); builds then end with 'Timeout waiting for WinRM' or 'Permission denied'"
        )
        hint = "try the build before you rely on it, or harden an ordinary image in a customizer"
        context.findings.warning("W16", source.at("publisher"), message, path=source.path, hint=hint)


def check_managed_image(template: NodeView, context: RuleContext) -> None:
    """In the subscription of the template, which is that of its staging group."""
    source = source_of(template, "ManagedImage")
    if source is None or not context.need_id(source, "imageId", MANAGED_IMAGE):
        return
    properties = template.child("properties")
    staging = properties.text("stagingResourceGroup") if properties else None
    if not staging or not RESOURCE_GROUP.fits(staging):
        return
    theirs, ours = _subscription(source.text("imageId") or ""), _subscription(staging)
    if theirs != ours:
        why = (
            "A managed image must be in the subscription of the template, and so must stagingResourceGroup: this image "
            f"is in {theirs}, the staging group in {ours}"
        )
        context.bad("E13", source, "imageId", why, "share the image across subscriptions by a gallery")


def _subscription(id_: str) -> str:
    match = _SUBSCRIPTION.match(id_)
    return match.group(1).casefold() if match else ""


def check_image_version(template: NodeView, context: RuleContext) -> None:
    """`latest` in a gallery version came with 2022-07-01."""
    source = source_of(template, "SharedImageVersion")
    if source is None or not context.need_id(source, "imageVersionId", IMAGE_VERSION):
        return
    text = source.text("imageVersionId") or ""
    if text.casefold().endswith("/latest") and context.version < V2022_07:
        why = f"'latest' needs api version {V2022_07} or newer; this template uses {context.version}"
        context.bad("E14", source, "imageVersionId", why, "name the version, or raise the api version")


CHECKS = (
    check_iso,
    check_platform_image,
    check_support,
    check_plan,
    check_hardened,
    check_managed_image,
    check_image_version,
)
