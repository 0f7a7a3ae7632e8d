"""The way in: a deployment template, its parameters and its surroundings, to the image templates that it would deploy.

Everything in the template is evaluated, so that all that ARM would refuse is found; what only Azure knows is an error
only where an image template needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aibemu.arm.evaluate.deployment_scope import DeploymentScope
from aibemu.arm.evaluate.outputs import Output
from aibemu.arm.evaluate.parameters import Given
from aibemu.arm.evaluate.resource_checks import check_resources, handles
from aibemu.arm.evaluate.resources import IMAGE_TEMPLATES, Instance, Resources, ResourceScope, holds
from aibemu.arm.evaluate.work import ONLY_AZURE_KNOWS, Work
from aibemu.arm.expressions.surroundings import Surroundings
from aibemu.arm.findings import Findings, shorten
from aibemu.arm.nodes import Node, NodeKind
from aibemu.arm.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """resources: the image templates, evaluated, in the order of the file. skipped: names of those whose condition is
    false. held: the types of the others; others: those of them that are deployed. outputs of the deployment; secrets:
    values of secure parameters. readable: False for what is no template, of which nothing was evaluated."""

    resources: tuple[Node, ...]
    skipped: tuple[str, ...]
    held: tuple[str, ...]
    outputs: Mapping[str, Output]
    secrets: frozenset[str]
    readable: bool = True
    others: tuple[Instance, ...] = ()


def open_template(
    root: Node, findings: Findings, places: Places, surroundings: Surroundings, given: Mapping[str, Given],
    *, part: bool = False,
) -> DeploymentScope:  # fmt: skip
    """The outermost template at work: read, as ARM reads it, and its parameters resolved. part: it is not a whole
    template, only what an expression needs of one."""
    scope = DeploymentScope(root, Work(findings=findings, places=places), surroundings, given=given)
    if not part:
        scope.read(strict=True)
    scope.check_parameters()
    return scope


def evaluate(scope: DeploymentScope) -> Evaluated:
    """Everything that the template declares."""
    if not scope.readable:
        secrets = frozenset(scope.work.secrets)
        return Evaluated(resources=(), skipped=(), held=(), outputs={}, secrets=secrets, readable=False)
    every = list(scope.resources.everywhere)
    mine = [instance for instance in every if instance.kind.casefold() == IMAGE_TEMPLATES]
    others = [instance for instance in every if instance.kind.casefold() != IMAGE_TEMPLATES]
    # These first: what they need of Azure is an error, and found where it is written.
    resources = tuple(instance.body for instance in mine if instance.deployed is not False)
    _check_others(scope, others)
    for one in _templates(scope):
        with scope.work.without_azure():
            check_resources(one.resources)
        _check_dependencies(one.resources)
    for resource in resources:
        _check_known(resource, scope.findings)
    return Evaluated(
        resources=resources,
        skipped=tuple(
            instance.name or "?"
            for instance in every
            if instance.deployed is False and holds(instance.node, IMAGE_TEMPLATES)
        ),
        held=tuple(instance.kind or "?" for instance in others),
        outputs=_outputs(scope),
        secrets=frozenset(scope.work.secrets),
        others=tuple(instance for instance in others if instance.deployed is not False),
    )


def _templates(scope: ResourceScope) -> Iterator[ResourceScope]:
    """This template, and those nested in it."""
    yield scope
    for instance in scope.resources.all:
        if instance.deployed is not False and instance.nested is not None:
            yield from _templates(instance.nested)


def _check_others(scope: DeploymentScope, instances: Sequence[Instance]) -> None:
    """Evaluate what is not ours for what ARM would refuse in it."""
    with scope.work.without_azure():
        for instance in instances:
            if instance.deployed is not False:
                _ = instance.body
        for one in _templates(scope):
            one.check_variables()
            one.check_handed_down()
            if one is not scope:
                one.check_parameters()
                one.outputs()


def _outputs(scope: DeploymentScope) -> Mapping[str, Output]:
    """The outputs; what only Azure knows of them is no error: it is known after the deployment."""
    with scope.work.without_azure():
        return scope.outputs()


def _check_known(node: Node, findings: Findings) -> None:
    """A template with an unknown value is no template, even where what made it unknown was nobody's error."""
    if findings.failed:
        return
    for unknown in _unknown(node):
        message = "this value depends on something that only Azure knows"
        hint = "see what it refers to, and supply that with --supply"
        findings.error(ONLY_AZURE_KNOWS, unknown.span, message, hint=hint)


def _unknown(node: Node) -> Iterator[Node]:
    if node.kind is NodeKind.UNKNOWN:
        yield node
    for inner in (*node.items, *(member.value for member in node.members.values())):
        yield from _unknown(inner)


def _check_dependencies(resources: Resources) -> None:
    """`dependsOn` names resources of the same template: by name, id, symbolic name or the name of a loop."""
    if any(instance.name is None for instance in resources.all):
        return
    known = {label.casefold() for label in resources.labels}
    known |= {name.casefold() for instance in resources.all for name in handles(instance)}
    ids = [(instance.id or "").casefold() for instance in resources.all]
    for instance in resources.all:
        depends = instance.body.find("dependsOn") if instance.deployed is not False else None
        for item in depends.items if depends is not None else ():
            if item.kind is not NodeKind.STRING:
                continue
            target = str(item.value).casefold()
            if target not in known and not any(id_.endswith(f"/providers/{target}") for id_ in ids):
                message = f"dependsOn: the template declares no resource '{shorten(str(item.value), 200)}'"
                resources.scope.findings.error("X08", item.span, message, hint="remove it, or mend the name")
