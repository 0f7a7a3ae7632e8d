"""Finding the image template in a document: a bare body, or one resource of a deployment template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aibemu.arm.findings import Findings, listed, shorten
from aibemu.arm.nodes import Member, Node, NodeKind
from aibemu.errors import Span

if TYPE_CHECKING:
    from aibemu.arm.evaluate.deployment import Evaluated

TYPE = "Microsoft.VirtualMachineImages/imageTemplates"
# What people write in bare bodies; the service takes the type from the URL.
_BARE_TYPES = frozenset({TYPE.casefold(), "microsoft.virtualmachineimages"})
# Instructions to ARM: never sent to the service.
ARM_FIELDS = ("type", "dependsOn", "condition", "copy", "comments", "scope", "resources", "existing", "metadata")
# What ARM sends to the service.
_SENT = ("name", "location", "tags", "identity", "properties")
# Fields of ARM's in a bare body, where `type` does no harm.
ARM_FIELDS_OF_BARE = ("$schema", "apiVersion", "dependsOn", "condition", "copy", "comments", "scope")
# Files of a deployment that are no templates.
_OTHER_SCHEMAS = ("deploymentparameters", "createuidefinition")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The resource, without what is ARM's own. version: its apiVersion, or None."""

    resource: Node
    version: Node | None
    bare: bool


def from_body(root: Node, findings: Findings) -> Found | None:
    """A bare body; None after an error that says what the file holds instead."""
    if root.kind is not NodeKind.OBJECT:
        message = f"the file holds {root.kind.value}, not an image template"
        findings.error("T01", root.span, message, hint="a template is a JSON object: { ... }")
        return None
    if is_bare(root):
        return Found(resource=root.without("type"), version=root.find("apiVersion"), bare=True)
    message, hint = describe(root)
    findings.error("T01", root.span, f"this is not an image template: {message}", hint=hint)
    return None


def is_deployment(root: Node) -> bool:
    """True for an ARM deployment template, with or without its $schema."""
    schema = (root.text("$schema") or "").casefold()
    if "deploymenttemplate" in schema:
        return True
    resources = root.find("resources")
    return not schema and resources is not None and root.find("properties") is None


def is_bare(root: Node) -> bool:
    """True for the body of an image template."""
    type_ = root.find("type")
    properties = root.find("properties")
    if type_ is not None and type_.kind is NodeKind.STRING:
        return str(type_.value).casefold() in _BARE_TYPES
    schema = (root.text("$schema") or "").casefold()
    if properties is None or properties.kind is not NodeKind.OBJECT or any(name in schema for name in _OTHER_SCHEMAS):
        return False
    return any(properties.find(key) for key in ("source", "distribute", "customize"))


def describe(root: Node) -> tuple[str, str | None]:
    """What a file that is no template seems to be, and what to do."""
    schema = (root.text("$schema") or "").casefold()
    properties = root.find("properties")
    kind = properties.text("kind") if properties and properties.kind is NodeKind.OBJECT else None
    type_ = root.text("type") or ""
    template_hint = "name the file of the template itself"
    if "deploymentparameters" in schema:
        return "it is a parameters file of a deployment", template_hint
    if "createuidefinition" in schema:
        return "it is a portal form (createUiDefinition)", template_hint
    if type_.casefold().endswith("/triggers") or (kind or "").casefold() == "sourceimage":
        return "it is a trigger of an image template (kind 'SourceImage')", template_hint
    if type_:
        return f"it is a resource of type '{shorten(type_)}'", f"aibemu builds resources of type {TYPE}"
    if root.find("builders") or root.find("provisioners"):
        return "it is a Packer template", None
    if root.find("source") and root.find("distribute"):
        return (
            "it is the `properties` of one, without the resource around",
            'wrap it: {"location": ..., "properties": {...}}',
        )
    if not root.members:
        return "it is an empty object", None
    keys = listed(shorten(key, 30) for key in list(root.members)[:6])
    return f"it has neither `properties` nor `resources` (only {keys})", None


def from_deployment(evaluated: Evaluated, root: Node, findings: Findings, name: str | None) -> Found | None:
    """The image template that is meant, of those that a deployment would deploy."""
    if not evaluated.resources:
        _say_none(evaluated, root, findings)
        return None
    chosen = _choose(evaluated.resources, findings, name)
    if chosen is None:
        return None
    version = chosen.find("apiVersion")
    return Found(resource=_envelope(chosen).without(*ARM_FIELDS, "apiVersion"), version=version, bare=False)


def _envelope(resource: Node) -> Node:
    """The resource with the names of its own members as ARM writes them: it reads them in any case, and sends them on
    so. What is inside of them is the service's."""
    proper = {name.casefold(): name for name in (*_SENT, *ARM_FIELDS, "apiVersion")}
    members = {}
    for key, member in resource.members.items():
        name = proper.get(key.casefold(), key)
        members[name] = replace(member, key=name)
    return replace(resource, members=members)


def _say_none(evaluated: Evaluated, root: Node, findings: Findings) -> None:
    hint = None
    if evaluated.skipped:
        message = f"the condition of {listed(evaluated.skipped, 'and')} is false: no image template is deployed"
        hint = "the condition follows from the parameters: see --parameters"
    else:
        types = sorted({shorten(kind) for kind in evaluated.held})
        held = f"its resources are {listed(types, 'and')}" if types else "it has no resources"
        message = f"this deployment template holds no {TYPE}: {held}"
    findings.error("T01", root.span, message, hint=hint)


def _choose(mine: Sequence[Node], findings: Findings, name: str | None) -> Node | None:
    """The resource called `name`, or the only one."""
    if name is None:
        if len(mine) == 1:
            return mine[0]
        message = f"the file holds {len(mine)} image templates: {_names(mine)}"
        findings.error("T02", mine[0].span, message, hint="choose one with --name")
        return None
    for node in mine:
        if (node.text("name") or "").casefold() == name.casefold():
            return node
    message = f"no image template is called '{shorten(name)}'; the file holds {_names(mine)}"
    findings.error("T02", mine[0].span, message, hint="check --name")
    return None


def _names(mine: Sequence[Node]) -> str:
    return ", ".join(f"{shorten(node.text('name') or '(name not known)', 60)} (line {node.span.line})" for node in mine)


def rename(resource: Node, name: str, span: Span) -> Node:
    """The resource with another name."""
    member = Member("name", span, Node(NodeKind.STRING, span, name))
    return replace(resource, members={**resource.without("name").members, "name": member})


def name_from_file(stem: str) -> str:
    """A valid template name made from a file's name."""
    return re.sub(r"[^A-Za-z0-9\-_.]+", "-", stem).strip("-.")[:64] or "template"
