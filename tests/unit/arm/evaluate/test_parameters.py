"""Values of parameters against their declarations, with the types of languageVersion 2.0."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.arm.evaluate.workbench import Result, build, given_of


def given(declaration: Any, value: Any, *, raw: bool = False, **more: Any) -> Result:
    """A template with one parameter `p`, which is an output too."""
    template = {
        "languageVersion": "2.0", "parameters": {"p": declaration}, "resources": {},
        "outputs": {"o": {"value": "[parameters('p')]"}},
    }  # fmt: skip
    return build({**template, **more}, given_of({"p": value}, raw=raw))


@pytest.mark.parametrize(
    ("declaration", "value"),
    [
        ({"type": "string"}, "x"),
        ({"type": "String"}, ""),
        ({"type": "securestring"}, "x"),
        ({"type": "int"}, -3),
        ({"type": "bool"}, False),
        ({"type": "array"}, []),
        ({"type": "object"}, {}),
        ({"type": "secureObject"}, {"a": 1}),
        ({"type": "string", "nullable": True}, None),
        ({"type": "string", "allowedValues": ["a", "b"]}, "b"),
        ({"type": "array", "allowedValues": ["a", "b"]}, ["b"]),
        ({"type": "int", "minValue": 1, "maxValue": 3}, 3),
        ({"type": "string", "minLength": 1, "maxLength": 3}, "abc"),
        ({"type": "array", "minLength": 1}, [1]),
        ({"type": "array", "items": {"type": "int"}}, [1, 2]),
        ({"type": "array", "prefixItems": [{"type": "int"}, {"type": "string"}]}, [1, "a"]),
        ({"type": "object", "properties": {"a": {"type": "int"}}}, {"a": 1, "more": 2}),
        ({"type": "object", "properties": {"a": {"type": "int", "nullable": True}}}, {}),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"x": "y"}),
        ({}, "x"),
        ({"type": "object", "properties": {"a": {}}}, {"a": [1]}),
    ],
)
def test_values_that_fit(declaration: Any, value: Any) -> None:
    result = given(declaration, value)
    assert not result.findings
    assert result.outputs["o"] == value


@pytest.mark.parametrize(
    ("declaration", "value", "words"),
    [
        ({"type": "string"}, 1, "parameter 'p' must be text, not a whole number"),
        ({"type": "int"}, "1", "must be a whole number, not text"),
        ({"type": "int"}, 1.5, "must be a whole number, not a number"),
        ({"type": "bool"}, "true", "must be true or false"),
        ({"type": "array"}, {}, "must be an array, not an object"),
        ({"type": "string", "allowedValues": ["alpha", "b"]}, "alpa", "not one of the allowed values: 'alpha' or 'b'"),
        ({"type": "string", "allowedValues": ["a"]}, "A", "not one of the allowed values"),
        ({"type": "int", "minValue": 1}, 0, "at least 1, not 0"),
        ({"type": "int", "maxValue": 1}, 2, "at most 1, not 2"),
        ({"type": "string", "minLength": 2}, "a", "at least 2 characters long"),
        ({"type": "array", "maxLength": 1}, [1, 2], "at most 1 items long"),
        ({"type": "array", "items": {"type": "int"}}, [1, "x"], "p'[1] must be a whole number"),
        ({"type": "object", "properties": {"a": {"type": "int"}}}, {}, "the property 'a' is missing"),
        ({"type": "object", "properties": {"a": {"type": "int"}}}, {"A": "x"}, "p'.A must be a whole number"),
        ({"type": "object", "properties": {"abc": {"type": "int"}}, "additionalProperties": False},
         {"abc": 1, "acb": 2}, "has no property 'acb'"),
        ({"type": "strin"}, "x", "has the type 'strin'"),
        ({"$ref": "#/definitions/none"}, "x", "there is no definition #/definitions/none"),
    ],
)  # fmt: skip
def test_values_that_do_not(declaration: Any, value: Any, words: str) -> None:
    result = given(declaration, value)
    assert [found.id for found in result.findings] == ["X06"], result.errors
    assert words in result.findings[0].message


UNION = {
    "type": "object",
    "discriminator": {
        "propertyName": "kind", "mapping": {"a": {"$ref": "#/definitions/a"}, "b": {"$ref": "#/definitions/b"}}
    },
}  # fmt: skip
DEFINITIONS = {
    "a": {"type": "object", "properties": {"kind": {"type": "string"}, "size": {"type": "int"}}},
    "b": {
        "type": "object",
        "properties": {"kind": {"type": "string"}, "next": {"$ref": "#/definitions/b", "nullable": True}},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"kind": "a", "size": 1}, None),
        ({"kind": "b", "next": {"kind": "b"}}, None),
        ({"kind": "a", "size": "x"}, "size must be a whole number"),
        ({"kind": "b", "next": {"kind": 1}}, "next.kind must be text"),
        ({"kind": "c"}, "kind must be 'a' or 'b', not 'c'"),
        ({}, "'kind' is missing, one of 'a' or 'b'"),
    ],
)
def test_definitions_and_unions(value: Any, words: str | None) -> None:
    result = given(UNION, value, definitions=DEFINITIONS)
    assert [words in found.message for found in result.findings if words] == ([True] if words else [])
    assert bool(result.findings) is bool(words)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "5", "5"),
        ("string", "null", "null"),
        ("int", "5", 5),
        ("bool", "True", True),
        ("array", '["a", 1]', ["a", 1]),
        ("object", '{"a": {"b": null}}', {"a": {"b": None}}),
    ],
)
def test_text_of_a_command_line_is_read_as_the_declared_type(kind: str, text: str, value: Any) -> None:
    result = given({"type": kind}, text, raw=True)
    assert not result.findings
    assert result.outputs["o"] == value


@pytest.mark.parametrize(("kind", "text"), [("int", "5x"), ("bool", "yes"), ("array", "a,b"), ("object", "{")])
def test_text_that_is_not_of_the_declared_type(kind: str, text: str) -> None:
    assert [found.id for found in given({"type": kind}, text, raw=True).findings] == ["X06"]


def test_defaults_may_use_other_parameters() -> None:
    template = {
        "parameters": {
            "a": {"type": "string", "defaultValue": "[concat(parameters('b'), '!')]"},
            "b": {"type": "string", "defaultValue": "x"},
        },
        "outputs": {"o": {"type": "string", "value": "[parameters('a')]"}},
    }
    assert build(template).outputs == {"o": "x!"}


def test_missing_values_are_all_named_where_they_are_declared() -> None:
    parameters = {"a": {"type": "string"}, "b": {"type": "int"}, "c": {"type": "int", "nullable": True}}
    result = build({"languageVersion": "2.0", "parameters": parameters, "resources": {}})
    assert [(found.id, result.under(found)[:3]) for found in result.findings] == [("X05", '"a"'), ("X05", '"b"')]
    assert "--parameters a=VALUE" in (result.findings[0].hint or "")


def test_what_is_not_declared_is_refused_with_a_suggestion() -> None:
    result = build({"parameters": {"region": {"type": "string", "defaultValue": "x"}}}, given_of({"regoin": "y"}))
    assert [found.id for found in result.findings] == ["X06"]
    assert result.findings[0].hint == "did you mean 'region'?"


def test_a_value_in_a_key_vault_is_one_error() -> None:
    template = {
        "parameters": {"p": {"type": "securestring"}},
        "outputs": {"o": {"type": "string", "value": "[parameters('p')]"}},
    }
    (given_,) = given_of({"p": {"reference": {"secretName": "s"}}}).values()
    result = build(template, {"p": replace(given_, vault=True)})
    assert [found.id for found in result.findings] == ["X07"]
    assert "--parameters p=VALUE" in (result.findings[0].hint or "")


def test_names_of_given_values_are_compared_without_case() -> None:
    template = {
        "parameters": {"Region": {"type": "string"}},
        "outputs": {"o": {"type": "string", "value": "[parameters('region')]"}},
    }
    assert build(template, given_of({"REGION": "y"})).outputs == {"o": "y"}
