"""What Azure's own engine answered (fixtures/engine-answers), and what aibemu answers to the same expression."""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibemu.arm.evaluate.deployment import open_template
from aibemu.arm.evaluate.interpreter import Interpreter
from aibemu.arm.expressions import ExpressionError, Unknowable, parse
from aibemu.arm.expressions.frame import Frame, Spot
from aibemu.arm.expressions.surroundings import Surroundings
from aibemu.arm.findings import Findings
from aibemu.arm.nodes import Node, NodeKind
from aibemu.arm.places import Places
from aibemu.errors import Span

ANSWERS = Path(__file__).parents[4] / "fixtures" / "engine-answers"
HERE = Span(file="-", line=1, column=1)
AROUND = Surroundings(
    subscription_id="11111111-1111-1111-1111-111111111111",
    tenant_id="22222222-2222-2222-2222-222222222222",
    resource_group="rg",
    location="westeurope",
    deployment_name="dep",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """kind: `value`, `error`, or `kept`, as Azure is needed. what: the value, or a message: ours is `azure`."""

    kind: str
    what: Any = None
    azure: str | None = None

    def as_engine(self, other: Answer) -> bool:
        """True for the same value, or for two refusals."""
        return self.kind == other.kind and (self.kind != "value" or same(self.what, other.what))


def recorded(name: str) -> dict[str, Answer]:
    """The answers of a file, by expression."""
    rows = json.loads(lzma.decompress((ANSWERS / f"{name}.json.xz").read_bytes()))
    return {expression: Answer(kind=kind, what=what) for expression, kind, what in rows}


def ours(expression: str) -> Answer:
    """As the value of a property of a resource."""
    scope = open_template(Node(NodeKind.OBJECT, HERE), Findings(), Places({}), AROUND, {})
    try:
        value = Interpreter(Frame(scope=scope, spot=Spot.RESOURCE), lambda at: HERE).value(parse(expression))
    except ExpressionError as error:
        kind = "kept" if error.id == "X07" else "error"
        return Answer(kind=kind, what=error.message, azure=error.azure)
    except Unknowable:
        return Answer(kind="kept")
    return Answer(kind="value", what=value.plain())


def same(left: Any, right: Any) -> bool:
    """Equal to the type, and members in the same order."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)
