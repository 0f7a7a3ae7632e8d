"""The outputs of a template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aibemu.arm.evaluate import copies
from aibemu.arm.evaluate.template_scope import TemplateScope
from aibemu.arm.evaluate.types import Types
from aibemu.arm.expressions.frame import Frame, Spot
from aibemu.arm.nodes import Node, NodeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """type as declared; value evaluated. secure: never to be shown."""

    type: str
    value: Node

    @property
    def secure(self) -> bool:
        return self.type.casefold().startswith("secure")


def outputs(scope: TemplateScope) -> Mapping[str, Output]:
    """All whose condition is true, by name."""
    declared = scope.root.find("outputs")
    frame = scope.frame(Spot.OUTPUT)
    types = Types(scope.root.find("definitions"))
    found: dict[str, Output] = {}
    for member in declared.members.values() if declared else ():
        condition = member.value.find("condition")
        if condition is not None and not _wanted(scope, condition, frame):
            continue
        value = types.hidden(scope.kept(_value(scope, member.value)), member.value, scope.work.secrets)
        for problem in types.problems(value, member.value, f"output '{member.key}'"):
            scope.findings.error("X10", problem.span, problem.message, hint=problem.hint)
        found[member.key] = Output(type=types.resolved(member.value).text("type") or "object", value=value)
    return found


def _wanted(scope: TemplateScope, condition: Node, frame: Frame) -> bool:
    """Whether the condition of an output is true, or not known."""
    value = scope.evaluate(condition, frame)
    if value.kind not in (NodeKind.BOOLEAN, NodeKind.UNKNOWN):
        message = f"the condition of an output is true or false, and not {value.kind.value}"
        scope.findings.error("X03", condition.span, message)
    return value.value is not False


def _value(scope: TemplateScope, declaration: Node) -> Node:
    frame = scope.frame(Spot.OUTPUT)
    copy = declaration.find("copy")
    # A loop in an output has no name: copyIndex() without one is what its input uses.
    loop = copies.loop_of(copy, name="of the output") if copy else None
    if loop is not None:
        return copies.array(scope, loop, frame, unnamed=True)
    value = declaration.find("value")
    return scope.evaluate(value, frame) if value else Node(NodeKind.NULL, declaration.span)
