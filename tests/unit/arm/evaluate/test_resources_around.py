"""Resources around an image template: inside of others, in nested deployments, not deployed, of the same name."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from tests.unit.arm.evaluate.workbench import TYPE, Result, build, framed, image_template

IDENTITY = {
    "type": "Microsoft.ManagedIdentity/userAssignedIdentities", "apiVersion": "2023-01-31", "name": "aib",
    "location": "here",
}  # fmt: skip
PRINCIPAL = "[reference(resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', 'aib')).principalId]"


def nested(parameters: dict[str, Any], *resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A deployment with the inner scope; its parameters are text."""
    template = {
        "parameters": {name: {"type": "string"} for name in parameters}, "resources": list(resources), "outputs": {
            name: {"type": "string", "value": f"[parameters('{name}')]"} for name in parameters
        },
    }  # fmt: skip
    return {
        "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "sub", **more,
        "properties": {
            "mode": "Incremental", "expressionEvaluationOptions": {"scope": "inner"}, "parameters": parameters,
            "template": template,
        },
    }  # fmt: skip


def ids(result: Result) -> list[str]:
    return [found.id for found in result.findings]


class TestInsideOfOthers:
    gallery: ClassVar[Any] = {
        "type": "Microsoft.Compute/galleries", "apiVersion": "2023-07-03", "name": "g",
        "resources": [
            {"type": "images", "apiVersion": "2023-07-03", "name": "d", "dependsOn": ["g"],
             "properties": {"osType": "Linux"}}
        ],
    }  # fmt: skip
    definition = "resourceId('Microsoft.Compute/galleries/images', 'g', 'd')"

    @pytest.mark.parametrize("target", [f"[{definition}]", "d", "g/d", "g"])
    def test_they_may_be_depended_on(self, target: str) -> None:
        assert not build({"resources": [self.gallery, image_template(dependsOn=[target])]}).findings

    def test_others_may_not(self) -> None:
        target = self.definition.replace("'d'", "'e'")
        assert ids(build({"resources": [self.gallery, image_template(dependsOn=[f"[{target}]"])]})) == ["X08"]

    def test_what_they_say_is_known(self) -> None:
        tags = {"system": f"[reference({self.definition}).osType]"}
        result = build({"resources": [image_template(tags=tags), self.gallery]})
        assert not result.findings
        assert result.resources[0]["tags"] == {"system": "Linux"}

    def test_a_trigger_is_a_resource_and_no_part_of_its_template(self) -> None:
        trigger = {"type": "triggers", "apiVersion": "2022-07-01", "name": "[nope()]", "dependsOn": ["none"]}
        result = build({"resources": [image_template(resources=[trigger])]})
        assert "resources" not in result.resources[0]
        assert result.evaluated.held == (f"{TYPE}/triggers",)
        assert ids(result) == ["X02"]

    def test_each_turn_of_a_loop_has_its_own(self) -> None:
        trigger = {"type": "triggers", "apiVersion": "2022-07-01", "name": "[concat('t', copyIndex())]"}
        loop = {"name": "loop", "count": 2}
        templates = image_template(name="[concat('i', copyIndex())]", copy=loop, resources=[trigger])
        wanted = [f"[resourceId('{TYPE}/triggers', 'i{index}', 't{index}')]" for index in (0, 1)]
        other = {"type": "A.B/c", "apiVersion": "1", "name": "x", "dependsOn": wanted}
        assert not build({"resources": [templates, other]}).findings


def test_resources_of_different_types_may_have_the_same_name() -> None:
    identity = {**IDENTITY, "properties": {"known": "yes"}}
    tags = {"a": "[reference(resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', 'aib')).known]"}
    result = build({"resources": [image_template(name="aib", tags=tags), identity]})
    assert not result.findings
    assert result.resources[0]["tags"] == {"a": "yes"}


class TestWhatOnlyAzureKnows:
    role: ClassVar[Any] = {
        "type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01",
        "name": "[guid(parameters('principal'))]", "properties": {"principalId": "[parameters('principal')]"},
    }  # fmt: skip

    @pytest.mark.parametrize("depends", [[], ["sub"]])
    def test_a_module_that_assigns_a_role_does_not_matter(self, depends: list[str]) -> None:
        """The most common of all modules beside an image template."""
        module = nested({"principal": {"value": PRINCIPAL}}, self.role)
        result = build({"resources": [IDENTITY, module, image_template(dependsOn=depends)]})
        assert not result.findings

    def test_it_matters_where_the_image_template_needs_it(self) -> None:
        module = nested(
            {"principal": {"value": PRINCIPAL}}, self.role, image_template(location="[parameters('principal')]")
        )
        result = build({"resources": [module, IDENTITY]})
        assert ids(result) == ["X07"]
        assert result.under(result.findings[0]).startswith("principalId]")

    def test_a_variable_is_told_where_it_is_written_whoever_needs_it_first(self) -> None:
        template: dict[str, Any] = {"variables": {"key": "[providers('Microsoft.Storage').key]"}}
        other = {"type": "A.B/c", "apiVersion": "1", "name": "x", "properties": {"key": "[variables('key')]"}}
        assert not build({**template, "resources": [other, image_template()]}).findings
        result = build({**template, "resources": [other, image_template(location="[variables('key')]")]})
        assert ids(result) == ["X07"]
        assert result.under(result.findings[0]).startswith("providers(")

    @pytest.mark.parametrize(("location", "found"), [("here", []), ("[parameters('secret')]", ["X07"])])
    def test_a_value_from_a_key_vault(self, location: str, found: list[str]) -> None:
        secret = {"reference": {"keyVault": {"id": "/vault"}, "secretName": "s"}}
        module = nested({"secret": secret}, image_template(location=location))
        assert ids(build({"resources": [module]})) == found

    def test_a_wrong_value_for_a_module_is_one_error(self) -> None:
        entry = "[createObject('value', parameters('number'))]"
        template = {
            "parameters": {"number": {"type": "int", "defaultValue": "x"}},
            "resources": [nested({"handed": entry}, image_template(location="[parameters('handed')]"))],
        }
        assert build(template).errors == ["X06: parameter 'number' must be a whole number, not text"]


