"""163 real deployments, the tests of Microsoft's Bicep modules, judged by Azure's own template engine."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from aibemu.arm.diagnostics import Severity
from aibemu.arm.evaluate.resources import Instance
from aibemu.arm.expressions.surroundings import Surroundings
from aibemu.arm.nodes import Node, NodeKind
from tests.public_data import DEPLOYMENTS
from tests.unit.arm.evaluate.workbench import Result, build, given_of

PARTS = 16
COUNT = 163
# What aibemu answers otherwise, by the end of the source's path, each with its reason.
DIFFERENT: frozenset[str] = frozenset()
NOT_COMPARED = {"id", "type", "name", "dependson", "condition", "scope"}


@cache
def deployments() -> tuple[dict[str, Any], ...]:
    with tarfile.open(DEPLOYMENTS) as packed:
        files = sorted((member for member in packed if member.isfile()), key=lambda member: member.name)
        return tuple(json.load(file) for member in files if (file := packed.extractfile(member)) is not None)


def evaluated(deployment: dict[str, Any]) -> Result:
    context = deployment["context"]
    around = Surroundings(
        subscription_id=context["subscriptionId"], tenant_id=context["tenantId"], location=context["location"],
        deployment_name=context["deploymentName"], resource_group=context.get("resourceGroup", "aibemu"),
    )  # fmt: skip
    return build(deployment["template"], given_of(deployment["parameters"]), around)


def kept(value: Any) -> bool:
    """True for what the engine left to Azure."""
    return isinstance(value, str) and value.startswith("[") and value.endswith("]") and not value.startswith("[[")


def kept_in(value: Any) -> bool:
    if isinstance(value, dict):
        return any(kept(key) or kept_in(item) for key, item in value.items())
    return any(map(kept_in, value)) if isinstance(value, list) else kept(value)


def differences(wanted: Any, found: Node | None, path: str) -> Iterator[str]:
    """Where a value is not the engine's."""
    if kept(wanted):
        return
    if found is not None and found.kind is NodeKind.UNKNOWN and kept_in(wanted):
        return
    if isinstance(wanted, dict) and found is not None and found.kind is NodeKind.OBJECT:
        yield from _in_object(wanted, found, path)
    elif isinstance(wanted, list) and found is not None and len(found.items) == len(wanted):
        for number, item in enumerate(wanted):
            yield from differences(item, found.items[number], f"{path}[{number}]")
    elif found is None or found.kind is NodeKind.UNKNOWN or json.dumps(wanted) != json.dumps(found.plain()):
        yield f"{path}: the engine has {wanted}, aibemu {found and (found.kind.value, found.known())}"


def _in_object(wanted: dict[str, Any], found: Node, path: str) -> Iterator[str]:
    known = {key.casefold(): value for key, value in wanted.items() if not kept(key)}
    for key, value in known.items():
        yield from differences(value, found.find(key), f"{path}.{key}")
    if len(known) == len(wanted):
        yield from (f"{path}.{key}: only aibemu has it" for key in found.members if key.casefold() not in known)


def of_resource(wanted: dict[str, Any], instance: Instance) -> list[str]:
    """Where one resource is not the engine's, which drops members that are null."""
    mine = {
        key: member for key, member in instance.body.members.items()
        if member.value.kind is not NodeKind.NULL and key.casefold() not in NOT_COMPARED
    }  # fmt: skip
    its = {key: value for key, value in wanted.items() if key.casefold() not in NOT_COMPARED}
    found = list(differences(its, replace(instance.body, members=mine), wanted["id"]))
    if not kept(wanted["name"]) and wanted["name"] != instance.name:
        found.append(f"{wanted['id']}: the name is {instance.name}")
    return found


def of_deployment(deployment: dict[str, Any]) -> list[str]:
    """All that differs: errors, resources that are not there, values."""
    result = evaluated(deployment)
    if errors := [str(found) for found in result.findings if found.severity is Severity.ERROR]:
        return errors
    mine: dict[str, list[Instance]] = {}
    for instance in result.scope.resources.everywhere:
        if instance.deployed is not False:
            mine.setdefault((instance.id or "").casefold(), []).append(instance)
    found: list[str] = []
    for wanted in deployment["engine"]["predictedResources"]:
        if not kept(wanted["id"]):
            # Some deployments write a resource twice.
            tried = [of_resource(wanted, instance) for instance in mine.get(wanted["id"].casefold(), [])]
            nearest: list[str] = min(tried or [[f"{wanted['id']}: there is no such resource"]], key=len)
            found += nearest
    return found


@pytest.mark.parametrize("part", range(PARTS))
def test_real_deployments_are_what_the_engine_makes_of_them(part: int) -> None:
    mine = deployments()[part::PARTS]
    assert len(mine) >= COUNT // PARTS
    told = {deployment["source"].removeprefix("avm/"): of_deployment(deployment) for deployment in mine}
    wrong = {source: found[:3] for source, found in told.items() if found and source not in DIFFERENT}
    assert wrong == {}
    mended = [source for source, found in told.items() if not found and source in DIFFERENT]
    assert mended == [], "these are equal now: take them out of the list"


def test_the_list_of_differences_names_deployments() -> None:
    sources = {deployment["source"].removeprefix("avm/") for deployment in deployments()}
    assert len(deployments()) == COUNT
    assert sources >= DIFFERENT
