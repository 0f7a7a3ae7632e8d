"""Rules about regions: names that are none, the region of a gallery that the same file makes, how many copies (facts:
service 1.3, corrections)."""

from __future__ import annotations

from collections.abc import Iterator

from aibemu.arm.nodes import NodeKind
from aibemu.arm.resource_ids import GALLERY_IMAGE
from aibemu.errors import Span
from aibemu.template.regions import meant, normalised
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import targets_of
from aibemu.template.view import NodeView

GALLERY = "microsoft.compute/galleries"
_MOST_COPIES = 100


def lists_of(target: NodeView) -> Iterator[list[tuple[str, Span]]]:
    """Names of regions and their places: of the new list, and of the old one."""
    yield [(name, one.at("name")) for one in target.children("targetRegions") if (name := one.text("name"))]
    yield [(str(one.value), one.span) for one in target.items("replicationRegions") if one.kind is NodeKind.STRING]


def check_lists(template: NodeView, context: RuleContext) -> None:
    """Each region once: `West Europe` and `westeurope` are one."""
    for target in targets_of(template, "SharedImage"):
        for regions in lists_of(target):
            seen: dict[str, Span] = {}
            for name, span in regions:
                key = normalised(name)
                if key in seen:
                    message = f"the region '{name}' is in the list already (line {seen[key].line})"
                    hint = "remove one of the two; how many copies a region has is its replicaCount"
                    context.findings.error("E86", span, message, path=target.path, hint=hint)
                seen.setdefault(key, span)


def check_names(template: NodeView, context: RuleContext) -> None:
    """A name that is nearly one of a region's; of others nobody knows here."""
    places = [(template.text("location"), template.at("location"), template.path)]
    for target in targets_of(template):
        if target.text("type") == "ManagedImage":
            places.append((target.text("location"), target.at("location"), target.path))
        places += [(name, span, target.path) for regions in lists_of(target) for name, span in regions]
    for name, span, path in places:
        if name and (near := meant(name)):
            message = f"'{name}' is no region that this aibemu knows"
            context.findings.warning("W94", span, message, path=path, hint=f"did you mean '{near}'?")


def check_own_region(template: NodeView, context: RuleContext) -> None:
    """One of the regions has to be that of the gallery (documented for both lists)."""
    galleries = {one.id.casefold(): NodeView(one.node, "") for one in context.beside if one.type == GALLERY}
    for target in targets_of(template, "SharedImage"):
        text = (target.text("galleryImageId") or "").casefold()
        gallery = galleries.get(text.partition("/images/")[0]) if GALLERY_IMAGE.fits(text) else None
        own = gallery.text("location") if gallery else None
        for field, regions in zip(("targetRegions", "replicationRegions"), lists_of(target), strict=True):
            names = {normalised(name) for name, _ in regions}
            if own and names and len(names) == len(target.items(field)) and normalised(own) not in names:
                message = f"the gallery is in '{own}', and that is not in {field}: one of the regions has to be its own"
                hint = f"add '{own}' to the list"
                context.findings.warning("W94", target.at(field), message, path=target.path, hint=hint)


def check_copies(template: NodeView, context: RuleContext) -> None:
    for target in targets_of(template, "SharedImage"):
        for region in target.children("targetRegions"):
            if (region.integer("replicaCount") or 0) > _MOST_COPIES:
                why = f"Azure keeps {_MOST_COPIES} copies of a version in a region at most"
                context.bad("E59", region, "replicaCount", why, "one copy for about 20 machines that start at a time")


CHECKS = (check_lists, check_names, check_own_region, check_copies)