def test_parameters_of_the_outer_scope_mean_nothing() -> None:
    module = nested({"x": {"value": "[parameters('x')]"}}, image_template(location="[parameters('x')]"))
    del module["properties"]["expressionEvaluationOptions"], module["properties"]["parameters"]
    module["properties"]["template"]["parameters"]["x"]["defaultValue"] = "inside"
    result = build({"parameters": {"x": {"type": "string", "defaultValue": "up"}}, "resources": [module]})
    assert not result.findings
    assert result.resources[0]["location"] == "up"


class TestNotDeployed:
    def test_nothing_of_a_nested_deployment_is(self) -> None:
        module = nested({"x": {"value": "[nope()]"}}, image_template(name="no"), condition="[equals(1, 2)]")
        result = build({"resources": [module, image_template(name="yes")]})
        assert not result.findings
        assert [resource["name"] for resource in result.resources] == ["yes"]
        assert result.evaluated.skipped == ("sub",)

    def test_only_one_with_an_image_template_is_missed(self) -> None:
        module = nested({}, IDENTITY, condition=False)
        assert build({"resources": [module]}).evaluated.skipped == ()
        outer = nested({}, nested({}, image_template()), condition=False)
        assert build({"resources": [outer]}).evaluated.skipped == ("sub",)


class TestBeforeAnythingIsDeployed:
    needs = "[reference('x').a]"
    other: ClassVar[Any] = {"type": "A.B/c", "apiVersion": "1", "name": "x", "properties": {"a": "b"}}

    @pytest.mark.parametrize(
        "wrong",
        [
            {"type": "A.B/c", "name": needs},
            {"type": "A.B/c", "name": "y", "condition": "[equals(reference('x').a, 'b')]"},
            {"type": "A.B/c", "name": "y", "copy": {"name": "loop", "count": "[length(reference('x').a)]"}},
        ],
    )
    def test_reference_is_refused(self, wrong: dict[str, Any]) -> None:
        result = build({"resources": [self.other, wrong, image_template()]})
        assert ids(result) == ["X03"]
        assert "ARM needs those before it deploys anything" in result.findings[0].message
        assert result.under(result.findings[0]).startswith("reference('x')")

    def test_the_outer_scope_is_evaluated_when_its_turn_comes(self) -> None:
        inner = {"resources": [image_template(name=self.needs)]}
        outer = {
            "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "sub",
            "properties": {"mode": "Incremental", "template": inner},
        }  # fmt: skip
        result = build({"resources": [self.other, outer]})
        assert not result.findings
        assert [resource["name"] for resource in result.resources] == ["b"]


def test_a_template_that_an_expression_gives_has_parameters_of_its_own() -> None:
    """Its parent's scope made one bracket of two: what is left is an expression of its own."""
    inner = {
        "parameters": {"where": {"type": "string"}}, "resources": [image_template(location="[[parameters('where')]")]
    }  # fmt: skip
    module = nested({"where": {"value": "[variables('place')]"}})
    module["properties"] |= {"template": "[variables('inner')]", "expressionEvaluationOptions": {"scope": "outer"}}
    result = build({"variables": {"inner": framed(inner), "place": "westeurope"}, "resources": [module]})
    assert not result.errors
    assert result.resources[0]["location"] == "westeurope"


@pytest.mark.parametrize("made", ["createObject('a', 'b', 'c', {})", "createArray('b', {})"])
def test_what_is_known_beside_what_is_not(made: str) -> None:
    value = made.format("parameters('handed').principal")
    read = "parameters('both').a" if "Object" in made else "parameters('both')[0]"
    module = nested({}, image_template(location=f"[{read}]"))
    module["properties"]["template"]["parameters"] = {"both": {"type": "object" if "Object" in made else "array"}}
    module["properties"]["parameters"] = {"both": {"value": f"[{value}]"}}
    outer = nested({}, module)
    outer["properties"]["template"]["parameters"] = {"handed": {"type": "object"}}
    outer["properties"]["parameters"] = {"handed": {"value": {"principal": PRINCIPAL}}}
    result = build({"resources": [IDENTITY, outer]})
    assert [resource["location"] for resource in result.resources] == ["b"]


def test_what_one_template_calls_existing_and_another_one_makes() -> None:
    gallery = {"type": "Microsoft.Compute/galleries", "apiVersion": "2023-07-03", "name": "g"}
    module = nested({}, image_template(location="[reference('g').place]"))
    module["properties"]["template"] |= {
        "languageVersion": "2.0",
        "resources": {"g": {**gallery, "existing": True}, "it": module["properties"]["template"]["resources"][0]},
    }
    result = build({"resources": [{**gallery, "properties": {"place": "there"}}, module]})
    assert not result.errors
    assert result.resources[0]["location"] == "there"
    assert ids(build({"resources": [module]})) == ["X07"]


def test_an_array_that_is_not_known_is_not_walked_through() -> None:
    use = "reduce(parameters('handed').all, 0, lambda('a', 'b', lambdaVariables('a')))"
    module = nested({}, image_template(tags={"x": f"[string({use})]"}))
    module["properties"]["template"]["parameters"] = {"handed": {"type": "object"}}
    module["properties"]["parameters"] = {"handed": {"value": {"all": PRINCIPAL}}}
    assert ids(build({"resources": [IDENTITY, module]})) == ["X07"]
