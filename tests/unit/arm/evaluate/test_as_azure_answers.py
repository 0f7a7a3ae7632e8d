"""Right templates that were refused, or got another body. Azure's own template engine answered what is expected."""

from __future__ import annotations

from typing import Any

import pytest

from aibemu.arm.expressions.surroundings import Surroundings
from tests.unit.arm.evaluate.workbench import SCHEMA, build, given_of, image_template

SUBSCRIPTION = "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#"
S = "11111111-1111-1111-1111-111111111111"
AROUND = Surroundings(subscription_id=S, resource_group="rg", location="westeurope")


def deployment(name: str, *resources: Any, scope: str = "inner", **more: Any) -> dict[str, Any]:
    """A nested one. parameters: declarations; given: what is handed down; the rest are members of the resource."""
    parameters, given, outputs = (more.pop(key, {}) for key in ("parameters", "given", "outputs"))
    schema = more.pop("schema", SCHEMA)
    template = {"$schema": schema, "parameters": parameters, "resources": list(resources), "outputs": outputs}
    properties = {"mode": "Incremental", "expressionEvaluationOptions": {"scope": scope}, "template": template}
    return {
        "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": name, **more,
        "properties": {**properties, "parameters": given},
    }  # fmt: skip


def group(name: str = "g1", location: str = "westus", **more: Any) -> dict[str, Any]:
    return {
        "type": "Microsoft.Resources/resourceGroups", "apiVersion": "2024-03-01", "name": name, "location": location,
        **more,
    }  # fmt: skip


EXISTING = {key: value for key, value in group(existing=True).items() if key != "location"}


def tags(template: dict[str, Any]) -> list[Any]:
    """The tags of the image templates; fails when there is a finding."""
    result = build(template, around=AROUND)
    assert not result.findings, result.errors
    return [resource["tags"] for resource in result.resources]


class TestNullIsNoValue:
    @pytest.mark.parametrize(
        ("declaration", "value"),
        [
            ({"type": "string", "defaultValue": "d"}, "d"),
            ({"type": "int", "defaultValue": 3}, 3),
            ({"type": "array", "defaultValue": [1]}, [1]),
            ({"type": "string", "defaultValue": "a", "allowedValues": ["a"]}, "a"),
            ({"type": "string", "nullable": True}, None),
            ({"$ref": "#/definitions/maybe"}, None),
        ],
    )
    def test_the_default_is_taken(self, declaration: dict[str, Any], value: Any) -> None:
        maybe = {"definitions": {"maybe": {"type": "string", "nullable": True}}}
        outputs = {"o": {"value": "[parameters('p')]"}}
        new: dict[str, Any] = {"languageVersion": "2.0", "resources": {}}
        template = {**new, **maybe, "parameters": {"p": declaration}, "outputs": outputs}
        result = build(template, given_of({"p": None}))
        assert not result.findings
        assert result.outputs == {"o": value}
        for given in ({"value": None}, {"value": "[null()]"}, {"value": "[tryGet(createObject(), 'a')]"}, {}):
            inner = image_template(tags={"v": "[parameters('p')]"})
            nested = deployment("n", inner, parameters={"p": declaration}, given={"p": given})
            nested["properties"]["template"] |= {**new, **maybe, "resources": {"t": inner}}
            assert tags({"resources": [nested]}) == [{"v": value}]

    @pytest.mark.parametrize("kind", ["string", "int", "bool", "array", "object", "securestring"])
    def test_without_one_it_is_missing(self, kind: str) -> None:
        result = build({"parameters": {"p": {"type": kind}}}, given_of({"p": None}))
        assert result.errors == ["X05: parameter 'p' has no value: it is given null, and no default"]
        assert "--parameters p=VALUE" in (result.findings[0].hint or "")
        nested = deployment("n", parameters={"p": {"type": kind}}, given={"p": {"value": None}})
        (found,) = build({"resources": [nested]}).findings
        assert found.id == "X05"
        assert "nested deployment" in (found.hint or "")

    def test_a_default_that_gives_null_is_none(self) -> None:
        result = build({"parameters": {"p": {"type": "string", "defaultValue": "[null()]"}}})
        assert result.errors == ["X05: parameter 'p' has no value, and its default is null"]

    def test_text_of_a_command_line_for_another_type(self) -> None:
        template = {
            "parameters": {"p": {"type": "int", "defaultValue": 3}},
            "outputs": {"o": {"type": "int", "value": "[parameters('p')]"}},
        }
        assert build(template, given_of({"p": "null"}, raw=True)).outputs == {"o": 3}


