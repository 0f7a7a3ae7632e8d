"""Resource groups that the templates make: what resourceGroup() knows of them inside of a nested deployment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from aibemu.arm.evaluate.resources import Instance, ResourceScope, holds
from aibemu.arm.nodes import Node, NodeKind
from aibemu.arm.resource_ids import RESOURCE_GROUPS


def made_group(outermost: ResourceScope, id_: str) -> Mapping[str, Node]:
    """Location and tags of the group with that id, when a template makes it; else nothing."""
    work, key = outermost.work, id_.casefold()
    if key in work.groups:
        return work.groups[key]
    if work.seeking:
        return {}  # what the search looks at asks for a group itself
    work.seeking = True
    try:
        found = next(_made(outermost, key), None)
        work.groups[key] = _described(found) if found is not None else {}
    finally:
        work.seeking = False
    return work.groups[key]


def _made(scope: ResourceScope, wanted: str) -> Iterator[Instance]:
    """The groups with that id: of this template, then of those nested in it. Only what may hold one is looked into."""
    if scope.resources.unrolling:
        return
    holding = [instance for instance in scope.resources.all if holds(instance.node, RESOURCE_GROUPS)]
    for instance in holding:
        if (instance.id or "").casefold() == wanted and instance.deployed is not False:
            yield instance
    for instance in holding:
        if instance.is_deployment and not instance.opening and instance.deployed is not False:
            inner = instance.nested
            if inner is not None:
                yield from _made(inner, wanted)


def _described(group: Instance) -> Mapping[str, Node]:
    """What is known before the group is there; the location as Azure gives it back, `West US` as `westus`."""
    found: dict[str, Node] = {}
    for key in ("location", "tags"):
        node = group.node.find(key)
        if node is not None:
            found[key] = group.scope.evaluate(node, group.frame)
    location = found.get("location")
    if location is not None and location.kind is NodeKind.STRING:
        found["location"] = replace(location, value=str(location.value).replace(" ", "").casefold())
    return found
