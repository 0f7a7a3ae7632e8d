"""Small templates that hypothesis makes: Azure's own template engine and aibemu answer, and must answer the same.

AIBEMU_LIVE_SECONDS=600 looks further, each time elsewhere, and prints how many questions were asked.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import randrange
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from aibemu.arm.diagnostics import Diagnostic
from tests.template_engine import CONTEXT, NoAnswer, TemplateEngine, need_template_engine
from tests.unit.arm.evaluate.test_judged_deployments import compared, evaluated
from tests.unit.arm.evaluate.workbench import SCHEMA, TYPE

AT_ONCE = 20  # templates between two looks at the clock
ROUNDS = 30  # of so many templates: always the same ones
SECONDS = float(os.environ.get("AIBEMU_LIVE_SECONDS", "30"))
# What the service finds when it looks at all resources together: the engine does not.
_OF_THE_SERVICE = ("is there twice", "the same resource", "in a circle", "the template declares no resource",
                   "a condition is true or false")  # fmt: skip
NAMES = ["a", "b", "A", "p"]
KEYS = ["x", "y", "X", "[concat('x')]", "[[x]"]
# They have a value where all is declared that they name.
GOOD = [
    "[variables('a')]", "[variables('b')]", "[variables('b').x]", "[parameters('a')]", "[parameters('p').x[0]]",
    "[concat('a', 'b')]", "[createObject('x', 1)]", "[createArray(1, 'b')]", "[null()]", "[deployment().name]",
    "[resourceGroup().name]", "[my.f('a')]", "[my.g()]", "[true()]", "[equals(1, 1)]", "[string(variables('b'))]",
    "[resourceId('A.B/c', 'd')]", "[tryGet(createObject('x', 1), 'x')]", "[concat('[', 'x]')]",
    "[map(createArray(1, 2), lambda('i', add(lambdaVariables('i'), 1)))]", "[concat('[', 'concat(1, 2)]')]",
]  # fmt: skip
BAD = [
    "[copyIndex()]", "[copyIndex('a')]", "[copyIndex('l', 1)]", "[nosuch()]", "[add(1, 2)]", "[parameters('none')]",
    "[]",
]  # fmt: skip
ESCAPED = [f"[{text}" for text in [*GOOD[:16], *BAD[:3]]] + ["[[[concat('q')]", "[[]"]

plain = st.sampled_from(["", "a", "text", "[", "[a", "x]"])
good = st.one_of(plain, st.sampled_from(GOOD), st.sampled_from(GOOD), st.sampled_from(ESCAPED))
texts = st.integers(0, 15).flatmap(lambda number: good if number else st.sampled_from(BAD))
scalars = st.one_of(texts, texts, st.integers(-2, 9), st.booleans(), st.none())
loops = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["l", "m", "[concat('l')]"]), "count": st.sampled_from([0, 1, 2, "[add(1, 1)]"]),
         "input": st.one_of(texts, st.just("[copyIndex('l')]"))}
    ), min_size=0, max_size=2,
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
        st.builds(
            lambda more, copy: {**more, "copy": copy}, st.dictionaries(st.sampled_from(KEYS), inner, max_size=1), loops
        ),
    ),
    max_leaves=4,
)
types = st.sampled_from(["string", "int", "bool", "array", "object", "String", "array", "object"])
_OF_TYPE = {
    "string": st.sampled_from(["", "d", "[concat('d')]", "[[d]", "[deployment().name]"]), "int": st.integers(-2, 9),
    "bool": st.booleans(), "array": st.lists(scalars, max_size=2),
    "object": st.dictionaries(st.sampled_from(KEYS[:3]), scalars, max_size=2),
}  # fmt: skip
constraints = st.fixed_dictionaries(
    {},
    optional={
        "minLength": st.integers(0, 2), "maxLength": st.integers(0, 2), "minValue": st.integers(0, 2),
        "allowedValues": st.sampled_from([["a"], [1, 2], [], [True]]), "nullable": st.booleans(),
        "items": st.fixed_dictionaries({"type": types}), "metadata": st.just({"description": "[nosuch()]"}),
    },
)  # fmt: skip
rarely = st.integers(0, 5).map(lambda number: number == 0)


@st.composite
def parameters(draw: st.DrawFn) -> dict[str, Any]:
    declared = {}
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=2)):
        more = draw(constraints) if draw(rarely) else {}
        type_, odd = draw(types), draw(rarely)
        declared[name] = {"type": type_, "defaultValue": draw(values if odd else _OF_TYPE[type_.casefold()]), **more}
    return declared


@st.composite
def outputs(draw: st.DrawFn) -> dict[str, Any]:
    declared: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=2)):
        entry: dict[str, Any] = {"value": draw(values)}
        if draw(rarely):
            entry["type"] = draw(types)
        if draw(rarely):
            entry = {"type": "array", "copy": {"count": draw(st.integers(0, 2)), "input": draw(texts)}}
        if draw(rarely):
            entry["condition"] = draw(st.sampled_from([True, False, "[equals(1, 2)]", "x"]))
        declared[name] = entry
    return declared


_FUNCTIONS = [{"namespace": "my", "members": {
    "f": {"parameters": [{"name": "x", "type": "string"}], "output": {"type": "array", "value": ["[parameters('x')]"]}},
    "g": {"output": {"type": "string", "value": "gg"}},
}}]  # fmt: skip


@st.composite
def functions(draw: st.DrawFn) -> list[Any]:
    result = draw(st.sampled_from(["[concat(parameters('x'), 'z')]", "[my.g()]", "z", "[variables('a')]"]))
    first = {"parameters": [{"name": "x", "type": "string"}], "output": {"type": draw(types), "value": result}}
    second = {"parameters": [], "output": {"type": draw(types), "value": draw(texts)}}
    return [{"namespace": "my", "members": {"f": first, "g": second}}]


@st.composite
def resources(draw: st.DrawFn, depth: int = 0) -> dict[str, Any]:
    if depth < 2 and draw(st.integers(0, 2)) == 0:
        inside = draw(templates(depth + 1))
        scope = draw(st.sampled_from(["inner", "inner", "outer", None]))
        options = {"expressionEvaluationOptions": {"scope": scope}} if scope else {}
        declared = inside.get("parameters")
        names = [name for name in NAMES if isinstance(declared, dict) and name in declared]
        handed = {name: {"value": draw(values)} for name in names if draw(st.booleans())}
        resource: dict[str, Any] = {
            "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": draw(st.sampled_from("mn")),
            "properties": {"mode": "Incremental", **options, "template": inside, "parameters": handed},
        }  # fmt: skip
    else:
        resource = {
            "type": TYPE, "apiVersion": "2024-02-01", "name": draw(st.sampled_from(["t", "u", "[concat('t', 'u')]"])),
            "location": "here", "properties": {"v": draw(values)},
        }  # fmt: skip
    if draw(rarely):
        resource["copy"] = {"name": draw(st.sampled_from("ac")), "count": draw(st.integers(0, 2))}
        resource["name"] = "[concat('r', copyIndex())]" if draw(st.booleans()) else "[[concat('r', copyIndex())]"
    if draw(rarely):
        resource["condition"] = draw(st.sampled_from([True, False, "[equals(1, 2)]", "[[equals(1, 2)]"]))
    if draw(rarely):
        key = draw(st.sampled_from(["type", "name", "dependsOn", "tags", "comments", "scope", "odd"]))
        resource[key] = draw(scalars)
    return resource


@st.composite
def templates(draw: st.DrawFn, depth: int = 0) -> dict[str, Any]:
    template: dict[str, Any] = {"$schema": SCHEMA, "contentVersion": "1.0.0.0"}
    whole = not draw(rarely)  # all that the expressions name is there
    fixed = {"a": {"type": "string", "defaultValue": "pa"}, "p": {"type": "object", "defaultValue": {"x": ["[[y]"]}}}
    if whole or draw(st.booleans()):
        template["parameters"] = {**(fixed if whole else {}), **draw(parameters())}
    if whole or draw(st.booleans()):
        some = draw(st.dictionaries(st.sampled_from(["a", "b"] if whole else NAMES), values, max_size=2))
        template["variables"] = {**({"a": "va", "b": {"x": "[[concat('c', 'd')]"}} if whole else {}), **some}
        if draw(rarely):
            template["variables"]["copy"] = draw(loops)
    if whole or draw(rarely):
        template["functions"] = _FUNCTIONS if draw(st.booleans()) else draw(functions())
    template["resources"] = draw(st.lists(resources(depth), min_size=1, max_size=2))
    if draw(rarely):
        template["languageVersion"] = draw(st.sampled_from(["2.0", "2.0", "1.0"]))
        template["resources"] = {f"r{number}": one for number, one in enumerate(template["resources"])}
    if draw(st.booleans()):
        template["outputs"] = draw(outputs())
    if draw(st.integers(0, 15)) == 0:
        key = draw(st.sampled_from([*template, "odd", "definitions"]))
        template[key] = draw(scalars)
    return template


def nested(template: Any) -> dict[str, Any]:
    """The same template in a nested deployment, where the engine validates in full."""
    properties = {
        "mode": "Incremental", "expressionEvaluationOptions": {"scope": "inner"}, "template": template,
    }  # fmt: skip
    resource = {
        "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "dep", "properties": properties
    }  # fmt: skip
    return {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": [resource]}


def keeps(prediction: Any) -> bool:
    """Whether the engine left something for Azure."""
    return '"[' in json.dumps(prediction).replace('"[[', "")


def told(engine: TemplateEngine, template: dict[str, Any]) -> list[str]:
    """What the two answer otherwise."""
    made, errors = evaluated(json.dumps(template), {}, CONTEXT)
    prediction, why = engine.snapshot(template)
    if prediction is not None:
        inside, deeper = engine.snapshot(nested(template))
        prediction, why = (None, deeper) if inside is None else (prediction, why)
    if "Compilation failed" in why and engine.snapshot(nested(template))[0] is not None:
        return []  # the compiler around the engine refuses it, and the engine does not: either will do
    if prediction is None:
        return compared({"error": why}, made, errors, refused=True, keeps=False)
    others: tuple[Diagnostic, ...] = tuple(
        found for found in errors if not any(words in found.message for words in _OF_THE_SERVICE)
    )
    if errors and not others:
        return []
    return compared(prediction, made, others, refused=False, keeps=keeps(prediction))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[TemplateEngine]:
    found = need_template_engine(tmp_path)
    yield found
    found.close()


def test_templates_are_what_the_engine_makes_of_them(engine: TemplateEngine) -> None:
    until = time.monotonic() + (SECONDS if SECONDS > 30 else 200.0)
    differ: dict[str, str] = {}

    @settings(
        max_examples=AT_ONCE, deadline=None, derandomize=False, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(templates())
    def ask(template: dict[str, Any]) -> None:
        try:
            found = told(engine, template)
        except NoAnswer as problem:  # a crash of the program around the engine
            found = [] if "ended" in str(problem) or "Broken pipe" in str(problem) else [str(problem)]
        if found:
            differ.setdefault(found[0][:90], f"{found[0]}  <-  {json.dumps(template)}")

    # A change of aibemu fails here, not a template that nobody has tried: those are looked for by hand.
    for number in count(randrange(1 << 30)) if SECONDS > 30 else range(ROUNDS):
        seed(number)(ask)()
        if time.monotonic() > until:
            break
    if SECONDS > 30:
        print(f"{engine.asked} questions, {len(differ)} kinds of differences")
    assert engine.asked
    assert differ == {}