@pytest.mark.parametrize(
    ("variables", "loops"),
    [({"l": 1}, ["[concat('l')]"]), ({}, ["l", "[concat('L')]"]), ({}, ["[concat('l')]", "l"])],
)
def test_a_loop_of_variables_whose_name_comes_out_as_anothers(variables: dict[str, Any], loops: list[str]) -> None:
    copy = [{"name": name, "count": 1, "input": "a"} for name in loops]
    (found,) = build({"variables": {**variables, "copy": copy}}).findings
    assert (found.id, found.message.casefold()) == ("X10", "there are two variables 'l'")
    assert not build({"variables": {"m": 1, "copy": copy[-1:]}}).findings


class TestTheLoopThatCopyIndexCounts:
    def test_is_the_resources_in_a_loop_of_a_property(self) -> None:
        entry = {"a": "[copyIndex()]", "b": "[copyIndex(1)]", "c": "[copyIndex('l', 1)]", "d": "[copyIndex('c')]"}
        copy = {"name": "l", "count": "[copyIndex(1)]", "input": entry}
        looped = image_template(
            name="[concat('t', copyIndex())]", tags={"x": {"copy": [copy]}}, copy={"name": "c", "count": 2}
        )
        assert tags({"resources": [looped]}) == [
            {"x": {"l": [{"a": 0, "b": 1, "c": 1, "d": 0}]}},
            {"x": {"l": [{"a": 1, "b": 2, "c": 1, "d": 1}, {"a": 1, "b": 2, "c": 2, "d": 1}]}},
        ]

    @pytest.mark.parametrize("index", ["copyIndex(-1)", "copyIndex('c', -5)"])
    def test_does_not_count_from_less_than_0(self, index: str) -> None:
        looped = image_template(name=f"[concat('t', {index})]", copy={"name": "c", "count": 1})
        (found,) = build({"resources": [looped]}).findings
        assert found.message.startswith("copyIndex() counts from 0 or more") and found.azure is not None

    def test_is_the_parents_in_the_outer_scope(self) -> None:
        own = {"name": "own", "count": 2}
        inner = image_template(name="[[concat('w', copyIndex())]", tags={"v": "[copyIndex()]"}, copy=own)
        outer = deployment("[concat('n', copyIndex())]", inner, scope="outer", copy={"name": "c", "count": 2})
        assert tags({"resources": [outer]}) == [{"v": 0}, {"v": 0}, {"v": 1}, {"v": 1}]

    @pytest.mark.parametrize("index", ["copyIndex()", "copyIndex(2)"])
    def test_is_none_where_no_resource_has_one(self, index: str) -> None:
        copy = [{"name": "l", "count": 1, "input": f"[{index}]"}]
        used = {"variables": {"copy": copy}, "outputs": {"o": {"type": "array", "value": "[variables('l')]"}}}
        templates: list[dict[str, Any]] = [
            {"resources": [image_template(properties={"copy": copy})]},
            used,
            {"outputs": {"o": {"type": "array", "copy": {"count": 1, "input": {"copy": copy}}}}},
        ]
        for template in templates[:2]:
            (found,) = build(template).findings
            assert found.id == "X03"
            assert "copyIndex('l')" in (found.hint or "")
        # An output's own loop has no name, so this one counts it.
        assert not build(templates[2]).findings


