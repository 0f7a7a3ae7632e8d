"""Rules about what else the same deployment makes: image definitions that the template writes to, and its triggers
(facts: service 1.7, 3, corrections)."""

from __future__ import annotations

from collections.abc import Iterator

from aibemu.arm.resource_ids import GALLERY_IMAGE
from aibemu.errors import Span
from aibemu.template import publishers
from aibemu.template.regions import normalised
from aibemu.template.rule_context import Beside, RuleContext
from aibemu.template.rule_parts import source_of, system_of_source, targets_of
from aibemu.template.view import NodeView

_DEFINITION = "microsoft.compute/galleries/images"
_TEMPLATE = "microsoft.virtualmachineimages/imagetemplates"
_GROUP = "microsoft.resources/resourcegroups"
_TRIGGER = "microsoft.virtualmachineimages/imagetemplates/triggers"
TYPES = frozenset({_DEFINITION, _GROUP, _TEMPLATE, _TRIGGER})


def check_definitions(template: NodeView, context: RuleContext) -> None:
    """The service compares system and generation of source and definition when it gets the template."""
    definitions = {one.id.casefold(): one for one in context.beside if one.type == _DEFINITION and one.id}
    for target in targets_of(template, "SharedImage"):
        text = target.text("galleryImageId") or ""
        if GALLERY_IMAGE.fits(text) and (found := definitions.get(text.casefold().partition("/versions/")[0])):
            _check_definition(template, target, found, context)


def _check_definition(template: NodeView, target: NodeView, found: Beside, context: RuleContext) -> None:
    properties = NodeView(found.node, "").child("properties")
    if properties is None:
        return
    where = f"the image definition {found.name} of this file (line {found.node.span.line})"
    system, theirs = system_of_source(template), properties.text("osType")
    if system and theirs and theirs.casefold() != system.casefold():
        message = f"{where} is for {theirs}, and the source is a {system} image"
        _say(context, target, message, f'write "osType": "{system}" in the definition, or take another definition')
    source = source_of(template, "PlatformImage")
    known = publishers.generation_by_name(*_names(source)) if source else None
    said = properties.node.get("hyperVGeneration")
    generation = "V1" if said is None else properties.text("hyperVGeneration")
    if known and generation and generation.casefold() != f"v{known}":
        default = "" if said else ", the default,"
        message = (
            f"{where} is of Hyper-V generation {generation}{default} and the source of V{known}: the service refuses "
            "the template ('... different Hyper-V Generation ...')"
        )
        _say(
            context, target, message, f'write "hyperVGeneration": "V{known}" in the definition, or take another source'
        )
    if (state := properties.text("osState")) and state.casefold() == "specialized":
        message = f"{where} is for specialized images, and Image Builder makes generalized ones"
        _say(context, target, message, 'write "osState": "Generalized" in the definition')


def _names(source: NodeView) -> tuple[str, str, str]:
    return source.text("publisher") or "", source.text("offer") or "", source.text("sku") or ""


def _say(context: RuleContext, target: NodeView, message: str, hint: str) -> None:
    context.findings.error("E18", target.at("galleryImageId"), message, path=target.path, hint=hint)


def check_triggers(template: NodeView, context: RuleContext) -> None:
    """What a trigger asks of its template; several for one template are refused."""
    mine = [
        one
        for one in context.beside
        if one.type == _TRIGGER and _parent(one) == (template.text("name") or "").casefold()
    ]
    for trigger in mine:
        properties = NodeView(trigger.node, "").child("properties")
        kind = properties.text("kind") if properties else None
        if properties and kind is not None and kind != "SourceImage":
            message = f"there is no trigger of kind '{kind}': the one kind is SourceImage"
            _say_trigger(context, properties.at("kind"), message, 'write "kind": "SourceImage"')
    if not mine:
        return
    for span, message, hint in _obstacles(template):
        _say_trigger(context, span, message, hint)
    if len(mine) > 1:
        message = f"a template takes one trigger, and the file has {len(mine)} for it"
        _say_trigger(context, mine[1].node.span, message, "remove all but one")


def _obstacles(template: NodeView) -> Iterator[tuple[Span, str, str]]:
    """(place, message, hint) of what keeps a template from having a trigger."""
    because = "a trigger of this file starts the template when there is a newer source image"
    if source := source_of(template, "PlatformImage"):
        version = source.text("version")
        if version and version.casefold() != "latest":
            yield source.at("version"), f"{because}, and the source is always version {version}", 'write "latest"'
    elif source := source_of(template, "SharedImageVersion"):
        id_ = source.text("imageVersionId")
        if id_ and not id_.casefold().endswith("/latest"):
            yield source.at("imageVersionId"), f"{because}, and the source is always one version", "end it with /latest"
    elif source := source_of(template, "ManagedImage"):
        message = f"{because}, and a managed image has no versions"
        yield source.span, message, "take a PlatformImage, or a SharedImageVersion that ends with /latest"
    of_source = (source.text("imageVersionId") or "") if source else ""
    for target in targets_of(template, "SharedImage"):
        definition, explicit, _ = (target.text("galleryImageId") or "").casefold().partition("/versions/")
        if explicit:
            message = f"{because}, and galleryImageId has one version, which can be made only once"
            yield target.at("galleryImageId"), message, "leave /versions/... out"
        if definition and of_source.casefold().startswith(f"{definition}/versions/"):
            message = f"{because}, and its own image is one: source and target are the same definition"
            yield target.at("galleryImageId"), message, "distribute to another image definition"


def _parent(trigger: Beside) -> str:
    return trigger.name.rpartition("/")[0].casefold()


def _say_trigger(context: RuleContext, span: Span, message: str, hint: str) -> None:
    context.findings.warning("W19", span, message, path="ImageTemplate", hint=hint)


def check_staging(template: NodeView, context: RuleContext) -> None:
    """A staging group belongs to one template: the service refuses the second one."""
    properties = template.child("properties")
    mine = (properties.text("stagingResourceGroup") or "").casefold() if properties else ""
    if properties is None or not mine:
        return
    for other in context.beside:
        if other.type == _GROUP and other.id.casefold() == mine:
            _check_group(template, other, properties, context)
        theirs = NodeView(other.node, "").child("properties") if other.type == _TEMPLATE else None
        if theirs and (theirs.text("stagingResourceGroup") or "").casefold() == mine:
            message = (
                f"the template '{other.name}' of this file (line {other.node.span.line}) has the same staging group"
            )
            hint = "give each template a staging group of its own, or leave it out: the service makes one"
            where = properties.at("stagingResourceGroup")
            context.findings.error("E78", where, message, path=properties.path, hint=hint)


def _check_group(template: NodeView, group: Beside, properties: NodeView, context: RuleContext) -> None:
    """It is in the template's region (documented)."""
    here, there = template.text("location"), NodeView(group.node, "").text("location")
    if here and there and normalised(here) != normalised(there):
        message = (
            f"the staging group is in '{there}' (line {group.node.span.line}), and the template in '{here}': both have "
            "to be in one region"
        )
        where = properties.at("stagingResourceGroup")
        hint = f"write '{here}' for the group, or leave stagingResourceGroup out: the service makes one"
        context.findings.error("E78", where, message, path=properties.path, hint=hint)


CHECKS = (check_definitions, check_triggers, check_staging)
