"""Values that hold others, which hold others: small as a template, and more than any host can hold when written out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from aibemu.arm.evaluate import work
from aibemu.template.loader import Inputs, understand
from tests.unit.arm.evaluate.workbench import build, image_template

LEVELS = 30
KINDS: dict[str, tuple[Any, Any]] = {
    "array": ([1], "[createArray({0}, {0})]"),
    "concat": ([1], "[concat({0}, {0})]"),
    "object": ({"k": 1}, "[createObject('a', {0}, 'b', {0})]"),
    "literal": ({"k": 1}, {"a": "[{0}]", "b": "[{0}]"}),
    "text": ("x", "[concat({0}, {0})]"),
    "json": ("x", "[string(createArray({0}, {0}))]"),
}


def doubling(kind: str) -> dict[str, Any]:
    first, form = KINDS[kind]
    variables = {"a0": first}
    for number in range(1, LEVELS):
        before = f"variables('a{number - 1}')"
        variables[f"a{number}"] = (
            {key: text.format(before) for key, text in form.items()} if isinstance(form, dict) else form.format(before)
        )
    return variables


@pytest.fixture
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MAX_WEIGHT", 1 << 16)
    monkeypatch.setattr(work, "MAX_TOTAL", 1 << 18)
    monkeypatch.setattr(work, "MAX_HANDLED", 1 << 20)
    monkeypatch.setattr(work, "_LIGHT", 1 << 10)


@pytest.mark.usefixtures("_little")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use", ["variables('a29')", "length(variables('a29'))"])
def test_a_value_that_doubles_and_doubles(kind: str, use: str) -> None:
    result = build({"variables": doubling(kind), "resources": [image_template(tags={"x": f"[{use}]"})]})
    assert any("too large" in error or "too long" in error for error in result.errors)


@pytest.mark.usefixtures("_little")
def test_in_one_expression() -> None:
    twice = "createArray(lambdaVariables('a'), lambdaVariables('a'))"
    use = f"[length(reduce(range(0, 60), createArray(1), lambda('a', 'b', {twice})))]"
    result = build({"resources": [image_template(tags={"x": use})]})
    assert any("too large" in error for error in result.errors)


@pytest.mark.parametrize(
    "inner", ["map(range(0, 10000), lambda('y', 1))", "range(0, 10000)", "format('{0,10000}', '')", "createArray(1)"]
)
def test_lambdas_in_lambdas(inner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MAX_WORK", 1000)
    use = f"[string(length(map(range(0, 10000), lambda('x', {inner}))))]"
    result = build({"resources": [image_template(tags={"x": use})]})
    assert any("more than" in error for error in result.errors)


@pytest.mark.usefixtures("_little")
def test_used_often() -> None:
    tags = {f"x{number}": "[variables('a9')]" for number in range(100)}
    variables = dict(list(doubling("array").items())[:10])
    result = build({"variables": variables, "resources": [image_template(tags=tags)]})
    assert result.errors == ["X03: the template is too large: written out it has more than 64 MiB"]


@pytest.mark.usefixtures("_little")
def test_worked_on_often() -> None:
    tags = {f"x{number}": "[string(equals(variables('a10'), variables('a10')))]" for number in range(30)}
    result = build({"variables": doubling("array"), "resources": [image_template(tags=tags)]})
    assert any("work on more than 1 MiB" in error for error in result.errors)


def test_deployments_in_deployments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MAX_WORK", 5000)
    resource = image_template()
    for level in range(6):
        resource = {
            "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": f"d{level}",
            "copy": {"name": "c", "count": 800}, "properties": {"mode": "Incremental", "template": {
                "resources": [resource]
            }},
        }  # fmt: skip
    errors = build({"resources": [resource]}).errors
    assert len(errors) < 1000 and any("turns of loops" in error for error in errors)


def test_loops_in_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MAX_WORK", 1000)
    loops = [{"name": f"x{number}", "count": 100, "input": "x"} for number in range(6)]
    tags = {"copy": [{"name": "v", "count": 6, "input": "[variables('v')]"}]}
    turns = {"name": "[concat('t', copyIndex())]", "copy": {"name": "c", "count": 100}}
    result = build({"variables": {"v": {"copy": loops}}, "resources": [image_template(tags=tags, **turns)]})
    assert any("turns of loops" in error for error in result.errors)


@pytest.mark.parametrize(("part", "most"), [("parameters", 256), ("variables", 512), ("outputs", 64)])
def test_more_than_arm_takes(part: str, most: int, tmp_path: Path) -> None:
    member = {"type": "string", "defaultValue": "", "value": ""}
    for count in (most, most + 1):
        template = {
            "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
            "contentVersion": "1.0.0.0", part: {f"n{number}": member for number in range(count)},
            "resources": [image_template()],
        }  # fmt: skip
        found = understand(json.dumps(template), tmp_path / "t.json", Inputs(), frozenset())
        said = [one.message for one in found.findings.sorted() if one.id == "X03"]
        assert said == ([f"the template has {count} {part}, and ARM takes {most} at most"] if count > most else [])


def test_arrays_in_common_are_found_at_once() -> None:
    arrays = ", ".join(["range(0, 10000)"] * 20)
    began = time.process_time()
    result = build({"resources": [image_template(tags={"x": f"[string(length(intersection({arrays})))]"})]})
    assert result.resources[0]["tags"] == {"x": "10000"} and time.process_time() - began < 5