class TestAGroupThatTheTemplateMakes:
    inner = image_template(location="[resourceGroup().location]", tags="[resourceGroup().tags]")

    def where(self, *resources: Any, schema: str = SUBSCRIPTION) -> list[str]:
        named = {f"r{number}": resource for number, resource in enumerate(resources)}
        result = build({"$schema": schema, "resources": named}, around=AROUND)
        assert not result.findings, result.errors
        return [resource["location"] for resource in result.resources]

    def test_is_known_inside_of_it(self) -> None:
        made = group(tags={"a": "b"})
        result = build(
            {"$schema": SUBSCRIPTION, "resources": [made, deployment("n", self.inner, resourceGroup="G1")]},
            around=AROUND,
        )
        assert not result.findings
        assert result.resources[0]["location"] == "westus"
        assert result.resources[0]["tags"] == {"a": "b"}

    @pytest.mark.parametrize(
        ("location", "known"),
        [("West US 3", "westus3"), ("[concat('west', 'us2')]", "westus2"), ("[deployment().location]", "westeurope")],
    )
    def test_its_location_may_be_computed(self, location: str, known: str) -> None:
        assert self.where(group(location=location), deployment("n", self.inner, resourceGroup="g1")) == [known]

    def test_it_may_be_made_by_another_nested_deployment(self) -> None:
        maker = deployment("m", group(location="northeurope"), schema=SUBSCRIPTION, location="eastus", subscriptionId=S)
        assert self.where(maker, deployment("n", self.inner, resourceGroup="g1")) == ["northeurope"]
        assert self.where(maker, deployment("n", self.inner, resourceGroup="g1"), schema=SCHEMA) == ["northeurope"]
        own = deployment("m", group(location="[deployment().location]"), schema=SUBSCRIPTION, location="eastus")
        assert self.where(own, deployment("n", self.inner, resourceGroup="g1")) == ["eastus"]

    def test_the_one_that_is_deployed_into(self) -> None:
        deeper = deployment("n", deployment("k", self.inner), resourceGroup="g1")
        assert self.where(group(), deeper) == ["westus"]
        other = deployment("n", deployment("k", self.inner, resourceGroup="g2"), resourceGroup="g1")
        assert self.where(group(), group("g2", "uksouth"), other) == ["uksouth"]
        turns: Any = {"copy": {"name": "c", "count": 2}}
        others: Any = {"copy": {"name": "d", "count": 2}}
        locations = "[if(equals(copyIndex(), 0), 'westus', 'eastus')]"
        assert self.where(
            group("[concat('g', copyIndex())]", locations, **turns),
            deployment("[concat('n', copyIndex())]", self.inner, resourceGroup="[concat('g', copyIndex())]", **others),
        ) == ["westus", "eastus"]

    @pytest.mark.parametrize("made", [group("g2"), group(condition=False), EXISTING])
    def test_others_are_as_the_settings_say(self, made: dict[str, Any]) -> None:
        assert self.where(made, deployment("n", self.inner, resourceGroup="g1")) == ["westeurope"]
        elsewhere = deployment(
            "n", self.inner, resourceGroup="g1", subscriptionId="33333333-3333-3333-3333-333333333333"
        )
        assert self.where(group(), elsewhere) == ["westeurope"]

    def test_asking_for_itself_ends(self) -> None:
        made = group("[concat('g', length(resourceGroup().location))]", "[resourceGroup().location]")
        nested = deployment("n", self.inner, resourceGroup="g10")
        assert self.where(made, nested, schema=SCHEMA) == ["westeurope"]

    def test_its_id_is_the_one_of_a_group(self) -> None:
        id_ = f"/subscriptions/{S}/resourceGroups/g1"
        made = "subscriptionResourceId('Microsoft.Resources/resourceGroups', 'g1')"
        template = {
            "$schema": SUBSCRIPTION, "resources": [group(), image_template(dependsOn=[id_, f"[{made}]"])],
            "outputs": {"o": {"type": "string", "value": f"[reference({made}, '2024-03-01', 'Full').location]"}},
        }  # fmt: skip
        result = build(template, around=AROUND)
        assert not result.findings
        assert result.outputs == {"o": "westus"}


