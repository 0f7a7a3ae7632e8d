from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft7Validator

from aibemu.template.spec import NEWEST


def test_the_newest_schema_is_printed(aibemu: Callable[..., Any]) -> None:
    said = aibemu("schema")

    assert (said.code, said.err) == (0, "")
    schema = json.loads(said.out)
    Draft7Validator.check_schema(schema)
    assert NEWEST in schema["title"]


def test_programs_get_it_as_data(aibemu: Callable[..., Any]) -> None:
    said = aibemu("schema", "--output", "json", "--api-version", "2022-07-01")

    envelope = json.loads(said.out)
    assert envelope["command"] == "schema"
    assert envelope["status"] == "success"
    assert "2022-07-01" in envelope["data"]["title"]
    assert envelope["data"] == json.loads(aibemu("schema", "--api-version", "2022-07-01").out)


def test_deployments_have_a_schema_of_their_own(aibemu: Callable[..., Any]) -> None:
    schema = json.loads(aibemu("schema", "--deployment").out)

    assert "resources" in schema["properties"]
    Draft7Validator.check_schema(schema)


def test_it_says_what_it_is_good_for(aibemu: Callable[..., Any]) -> None:
    said = aibemu("schema", "--help")
    assert "json.schemas" in said.out


@pytest.mark.parametrize(("version", "near"), [("2024-02-02", "did you mean 2024-02-01?"), ("2018-02-01-preview", "")])
def test_versions_that_the_service_does_not_take_are_refused(
    aibemu: Callable[..., Any], version: str, near: str
) -> None:
    said = aibemu("schema", "--api-version", version)

    assert (said.code, said.out) == (2, "")
    assert "there is no such api version" in said.err
    assert near in said.err
