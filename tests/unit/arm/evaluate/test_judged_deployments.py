"""1189 small deployments: aibemu makes of them what Azure's own engine does, or it is listed."""

from __future__ import annotations

import json
import lzma
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.arm.evaluate.deployment import Evaluated, evaluate, open_template
from aibemu.arm.expressions.surroundings import SUBSCRIPTION, Surroundings
from aibemu.arm.findings import Findings
from aibemu.arm.nodes import Node, NodeKind
from aibemu.arm.places import Places
from aibemu.arm.reader import read
from aibemu.template.documents import TYPE, is_deployment
from tests.public_data import JUDGED_DEPLOYMENTS, TEMPLATES
from tests.unit.arm.evaluate.test_real_deployments import differences, kept
from tests.unit.arm.evaluate.workbench import given_of

COUNT = 469
ASKED = 720
PARTS = 4
CONTEXT = {
    "tenantId": "22222222-2222-2222-2222-222222222222", "subscriptionId": "11111111-1111-1111-1111-111111111111",
    "resourceGroup": "rg", "location": "westeurope", "deploymentName": "dep",
}  # fmt: skip
# Members that are ARM's own: not part of what the service gets.
NOT_COMPARED = {"id", "type", "dependson", "condition", "scope", "comments", "metadata", "existing"}
_CONDITION = "the snapshot deploys on whatever is not false; the same engine refuses text as the condition of an output"
_STRICT_JSON = "az reads the file with a strict JSON reader first, and refuses it"
_SERVICE = "the service looks at all resources together, and refuses it; the snapshot does not look"
_INTO = "aibemu deploys into what the $schema says, whatever the settings name"
_NUMBER = "the engine makes text of a number there; the schema tells what must be text"
# What aibemu wants otherwise than the engine, each with its reason.
WANTED = {
    "azure/reference-itself": "a resource that needs itself cannot be deployed; the snapshot does not look",
    "conditions/condition-expression-int": _CONDITION,
    "conditions/condition-expression-null": _CONDITION,
    "conditions/condition-expression-string": _CONDITION,
    "conditions/condition-string-true": _CONDITION,
    "constraints/max-length-securestring": "the snapshot does not know secrets; the service checks their length",
    "copies/resource-loop-same-name": _SERVICE,
    "depends/by-symbolic-name-missing": "'The resource is not defined in the template' is the service's; see X08",
    "depends/missing": "'The resource is not defined in the template' is the service's; see X08",
    "depends/expression-as-item": "the engine refuses an empty item as it is written; no resource has an empty name",
    "depends/cyclic": _SERVICE,
    "depends/implicit-cycle": _SERVICE,
    "depends/itself": _SERVICE,
    "json/escape-single-quote": _STRICT_JSON,
    "json/floats": "only for 1e400, which the engine makes Infinity: no number of JSON",
    "json/hex": _STRICT_JSON,
    "json/lone-surrogate": _STRICT_JSON,
    "json/nul-separators": _STRICT_JSON,
    "json/undefined": _STRICT_JSON,
    "json/unquoted-keys": _STRICT_JSON,
    "limits/expression-60000": "Microsoft documents 24,576 characters; the snapshot takes 81,920",
    "names/name-same-other-case": _SERVICE,
    "names/name-same-twice": _SERVICE,
    "names/api-version-missing": "the schema of the image template tells that (S02)",
    "nested/nested-circle-of-outputs": _SERVICE,
    "nested/same-name-as-sibling": _SERVICE,
    "scope/subscription-schema-in-group": _INTO,
    "shape/schema-management-group": _INTO,
    "shape/schema-other-case": "the Bicep compiler around the engine refuses it, the engine takes it",
    "asked/'https://schema.management.azure.com/schemas/2018-05-01/subscrip": _INTO,
    "asked/'https://schema.management.azure.com/schemas/2019-08-01/tenantDe": _INTO,
    "asked/'https://schema.management.azure.com/schemas/2019-08-01/manageme": _INTO,
    "asked/res member @options={}": "it is ARM's own, and no member of what the service gets",
    "asked/res location=5": _NUMBER,
    "asked/res kind=5": _NUMBER,
    "asked/res apiVersion=5": _NUMBER,
    "asked/res apiVersion='-'": "the schema of the image template tells that (S02)",
    "asked/res dependsOn=[\"[if(true(),'','a')]\"]": "no resource has an empty name",
    "asked/res dependsOn=['x', 'x']": "'The resource is not defined in the template' is the service's; see X08",
    "asked/res condition=5": _CONDITION,
    "asked/res condition='x'": _CONDITION,
    "asked/res condition=None": _CONDITION,
    "asked/res condition={}": _CONDITION,
    "asked/res condition=[]": _CONDITION,
    "asked/res condition=''": _CONDITION,
    "asked/param string defaultvalue='x'": "two members of one name, which nested templates take otherwise",
    "asked/prop dup case": "equal: the test looks for names without their case",
    "asked/cond false syntax body": "only in a nested deployment; the outermost one may hold it",
    "asked/dup names": _SERVICE,
    "asked/self dep": _SERVICE,
    "asked/existing with condition/dependsOn": "an existing resource with a condition is not looked at",
    "types2/ref-recursive-type": "the compiler around the engine ends in a crash; the engine takes such types",
}
# What may be either: the language's function resourceInfo.
_EITHER = {"types2/existing-other-group", "types2/symbolic-loop", "types2/symbolic-resourceinfo-name-type"}