@pytest.mark.parametrize(
    ("expression", "id_"),
    [
        ("subscriptionResourceId('Microsoft.Resources/resourceGroups', 'x')", f"/subscriptions/{S}/resourceGroups/x"),
        (
            "subscriptionResourceId('11111111-1111-1111-1111-111111111111', 'microsoft.resources/RESOURCEGROUPS', 'x')",
            "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/x",
        ),
        ("subscriptionResourceId('Microsoft.Resources/resourceGroups/a', 'x', 'y')",
         f"/subscriptions/{S}/providers/Microsoft.Resources/resourceGroups/x/a/y"),
        ("resourceId('Microsoft.Resources/resourceGroups', 'x')",
         f"/subscriptions/{S}/resourceGroups/rg/providers/Microsoft.Resources/resourceGroups/x"),
        ("tenantResourceId('Microsoft.Resources/resourceGroups', 'x')",
         "/providers/Microsoft.Resources/resourceGroups/x"),
        ("extensionResourceId(subscriptionResourceId('Microsoft.Resources/resourceGroups', 'x'), 'A.B/c', 'l')",
         f"/subscriptions/{S}/resourceGroups/x/providers/A.B/c/l"),
    ],
)  # fmt: skip
def test_ids_of_resource_groups(expression: str, id_: str) -> None:
    assert tags({"resources": [image_template(tags={"v": f"[{expression}]"})]}) == [{"v": id_}]


@pytest.mark.parametrize(
    ("expression", "id_"),
    [
        ("resourceId('A.B/c', 'x')", f"/subscriptions/{S}/providers/A.B/c/x"),
        (f"resourceId('{S}', 'A.B/c', 'x')", f"/subscriptions/{S}/providers/A.B/c/x"),
        (
            "resourceId('11111111-1111-1111-1111-111111111111', 'g', 'A.B/c', 'x')",
            "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/g/providers/A.B/c/x",
        ),
        ("resourceId('Microsoft.Resources/resourceGroups', 'x')", f"/subscriptions/{S}/resourceGroups/x"),
    ],
)
def test_ids_in_a_deployment_into_a_subscription(expression: str, id_: str) -> None:
    template = {"$schema": SUBSCRIPTION, "outputs": {"o": {"type": "string", "value": f"[{expression}]"}}}
    assert build(template, around=AROUND).outputs == {"o": id_}
    wrong = {"$schema": SUBSCRIPTION, "outputs": {"o": {"type": "string", "value": "[resourceId('g', 'A.B/c', 'x')]"}}}
    assert [found.id for found in build(wrong).findings] == ["X03"]


