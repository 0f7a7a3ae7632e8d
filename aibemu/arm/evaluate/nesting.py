"""Nested deployments: a template inside a template, with the expression scope of its parent or one of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from aibemu.arm.evaluate.parameters import Given
from aibemu.arm.evaluate.resources import Instance
from aibemu.arm.expressions.frame import Frame
from aibemu.arm.expressions.surroundings import Surroundings
from aibemu.arm.nodes import Node, NodeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedTemplate:
    """A template inside of a deployment, before it is evaluated."""

    root: Node  # the template as it is written
    surroundings: Surroundings  # of its own deployment
    given: Mapping[str, Given]  # values of its parameters, by name in lower case
    base: Frame | None  # where its expressions stand when they are its parent's (the outer scope), or None


def above_groups(template: Node) -> bool:
    """True for a template that is deployed into a subscription or above it."""
    schema = (template.text("$schema") or "").casefold()
    return any(f"{kind}deployment" in schema for kind in ("subscription", "managementgroup", "tenant"))


def nested_template(instance: Instance) -> NestedTemplate | None:
    """An inline template; None for a linked one, which is not read (and that is said)."""
    parent, frame = instance.scope, instance.frame
    properties = instance.node.find("properties")
    template = properties.find("template") if properties else None
    if properties is None or template is None:
        _say_linked(instance, properties)
        return None
    # What an expression made is evaluated already in its parent's scope: what is an expression in it now, after two
    # brackets became one, is the nested deployment's own.
    inner = template.kind is NodeKind.STRING or _is_inner(instance, properties)
    if template.kind is NodeKind.STRING:
        template = parent.evaluate(template, frame)
    if template.kind is not NodeKind.OBJECT:
        return None
    location = instance.text("location") if above_groups(template) else None
    around = replace(
        parent.surroundings,
        location=location or parent.surroundings.location,
        deployment_name=instance.name or parent.surroundings.deployment_name,
        subscription_id=instance.text("subscriptionId") or parent.surroundings.subscription_id,
        resource_group=instance.text("resourceGroup") or parent.surroundings.resource_group,
    )
    given = _given(instance, properties) if inner else {}
    return NestedTemplate(root=template, surroundings=around, given=given, base=None if inner else frame)


def _is_inner(instance: Instance, properties: Node) -> bool:
    """`outer` is ARM's default: expressions in the nested template see the parent's parameters and variables."""
    options = properties.find("expressionEvaluationOptions")
    scope = options.find("scope") if options else None
    value = instance.scope.evaluate(scope, instance.frame) if scope else None
    return value is not None and str(value.value).casefold() == "inner"


def _given(instance: Instance, properties: Node) -> dict[str, Given]:
    """The parameters handed down. What only Azure knows of them is no error before something needs it."""
    parameters = properties.find("parameters")
    if parameters is not None and parameters.kind is NodeKind.STRING:
        parameters = instance.scope.evaluate(parameters, instance.frame)
    return {
        member.key.casefold(): Given(name=member.key, span=member.key_span, node=member.value, frame=instance.frame)
        for member in (parameters.members.values() if parameters is not None else ())
    }


def _say_linked(instance: Instance, properties: Node | None) -> None:
    link = properties.find("templateLink") if properties else None
    if link is not None:
        message = "the linked template is not read: an image template in it is not seen"
        hint = "give the file of the linked template itself to aibemu"
        instance.scope.findings.note("T06", link.span, message, hint=hint)
