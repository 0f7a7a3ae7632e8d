"""What the walker of the table does that no official schema says: plugins, hints, tree as understood."""

from __future__ import annotations

from typing import Any

import pytest

from aibemu.arm.diagnostics import Diagnostic
from aibemu.arm.findings import Findings
from aibemu.template.spec import IMAGE_TEMPLATE, Shape
from aibemu.template.spec.steps import CUSTOMIZER, VALIDATOR
from aibemu.template.validator import FieldPlace, Validator
from tests.unit.template.schema_corpus import KINDS, judge, node_of


def check(document: Any, shape: Shape, version: str = "2025-10-01", kinds: frozenset[str] = KINDS) -> list[Diagnostic]:
    findings = Findings()
    Validator(version, kinds, findings).check(node_of(document), shape, FieldPlace(path="Here", name=""))
    return list(findings.sorted())


def only(document: dict[str, Any], version: str = "2025-10-01") -> Diagnostic:
    found = judge(node_of(document), version).sorted()
    assert len(found) == 1, found
    return found[0]


def with_properties(**properties: Any) -> dict[str, Any]:
    return {
        "name": "n", "location": "l",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {}},
        "properties": {"source": {"type": "PlatformImage"}, "distribute": [], **properties},
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["WindowsRestart", "WindowsUpdate"])
def test_a_customizer_that_cannot_validate_is_refused_even_when_it_can_be_run(kind: str) -> None:
    (found,) = check({"type": kind}, VALIDATOR)
    assert found.id == "E80"


def test_a_step_of_a_plugin_is_accepted_with_a_warning_and_its_fields_are_its_own() -> None:
    (found,) = check({"type": "Ansible", "playbook": 5}, CUSTOMIZER, kinds=frozenset({"Ansible"}))
    assert found.id == "P02"
    (found,) = check({"type": "Ansible", "playbook": 5}, CUSTOMIZER)
    assert found.id == "E03"


def test_a_plugin_does_not_bring_a_step_to_an_older_api_version() -> None:
    (found,) = check({"type": "WindowsUpdate"}, CUSTOMIZER, version="2019-05-01-preview")
    assert found.id == "E04"


@pytest.mark.parametrize(
    ("value", "got", "hint"),
    [
        (1.5, "not 1.5", None),
        (60.0, "not 60.0", "write 60"),
        (1e300, "not 1e+300", None),
        ("60", "not a string", "write 60 without quotes"),
        ("true", "not a string", None),
        (True, "not true", None),
        ([60], "not an array", None),
    ],
)
def test_a_wrong_number_is_told_what_it_is(value: Any, got: str, hint: str | None) -> None:
    found = only(with_properties(buildTimeoutInMinutes=value))
    assert found.message == f"Field 'buildTimeoutInMinutes' must be a whole number, {got}"
    assert found.hint == hint


def test_text_is_not_offered_as_a_number_where_none_is_wanted() -> None:
    assert only(with_properties(vmProfile="5")).hint is None
    flag = only(with_properties(validate={"sourceValidationOnly": "true"}))
    assert flag.hint == "write true without quotes"


def test_blank_text_is_missing_where_the_version_needs_it() -> None:
    target = {"type": "SharedImage", "runOutputName": "o", "galleryImageId": "g", "replicationRegions": [""]}
    assert only(with_properties(distribute=[target]), "2020-02-14").message == "Field 'replicationRegions[0]' is empty"
    assert not judge(node_of(with_properties(distribute=[target])), "2022-07-01").sorted()


def test_the_tree_is_the_one_that_the_service_understands() -> None:
    document = with_properties(VMprofile={"vmsize": "s"}, unknown=1, autoRun=None)
    tree = Validator("2023-07-01", KINDS, Findings()).check(
        node_of(document), IMAGE_TEMPLATE, FieldPlace(path="", name="")
    )
    properties = tree.plain()["properties"]
    assert properties == {"source": {"type": "PlatformImage"}, "distribute": [], "vmProfile": {"vmSize": "s"}}


@pytest.mark.parametrize("version", ["2025-10-01", "2022-02-14", "2020-02-14"])
def test_a_template_whose_properties_lie_beside_each_other_is_told_once(version: str) -> None:
    """As `az image builder show` prints it, with what az adds."""
    document = with_properties(customize=[])
    shown = {**document, **document.pop("properties"), "resourceGroup": "g", "autoRun": None}
    del shown["properties"]
    found = judge(node_of(shown), version).sorted()
    assert [(one.id, one.severity.value) for one in found] == [("S02", "error")]
    assert "'properties'" in found[0].message and "az image builder show" in found[0].message


def test_one_field_in_the_wrong_place_is_that_field() -> None:
    document = with_properties()
    del document["properties"]
    found = judge(node_of(document | {"source": {}}), "2025-10-01").sorted()
    assert [one.id for one in found] == ["S02", "E01"]
