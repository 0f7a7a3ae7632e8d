"""Functions on values that are known in part: what can be told is told, nothing is guessed, no second finding."""

from __future__ import annotations

from typing import Any

import pytest

from aibemu.arm.expressions.frame import Frame, Spot
from aibemu.arm.nodes import Node, NodeKind
from aibemu.errors import Span
from tests.unit.arm.evaluate.workbench import build

# One thing that nobody knows, for which there is one finding.
TEMPLATE = {
    "parameters": {"p": {"type": "string"}},
    "variables": {
        "list": ["[parameters('p')]", "a"],
        "numbers": ["[parameters('p')]", 1],
        "object": {"a": "[parameters('p')]", "b": 1},
        "objects": ["[parameters('p')]", {"b": 1}],
    },
}


def evaluated(expression: str) -> Node:
    result = build(TEMPLATE)
    node = Node(NodeKind.STRING, Span(file="-", line=1, column=1), f"[{expression}]")
    found = result.scope.evaluate(node, Frame(scope=result.scope, spot=Spot.OUTPUT))
    assert [finding.message for finding in result.scope.findings.sorted()] == [
        "parameter 'p' has no value, and no default"
    ]
    return found


@pytest.mark.parametrize(
    "expression",
    [
        "contains(variables('list'), 'x')",
        "createObject(first(variables('list')), 1)",
        "equals(variables('object'), createObject('a', 'x', 'b', 1))",
        "flatten(variables('list'))",
        "indexOf(variables('list'), 'a')",
        "intersection(variables('list'), createArray('x'))",
        "intersection(variables('object'), createObject('a', 'x', 'b', 1))",
        "lastIndexOf(variables('list'), 'x')",
        "max(variables('numbers'))",
        "min(variables('numbers'))",
        "shallowMerge(variables('objects'))",
        "split('xay', variables('list'))",
        "string(variables('object'))",
        "tryGet(variables('object'), 'a', 'c')",
        "union(variables('object'), createObject('a', createObject('x', 1))).a",
    ],
)
def test_what_depends_on_it_is_not_known(expression: str) -> None:
    assert evaluated(expression).kind is NodeKind.UNKNOWN


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("contains(variables('list'), 'a')", True),
        ("equals(variables('object'), createObject('a', 'x', 'b', 2))", False),
        ("equals(variables('list'), createArray('a'))", False),
        ("lastIndexOf(variables('list'), 'a')", 1),
        ("length(variables('list'))", 2),
        ("last(variables('list'))", "a"),
        ("tryGet(variables('object'), 'b')", 1),
        ("union(variables('object'), createObject('a', 2))", {"a": 2, "b": 1}),
        ("union(variables('object'), createObject('a', createObject('x', 1))).b", 1),
    ],
)
def test_what_does_not_depend_on_it_is_known(expression: str, expected: Any) -> None:
    assert evaluated(expression).plain() == expected