@cache
def deployments() -> tuple[dict[str, Any], ...]:
    found: list[dict[str, Any]] = []
    for name in ("deployments", "asked"):
        with lzma.open(
            JUDGED_DEPLOYMENTS / f"{name}.jsonl.xz", "rt", encoding="utf-8", errors="surrogatepass"
        ) as lines:
            found += map(json.loads, lines)
    return tuple(found)


def text_of(deployment: dict[str, Any]) -> str:
    if "template_from" in deployment:
        return Path(TEMPLATES, deployment["template_from"]).read_text(encoding="utf-8")
    text = deployment.get("template_text")
    return json.dumps(deployment["template"]) if text is None else str(text)


def around_of(context: dict[str, str]) -> Surroundings:
    """No subscription or group: that of the settings, which nothing asks for then."""
    return Surroundings(
        subscription_id=context.get("subscriptionId", SUBSCRIPTION), tenant_id=context["tenantId"],
        resource_group=context.get("resourceGroup", "aibemu"), location=context["location"],
        deployment_name=context["deploymentName"],
    )  # fmt: skip


def evaluated(
    text: str, parameters: dict[str, Any], context: dict[str, str]
) -> tuple[Evaluated | None, tuple[Diagnostic, ...]]:
    """What aibemu makes of a file, and its errors; nothing of one that it does not evaluate at all."""
    findings = Findings()
    document = read(text, "t.json")
    findings.extend(document.diagnostics)
    root = document.root
    if root is None or findings.failed or root.kind is not NodeKind.OBJECT or not is_deployment(root):
        return None, errors_in(findings)
    places = Places({"t.json": text})
    made = evaluate(open_template(root, findings, places, around_of(context), given_of(parameters)))
    return made, errors_in(findings)


def errors_in(findings: Findings) -> tuple[Diagnostic, ...]:
    return tuple(found for found in findings.sorted() if found.severity is Severity.ERROR)


def of_outputs(wanted: dict[str, Any], made: Evaluated) -> list[str]:
    mine = {name.casefold(): output.value for name, output in made.outputs.items()}
    known = {name.casefold(): value for name, value in wanted.items()}
    found = [f"outputs.{name}: only aibemu has it" for name in mine if name not in known]
    for name, value in known.items():
        found += differences(value, mine.get(name), f"outputs.{name}")
    return found


def of_bodies(wanted: list[dict[str, Any]], made: Evaluated) -> list[str]:
    """Image templates by their names; one whose name the engine keeps for Azure, by its place."""
    mine = list(made.resources)
    names = sorted((node.text("name") or "" for node in mine), key=str.casefold)
    if len(mine) != len(wanted):
        return [f"the engine has {len(wanted)} image templates, aibemu {names}"]
    found: list[str] = []
    for number, its in enumerate(wanted):
        same = [node for node in mine if node.text("name") == its["name"]]
        if kept(its["name"]):
            same = [mine[number]]
        if not same:
            found.append(f"{its['name']}: aibemu has only {names}")
            continue
        theirs = {key: value for key, value in its.items() if key.casefold() not in NOT_COMPARED}
        # Nested templates may make one of the same name elsewhere.
        told: list[list[str]] = [list(differences(theirs, _sent(node), its["name"])) for node in same]
        fewest: list[str] = min(told, key=len)
        found += fewest
    return found


def _sent(resource: Node) -> Node:
    """The resource without what is ARM's own, and without null, which the engine drops."""
    members = {
        key: member for key, member in resource.members.items()
        if key.casefold() not in NOT_COMPARED and member.value.kind is not NodeKind.NULL
    }  # fmt: skip
    return replace(resource, members=members)


def compared(
    engine: dict[str, Any], made: Evaluated | None, errors: tuple[Diagnostic, ...], *, refused: bool, keeps: bool
) -> list[str]:  # fmt: skip
    """How aibemu's answer differs from the engine's. refused: by the engine; keeps: it left something for Azure."""
    if refused:
        return [] if errors or made is None else [f"aibemu accepts; the engine: {engine.get('error', '')[:160]}"]
    if errors and keeps and all(found.id == "X07" for found in errors):
        return []  # both need Azure
    if made is None or errors:
        return [f"aibemu refuses: {found}" for found in errors] or ["aibemu does not take it for a template"]
    wanted = [one for one in engine["predictedResources"] if one["type"].casefold() == TYPE.casefold()]
    return of_bodies(wanted, made) + of_outputs(engine.get("outputs") or {}, made)


def told_of(deployment: dict[str, Any]) -> list[str]:
    made, errors = evaluated(
        text_of(deployment), deployment.get("parameters", {}), deployment.get("context", CONTEXT)
    )  # fmt: skip
    engine = deployment["engine"]
    refused = "error" in engine or "nested_error" in deployment
    return compared(engine, made, errors, refused=refused, keeps="kept" in deployment)


@pytest.mark.parametrize("part", range(PARTS))
def test_small_deployments_are_what_the_engine_makes_of_them(part: int) -> None:
    told = {one["name"]: told_of(one) for one in deployments()[part::PARTS]}
    assert len(told) >= (COUNT + ASKED) // PARTS
    wrong = {name: found[:3] for name, found in told.items() if found and name not in WANTED.keys() | _EITHER}
    assert wrong == {}
    equal = [name for name, found in told.items() if not found and name in WANTED]
    assert equal == [], "these are equal now: take them out of the list"


def test_the_list_of_differences_names_deployments() -> None:
    assert len(deployments()) == COUNT + ASKED
    assert {one["name"] for one in deployments()} >= WANTED.keys()