class TestWhatAzureDoesNotLookAt:
    wrong = "[split(null(), '/')[2]]"

    @pytest.mark.parametrize(
        "member", [{"name": wrong}, {"name": "n", "location": wrong}, {"name": "n", "scope": wrong}, {"name": "[a(]"}]
    )
    def test_the_members_of_a_resource_whose_condition_is_false(self, member: dict[str, Any]) -> None:
        skipped = {"type": "A.B/c", "apiVersion": "1", "condition": "[not(true())]", **member}
        nested = deployment("n", resourceGroup=self.wrong, condition=False)
        symbolic = {"a": skipped, "b": {**skipped, "existing": True}, "n": nested, "t": image_template(dependsOn=["a"])}
        assert not build({"resources": [skipped, nested, image_template()]}).findings
        assert not build({"languageVersion": "2.0", "resources": symbolic}).findings

    def test_one_that_exists_is_looked_at(self) -> None:
        existing = {"type": "A.B/c", "apiVersion": "1", "existing": True, "name": self.wrong}
        assert build({"languageVersion": "2.0", "resources": {"a": existing}}).errors

    def test_comments_and_metadata(self) -> None:
        result = build({"resources": [image_template(comments="[nosuch()]", metadata={"a": "[nosuch()]"})]})
        assert not result.findings

    def test_a_loop_without_a_turn_may_be_depended_on(self) -> None:
        loop = {"type": "A.B/c", "apiVersion": "1", "name": "x", "copy": {"name": "loop", "count": 0}}
        symbolic = {"a": loop, "t": image_template(dependsOn=["a", "loop"])}
        assert not build({"languageVersion": "2.0", "resources": symbolic}).findings
        assert build({"resources": [loop, image_template(dependsOn=["x"])]}).errors

    @pytest.mark.parametrize(
        "member", [{"name": "[parameters('p')]"}, {"name": "x", "condition": "[empty(parameters('p'))]"},
                   {"name": "x", "copy": {"name": "c", "count": "[length(parameters('p'))]"}}]
    )  # fmt: skip
    def test_what_only_azure_knows_of_a_resource_beside_the_image_template(self, member: dict[str, Any]) -> None:
        who = {"p": {"value": "[reference('/subscriptions/1/x').principal]"}}
        role = {"type": "A.B/roles", "apiVersion": "1", **member}
        nested = deployment("n", role, image_template(), parameters={"p": {"type": "string"}}, given=who)
        assert not build({"resources": [nested]}).findings


class TestTheOuterScope:
    """ARM's default: the template is a value of its parent, which evaluates it; then it is evaluated itself."""

    @pytest.mark.parametrize(
        ("written", "made"),
        [
            ("[variables('x')]", "outer"), ("[[variables('x')]", "inner"), ("[variables('escaped')]", "ab"),
            ("[[[variables('x')]", "[variables('x')]"), ("[deployment().name]", "aibemu"),
            ("[[deployment().name]", "n"), ("[[parameters('p')]", "handed"), ("[[variables('y')]", "outer"),
        ],
    )  # fmt: skip
    def test_two_evaluate(self, written: str, made: str) -> None:
        inner = image_template(tags={"v": written})
        nested = deployment(
            "n", inner, scope="outer", parameters={"p": {"type": "string"}}, given={"p": {"value": "handed"}}
        )
        nested["properties"]["template"]["variables"] = {"x": "inner", "y": "[variables('x')]"}
        variables = {"x": "outer", "escaped": "[[concat('a', 'b')]"}
        assert tags({"variables": variables, "resources": [nested]}) == [{"v": made}]

    @pytest.mark.parametrize(
        "members",
        [{"name": "[concat('t', copyIndex())]", "copy": {"name": "c", "count": 2}}, {"tags": "[variables('own')]"},
         {"condition": False, "tags": "[nosuch()]"}],
    )  # fmt: skip
    def test_the_parent_knows_nothing_of_what_is_inside(self, members: dict[str, Any]) -> None:
        nested = deployment("n", image_template(**members), scope="outer")
        nested["properties"]["template"]["variables"] = {"own": {}}
        assert build({"resources": [nested]}).errors


def test_copy_makes_properties_in_variables_and_resources_alone() -> None:
    loop = {"copy": [{"name": "l", "count": 2, "input": "x"}]}
    template = {
        "parameters": {"p": {"type": "object", "defaultValue": loop}}, "variables": {"v": loop},
        "resources": [image_template(tags=loop, properties={"p": "[parameters('p')]", "v": "[variables('v')]"})],
        "outputs": {"o": {"type": "object", "value": loop}},
    }  # fmt: skip
    result = build(template)
    assert not result.findings
    (resource,) = result.resources
    assert resource["tags"] == {"l": ["x", "x"]}
    assert resource["properties"] == {"p": loop, "v": {"l": ["x", "x"]}}
    assert result.outputs == {"o": loop}
