"""Public Bicep files, compiled, with 42 sets of values: what they deploy is what Azure's own engine predicts, or is
listed with the reason."""

from __future__ import annotations

from typing import Any

from aibemu.arm.diagnostics import Severity
from aibemu.arm.expressions.surroundings import Surroundings
from aibemu.submission.evaluator import Judge, Prediction
from tests.bicep_recordings import public
from tests.unit.arm.evaluate.test_real_deployments import kept, of_resource
from tests.unit.arm.evaluate.workbench import Result, build, given_of

COUNT = 42
# What aibemu answers otherwise, by file and set, each with its reason.
METADATA = "the engine drops a resource's metadata, the document has it; no build is another for it"
DIFFERENT = {
    "avm-image-template-test-max/defaults": "its image template takes an identity that a nested deployment of other"
    " types makes: only Azure knows it, and aibemu asks for it (X07)",
    "mspnp-jumpbox/made-up": METADATA,
    "mspnp-jumpbox/other-group": METADATA,
}


def judge_again(result: Result, values: dict[str, Any]) -> None:
    """`aibemu doctor --evaluator` tells of no difference in any: it knows what the engine leaves out, or to Azure."""
    errors = [one for one in result.findings if one.severity is Severity.ERROR and one.id != "X07"]
    judge = Judge()
    judge.all(result.scope, Prediction(resources=values["predictedResources"]), errors)
    assert [(one.where, one.azure, one.aibemu) for one in judge.found] == []
    assert judge.resources or not values["predictedResources"]


def of_set(template: Any, values: dict[str, Any]) -> list[str]:
    """All that differs: errors, resources that are not there, values."""
    context = values["context"]
    around = Surroundings(
        subscription_id=context["subscriptionId"], tenant_id=context["tenantId"], location=context["location"],
        deployment_name=context["deploymentName"], resource_group=context.get("resourceGroup", "aibemu"),
    )  # fmt: skip
    result = build(template, given_of(values["parameters"]), around)
    judge_again(result, values)
    if errors := [str(found) for found in result.findings if found.severity is Severity.ERROR]:
        return errors
    mine = {(one.id or "").casefold(): one for one in result.scope.resources.everywhere if one.deployed is not False}
    found: list[str] = []
    for wanted in values["predictedResources"]:
        if kept(wanted["id"]):
            continue
        one = mine.get(wanted["id"].casefold())
        if one is None:
            found.append(f"{wanted['id']}: there is no such resource")
        else:
            found += of_resource(wanted, one)
    return found


def test_each_set_is_what_the_engine_predicts() -> None:
    wrong = {}
    seen = set()
    for name, template, recorded in public():
        for which, values in recorded["sets"].items():
            key = f"{name}/{which}"
            seen.add(key)
            if differences := of_set(template, values):
                wrong[key] = differences[:3]
    assert len(seen) == COUNT
    assert set(wrong) == set(DIFFERENT), {key: found for key, found in wrong.items() if key not in DIFFERENT}
    metadata = [line for key, why in DIFFERENT.items() if why == METADATA for line in wrong[key]]
    assert all(line.endswith(".metadata: only aibemu has it") for line in metadata)
    assert "error X07" in wrong["avm-image-template-test-max/defaults"][0]
