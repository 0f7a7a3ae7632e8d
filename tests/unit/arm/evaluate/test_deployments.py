"""Deployment templates at work: parameters, variables, loops, conditions, nesting, references, outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from aibemu.arm.expressions.frame import Spot
from aibemu.arm.expressions.surroundings import Surroundings, key_of
from tests.unit.arm.evaluate.workbench import TYPE, build, error, given_of, image_template, value

FIXTURES = Path(__file__).parents[4] / "fixtures" / "templates"


class TestValues:
    def test_keys_and_values_at_any_depth(self) -> None:
        properties = {"[concat('a', 'b')]": {"[[x]": ["[toUpper('c')]", "[[d]", "[e"]}}
        (resource,) = build({"resources": [image_template(properties=properties)]}).resources
        assert resource["properties"] == {"ab": {"[x]": ["C", "[d]", "[e"]}}

    def test_parameters_and_variables_are_found_in_any_case(self) -> None:
        template = {
            "parameters": {"Region": {"type": "string", "defaultValue": "westeurope"}},
            "variables": {"Name": "[concat(parameters('REGION'), '-x')]"},
        }
        assert value("[Variables('name')]", template) == "westeurope-x"

    def test_a_value_keeps_the_place_it_comes_from(self) -> None:
        template = {
            "parameters": {"steps": {"type": "array", "defaultValue": [{"type": "Shell"}]}},
            "resources": [image_template(properties="[createObject('customize', parameters('steps'))]")],
        }
        result = build(template)
        step = result.evaluated.resources[0].find("properties").find("customize").items[0]  # type: ignore[union-attr]
        assert step.span.line == result.text.split("\n").index("    {") + 1

    def test_a_computed_value_stands_at_its_call(self) -> None:
        result = build({"resources": [image_template(location="[concat('a', toUpper('b'))]")]})
        location = result.evaluated.resources[0].find("location")
        assert location is not None
        line = result.text.split("\n")[location.span.line - 1]
        assert line[location.span.column - 1 :].startswith("concat(")

    def test_errors_are_all_found_each_at_its_word(self) -> None:
        result = build({
            "variables": {"list": ["a"]},
            "resources": [
                image_template(
                    location="[concat('a', variables('lists'))]",
                    tags={"a": "[toLowr('x')]", "b": "[variables('list')[3]]", "c": "[substring('abc', 'x')]"},
                )
            ],
        })  # fmt: skip
        assert [(found.id, result.under(found)[:12]) for found in result.findings] == [
            ("X04", "variables('l"), ("X02", "toLowr('x')]"), ("X03", "3]]\","), ("X02", "'x')]\""),
        ]  # fmt: skip
        assert result.findings[0].hint == "did you mean 'list'?"
        assert result.findings[1].hint == "did you mean toLower?"

    def test_places_count_escapes_as_written(self) -> None:
        result = build({"resources": [image_template(location="[concat('\"\\é\U0001f600', toLowr('x'))]")]})
        assert result.under(result.findings[0]).startswith("toLowr")

    def test_what_depends_on_an_error_is_not_another_error(self) -> None:
        template = {
            "variables": {"bad": "[toLowr('x')]", "worse": "[concat(variables('bad'), 'y')]"},
            "resources": [image_template(location="[variables('worse')]", tags={"a": "[variables('worse')]"})],
        }
        assert build(template).errors == ["X02: there is no function 'toLowr'"]

    def test_circles_end(self) -> None:
        template = {"variables": {"a": "[variables('b')]", "b": "[variables('a')]"}}
        result = build({**template, "resources": [image_template(location="[variables('a')]")]})
        assert [found.id for found in result.findings] == ["X03"]
        assert "circle" in result.findings[0].message

    def test_endless_work_ends(self) -> None:
        many = "range(0, 9999)"
        found = error(f"[map({many}, lambda('x', length(map({many}, lambda('y', add(1, 1))))))]")
        assert "function calls" in found.message

    @pytest.mark.parametrize("spot", [Spot.RESOURCE, Spot.VARIABLE, Spot.OUTPUT])
    @pytest.mark.parametrize("name", ["utcNow", "newGuid"])
    def test_the_time_only_in_defaults(self, name: str, spot: Spot) -> None:
        assert "default value" in error(f"[{name}()]", spot=spot).message
        assert value(f"[{name}()]", spot=Spot.DEFAULT)

    def test_lazy_functions_do_not_look_where_they_need_not(self) -> None:
        assert value("[if(true(), 'a', variables('none'))]") == "a"
        assert value("[or(true(), variables('none'))]") is True
        assert value("[and(false(), variables('none'))]") is False
        assert value("[coalesce(null(), 'x', variables('none'))]") == "x"


class TestLoops:
    def test_in_variables_properties_and_outputs(self) -> None:
        template: dict[str, Any] = {
            "variables": {"copy": [{"name": "names", "count": 3, "input": "[concat('n', copyIndex('names', 1))]"}]},
            "resources": [
                image_template(
                    properties={
                        "copy": [{"name": "customize", "count": 2, "input": {"name": "[copyIndex('customize')]"}}],
                        "source": "[variables('names')[2]]",
                    }
                )
            ],
            "outputs": {"all": {"type": "array", "copy": {"count": 2, "input": "[copyIndex()]"}}},
        }
        result = build(template)
        assert result.resources[0]["properties"] == {"customize": [{"name": 0}, {"name": 1}], "source": "n3"}
        assert result.outputs == {"all": [0, 1]}
        assert not result.findings

    def test_of_resources(self) -> None:
        looped = image_template(name="[format('t{0}', copyIndex())]", copy={"name": "loop", "count": "[length('abc')]"})
        result = build({"resources": [looped]})
        assert [resource["name"] for resource in result.resources] == ["t0", "t1", "t2"]
        assert "copy" not in result.resources[0]

    def test_zero_turns_and_too_many(self) -> None:
        assert build({"resources": [image_template(copy={"name": "l", "count": 0})]}).resources == []
        result = build({"resources": [image_template(copy={"name": "l", "count": 801})]})
        assert "from 0 to 800" in result.findings[0].message
        assert result.under(result.findings[0]).startswith("801")

    def test_copy_index_outside(self) -> None:
        assert "outside" in error("[copyIndex()]").message
        assert "no copy loop 'x'" in error("[copyIndex('x')]").message

    def test_an_ordinary_property_called_copy_stays(self) -> None:
        (resource,) = build({"resources": [image_template(tags={"copy": "yes"})]}).resources
        assert resource["tags"] == {"copy": "yes"}


class TestConditions:
    def test_false_is_not_deployed(self) -> None:
        result = build({"resources": [image_template(condition="[equals(1, 2)]"), image_template(name="b")]})
        assert [resource["name"] for resource in result.resources] == ["b"]
        assert result.evaluated.skipped == ("web",)

    def test_nothing_in_it_is_an_error_then(self) -> None:
        other = {"type": "A.B/c", "name": "x", "condition": False, "properties": {"a": "[variables('none')]"}}
        assert not build({"resources": [other]}).findings

    def test_must_be_true_or_false(self) -> None:
        result = build({"resources": [image_template(condition="yes")]})
        assert "true or false" in result.findings[0].message


class TestSymbolicNames:
    def test_resources_are_an_object(self) -> None:
        template = {
            "languageVersion": "2.0",
            "resources": {
                "mine": image_template(name="[concat('a', 'b')]"),
                "other": {"existing": True, "type": "Microsoft.Compute/galleries", "name": "g"},
            },
            "outputs": {
                "where": {"type": "string", "value": "[reference('mine', '2024-02-01', 'full').location]"},
                "id": {"type": "string", "value": "[reference('mine', '2024-02-01', 'full').id]"},
                "later": {"type": "string", "value": "[reference('other').identifier]"},
            },
        }
        result = build(template)
        assert [resource["name"] for resource in result.resources] == ["ab"]
        assert result.outputs["where"] == "here"
        assert result.outputs["id"].endswith(f"/providers/{TYPE}/ab")
        assert result.outputs["later"] is None
        assert not result.findings

    def test_loops_have_their_index(self) -> None:
        names = "[map(references('many', 'full'), lambda('r', lambdaVariables('r').name))]"
        template = {
            "resources": {"many": image_template(name="[format('t{0}', copyIndex())]", copy={"name": "m", "count": 2})},
            "outputs": {
                "one": {"type": "string", "value": "[reference('many[1]', '1', 'full').name]"},
                "all": {"type": "array", "value": names},
            },
        }  # fmt: skip
        assert build(template).outputs == {"one": "t1", "all": ["t0", "t1"]}


class TestNested:
    inner: ClassVar[dict[str, Any]] = {
        "parameters": {"name": {"type": "string"}},
        "variables": {"suffix": "inner"},
        "resources": [image_template(name="[concat(parameters('name'), '-', variables('suffix'))]")],
        "outputs": {"made": {"type": "string", "value": "[parameters('name')]"}},
    }

    def nested(self, scope: str | None, template: dict[str, Any], **properties: Any) -> dict[str, Any]:
        options = {"expressionEvaluationOptions": {"scope": scope}} if scope else {}
        return {
            "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "sub",
            "properties": {"mode": "Incremental", **options, "template": template, **properties},
        }  # fmt: skip

    def test_inner_scope_has_values_of_its_own(self) -> None:
        given = {"name": {"value": "[concat('from-', parameters('name'))]"}}
        template = {
            "parameters": {"name": {"type": "string", "defaultValue": "outer"}},
            "resources": [self.nested("inner", self.inner, parameters=given)],
            "outputs": {"up": {"type": "string", "value": "[reference('sub').outputs.made.value]"}},
        }
        result = build(template)
        assert [resource["name"] for resource in result.resources] == ["from-outer-inner"]
        assert result.outputs == {"up": "from-outer"}
        assert not result.findings

    def test_outer_scope_is_the_default(self) -> None:
        template = {
            "parameters": {"name": {"type": "string", "defaultValue": "outer"}},
            "variables": {"suffix": "out"},
            "resources": [self.nested(None, {**self.inner, "parameters": {}, "outputs": {}})],
        }
        assert [resource["name"] for resource in build(template).resources] == ["outer-out"]

    def test_another_group(self) -> None:
        template = {"resources": [image_template(tags={"group": "[resourceGroup().id]"})]}
        nested = {**self.nested("inner", template), "resourceGroup": "elsewhere"}
        (resource,) = build({"resources": [nested]}).resources
        assert resource["tags"]["group"].endswith("/resourceGroups/elsewhere")

    def test_errors_inside_have_their_places(self) -> None:
        result = build({"resources": [self.nested("inner", self.inner)]})
        assert [found.id for found in result.findings] == ["X05"]
        assert result.under(result.findings[0]).startswith('"name"')

    def test_linked_templates_are_not_read(self) -> None:
        nested = {**self.nested(None, {}), "properties": {"templateLink": {"uri": "https://example.com/t.json"}}}
        assert [found.id for found in build({"resources": [nested]}).findings] == ["T06"]

    def test_outputs_that_only_azure_knows_are_missed_when_somebody_asks(self) -> None:
        identity = {"type": "A.B/identities", "name": "me", "location": "x"}
        inner = {
            "resources": [identity],
            "outputs": {
                "id": {"type": "string", "value": "[resourceId('A.B/identities', 'me')]"},
                "principal": {"type": "string", "value": "[reference(resourceId('A.B/identities', 'me')).principalId]"},
            },
        }
        known = image_template(location="[reference('sub').outputs.id.value]")
        result = build({"resources": [self.nested("inner", inner), known]})
        assert not result.findings
        assert result.resources[0]["location"].endswith("/A.B/identities/me")
        unknown = image_template(location="[reference('sub').outputs.principal.value]")
        result = build({"resources": [self.nested("inner", inner), unknown]})
        assert [found.id for found in result.findings] == ["X07"]
        assert result.under(result.findings[0]).startswith("value]")

    def test_deployments_that_need_each_other_end(self) -> None:
        given = {"name": {"value": "[reference('sub').outputs.made.value]"}}
        result = build({"resources": [self.nested("inner", self.inner, parameters=given)]})
        assert result.findings
        assert all("needs itself" in found.message or "circle" in found.message for found in result.findings)

    def test_a_template_for_a_subscription(self) -> None:
        """Groups, an identity made by one nested deployment and used by another, ids at three scopes."""
        template = json.loads((FIXTURES / "expressions" / "subscription.json").read_text())
        result = build(template, around=Surroundings(location="northeurope"))
        assert not result.findings
        (resource,) = result.resources
        group = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-images"
        assert resource["identity"]["userAssignedIdentities"] == {
            f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/aib": {}
        }
        steps = [step["type"] for step in resource["properties"]["customize"]]
        assert steps == ["WindowsUpdate", "PowerShell", "PowerShell"]
        gallery = resource["properties"]["distribute"][0]["galleryImageId"]
        assert gallery == f"{group}/providers/Microsoft.Compute/galleries/g/images/d"
        assert result.outputs == {"image": f"{group}/providers/{TYPE}/it"}


class TestAzure:
    needs: ClassVar[dict[str, Any]] = {
        "resources": [image_template(location="[reference('net', '2023-09-01', 'Full').location]")]
    }

    def test_what_only_azure_knows_says_how_to_supply_it(self) -> None:
        result = build(self.needs)
        (found,) = result.findings
        assert found.id == "X07"
        assert result.under(found).startswith("reference('net'")
        assert "--supply \"reference('net')=" in (found.hint or "")

    def test_supplied_values_are_taken(self) -> None:
        around = Surroundings(supplied={key_of("reference", "NET"): {"location": "mars"}})
        result = build(self.needs, around=around)
        assert result.resources[0]["location"] == "mars"
        assert not result.findings

    @pytest.mark.parametrize("function", ["listKeys('x', '2023-01-01')", "list('x', '2023-01-01')", "reference('x')"])
    def test_what_asks_for_resources_is_for_resources_and_outputs(self, function: str) -> None:
        name = function.partition("(")[0]
        for template in (
            {"variables": {"v": f"[{function}]"}},
            {"parameters": {"p": {"type": "object", "defaultValue": f"[{function}]"}}},
            {"resources": [{"type": "A.B/c", "apiVersion": "1", "name": f"[string({function})]"}]},
        ):
            (found,) = build(template).findings
            assert found.message.startswith(f"{name}() cannot be used in ")
            assert found.azure is not None and f"'{name}' is not expected" in found.azure

    def test_list_functions(self) -> None:
        found = error("[listKeys('/subscriptions/x/storage', '2023-01-01').keys[0].value]")
        assert found.id == "X07"
        assert "--supply \"listKeys('/subscriptions/x/storage')=" in (found.hint or "")

    def test_what_the_template_declares_is_known(self) -> None:
        identity = {"type": "Microsoft.ManagedIdentity/userAssignedIdentities", "name": "me", "properties": {"a": 1}}
        template = {"resources": [identity]}
        id_ = "resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', 'me')"
        assert value(f"[reference({id_}).a]", template) == 1
        found = error(f"[reference({id_}).principalId]", template)
        assert found.id == "X07"
        assert "'principalId'" in found.message

    def test_other_resources_may_need_azure(self) -> None:
        role = {"type": "A.B/roles", "name": "r", "properties": {"who": "[reference('none').id]", "x": "[nope()]"}}
        assert build({"resources": [role]}).errors == ["X02: there is no function 'nope'"]

    def test_what_nobody_reported_is_still_no_template(self) -> None:
        """A value that another resource got from Azure, and the image template from that resource."""
        other = {"type": "A.B/c", "name": "x", "properties": {"a": "[reference('elsewhere').b]"}}
        result = build({"resources": [other, image_template(location="[reference('x').a]")]})
        assert [found.id for found in result.findings] == ["X07"]

    @pytest.mark.parametrize("spot", [Spot.VARIABLE, Spot.DEFAULT])
    def test_reference_is_not_allowed_everywhere(self, spot: Spot) -> None:
        assert "cannot be used" in error("[reference('x')]", spot=spot).message


class TestDependsOn:
    def template(self, target: str) -> dict[str, Any]:
        other = {"type": "A.B/c", "apiVersion": "1", "name": "x"}
        loop = {**other, "name": "[concat('l', copyIndex())]", "copy": {"name": "loop", "count": 2}}
        return {"resources": [other, loop, image_template(dependsOn=[target])]}

    @pytest.mark.parametrize("target", ["x", "[resourceId('A.B/c', 'x')]", "loop", "l1", "A.B/c/x"])
    def test_known(self, target: str) -> None:
        assert not build(self.template(target)).findings

    def test_unknown(self) -> None:
        result = build(self.template("[resourceId('A.B/c', 'y')]"))
        assert [found.id for found in result.findings] == ["X08"]


class TestOwnFunctions:
    functions: ClassVar[list[Any]] = [
        {
            "namespace": "my",
            "members": {
                "greet": {
                    "parameters": [{"name": "who", "type": "string"}],
                    "output": {"type": "string", "value": "[concat('hello ', parameters('who'))]"},
                },
                "loop": {"parameters": [], "output": {"type": "string", "value": "[my.loop()]"}},
                "bad": {"parameters": [], "output": {"type": "string", "value": "[variables('x')]"}},
            },
        }
    ]

    def test_they_are_called(self) -> None:
        greet = {"greet": self.functions[0]["members"]["greet"]}
        assert value("[MY.Greet('you')]", {"functions": [{"namespace": "my", "members": greet}]}) == "hello you"

    @pytest.mark.parametrize(
        ("call", "words"),
        [
            ("my.greet()", "takes 1 arguments, not 0"),
            ("my.greet(1)", "must be text"),
            ("my.gret('x')", "no function 'my.gret'"),
            ("my.bad()", "cannot use variables"),
            ("my.loop()", "without end"),
        ],
    )
    def test_and_refuse(self, call: str, words: str) -> None:
        result = build({"functions": self.functions, "resources": [image_template(location=f"[{call}]")]})
        assert any(words in found.message for found in result.findings), result.errors


def test_secure_values_are_known_as_secrets() -> None:
    template = {
        "parameters": {
            "password": {"type": "securestring"},
            "keys": {"type": "secureObject", "defaultValue": {"a": ["deep-secret"]}},
        },
        "outputs": {"o": {"type": "securestring", "value": "[parameters('password')]"}},
    }
    result = build(template, given_of({"password": "hunter22"}))
    assert result.evaluated.secrets == {"hunter22", "deep-secret"}
    assert result.evaluated.outputs["o"].secure


def test_what_lies_beside_the_template_is_found() -> None:
    """How quickstart templates name their scripts."""
    template = {
        "parameters": {
            "_artifactsLocation": {
                "type": "string", "defaultValue": "[deployment().properties.templateLink.uri]"
            }
        },
        "outputs": {
            "script": {"type": "string", "value": "[uri(parameters('_artifactsLocation'), 'scripts/run.ps1')]"}
        },
    }  # fmt: skip
    around = Surroundings(template_uri="file:///home/me/azuredeploy.json")
    assert build(template, around=around).outputs == {"script": "file:///home/me/scripts/run.ps1"}
    assert [found.id for found in build(template).findings] == ["X03"]


def test_surroundings() -> None:
    around = Surroundings(resource_group="rg", location="here", deployment_name="d", subscription_id="s")
    result = build(
        {
            "outputs": {
                "a": {"type": "string", "value": "[resourceGroup().id]"},
                "b": {"type": "string", "value": "[resourceGroup().location]"},
                "c": {"type": "string", "value": "[deployment().name]"},
                "d": {"type": "string", "value": "[subscription().subscriptionId]"},
                "e": {"type": "string", "value": "[environment().suffixes.storage]"},
                "f": {"type": "string", "value": "[tenant().tenantId]"},
                "g": {"type": "string", "value": "[managementGroup().name]"},
            }
        },
        around=around,
    )
    assert result.outputs == {
        "a": "/subscriptions/s/resourceGroups/rg", "b": "here", "c": "d", "d": "s", "e": "core.windows.net",
        "f": around.tenant_id, "g": "aibemu",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("call", "id_"),
    [
        ("resourceId('A.B/c', 'x')", "/subscriptions/{s}/resourceGroups/aibemu/providers/A.B/c/x"),
        ("resourceId('other', 'A.B/c/d', 'x', 'y')", "/subscriptions/{s}/resourceGroups/other/providers/A.B/c/x/d/y"),
        ("resourceId('{s}', 'o', 'A.B/c', 'x')", "/subscriptions/{s}/resourceGroups/o/providers/A.B/c/x"),
        ("subscriptionResourceId('A.B/c', 'x')", "/subscriptions/{s}/providers/A.B/c/x"),
        ("tenantResourceId('A.B/c', 'x')", "/providers/A.B/c/x"),
        ("managementGroupResourceId('aibemu', 'A.B/c', 'x')",
         "/providers/Microsoft.Management/managementGroups/aibemu/providers/A.B/c/x"),
        ("extensionResourceId('/a/b', 'A.B/c', 'x')", "/a/b/providers/A.B/c/x"),
    ],
)  # fmt: skip
def test_resource_ids(call: str, id_: str) -> None:
    subscription = Surroundings().subscription_id
    assert value(f"[{call.replace('{s}', subscription)}]") == id_.replace("{s}", subscription)


@pytest.mark.parametrize(
    "call",
    ["resourceId('A.B/c')", "resourceId('A.B/c', 'x', 'y')", "resourceId('x', 'y')", "tenantResourceId('a', 'b')"],
)
def test_resource_ids_that_do_not_fit(call: str) -> None:
    assert error(f"[{call}]").id in {"X02", "X03"}
