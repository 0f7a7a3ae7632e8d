"""Nested deployments: a template inside a template, with the expression scope of its parent or one of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from aibemu.arm.evaluate.parameters import Given
from aibemu.arm.evaluate.resources import Instance, ResourceScope
from aibemu.arm.expressions.frame import Frame
from aibemu.arm.expressions.surroundings import Surroundings
from aibemu.arm.nodes import Node, NodeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    """The parent of a template with the outer scope: the template is a value in it, at the place of `frame`."""

    scope: ResourceScope
    frame: Frame

    def evaluate(self, node: Node) -> Node:
        """What the parent makes of a part of the template."""
        return self.scope.evaluate(node, self.frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedTemplate:
    """A template inside of a deployment, before it is evaluated."""

    root: Node  # the template as it is written
    surroundings: Surroundings  # of its own deployment
    given: Mapping[str, Given]  # values of its parameters, by name in lower case
    outer: Outer | None  # what evaluates it first when it has the outer scope


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
    elif inner:
        template = parent.as_handed_down(template)
    if template.kind is not NodeKind.OBJECT:
        return None
    outer = None if inner else Outer(scope=parent, frame=frame)
    if outer is not None:
        with parent.work.without_azure():
            template = _prepared(template, outer)
    location = instance.text("location") if above_groups(template) else None
    around = replace(
        parent.surroundings,
        location=location or parent.surroundings.location,
        deployment_name=instance.name or parent.surroundings.deployment_name,
        subscription_id=instance.text("subscriptionId") or parent.surroundings.subscription_id,
        resource_group=instance.text("resourceGroup") or parent.surroundings.resource_group,
    )
    return NestedTemplate(root=template, surroundings=around, given=_given(instance, properties), outer=outer)


def _prepared(template: Node, outer: Outer) -> Node:
    """The template with all that its parent must evaluate before it is read; its resources and outputs only when they
    are needed, because they may need each other."""
    members = {
        key: member if key.casefold() in ("resources", "outputs") and member.value.kind is not NodeKind.STRING
        else replace(member, value=outer.evaluate(member.value))
        for key, member in template.members.items()
    }  # fmt: skip
    return replace(template, members=members)


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
        member.key.casefold(): Given(
            name=member.key, span=member.key_span, node=member.value, frame=instance.frame, scope=instance.scope
        )
        for member in (parameters.members.values() if parameters is not None else ())
    }


def _say_linked(instance: Instance, properties: Node | None) -> None:
    link = properties.find("templateLink") if properties else None
    if link is not None:
        message = "the linked template is not read: an image template in it is not seen"
        hint = "give the file of the linked template itself to aibemu"
        instance.scope.findings.note("T06", link.span, message, hint=hint)
