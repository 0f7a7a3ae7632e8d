"""Copy loops: `copy` in variables, in properties and in outputs makes arrays; on a resource it makes resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aibemu.arm.evaluate.limits import MOST_TURNS
from aibemu.arm.evaluate.template_scope import TemplateScope
from aibemu.arm.evaluate.work import MAX_WORK
from aibemu.arm.expressions import is_expression
from aibemu.arm.expressions.frame import Frame
from aibemu.arm.nodes import Node, NodeKind
from aibemu.errors import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One loop as declared; input: what is made each turn (None for a loop of resources)."""

    name: str
    span: Span
    count: Node
    input: Node | None


def loop_of(node: Node, name: str | None = None) -> Loop | None:
    """A loop of `{name, count, input}`; None when it is none. name: instead of its own, for one that ARM takes for
    nameless."""
    own = node.text("name") if name is None else name
    count = node.find("count")
    if node.kind is not NodeKind.OBJECT or own is None or count is None:
        return None
    return Loop(name=own, span=node.span, count=count, input=node.find("input"))


def loops_in(node: Node) -> list[Loop] | None:
    """The loops of the value of `copy` inside an object; None when that is an ordinary property of this name."""
    found = [loop_of(item) for item in node.items]
    loops = [loop for loop in found if loop is not None and loop.input is not None]
    return loops if node.kind is NodeKind.ARRAY and len(loops) == len(node.items) else None


def loops_of(around: Node) -> Mapping[str, Loop]:
    """The loops of an object, by their names in lower case."""
    copy = around.find("copy")
    return {loop.name.casefold(): loop for loop in loops_in(copy) or ()} if copy else {}


def name_of(scope: TemplateScope, loop: Loop, frame: Frame) -> str:
    """The name of a loop, which may be an expression; as it is written when it has no value."""
    if not is_expression(loop.name):
        return loop.name
    name = scope.evaluate(Node(NodeKind.STRING, loop.span, loop.name), frame)
    return str(name.value) if name.kind is NodeKind.STRING else loop.name


def turns(scope: TemplateScope, loop: Loop, frame: Frame) -> range | None:
    """The turns of a loop; None when their number is not known, or not allowed (and that is said)."""
    count = scope.evaluate(loop.count, frame)
    if count.kind is NodeKind.UNKNOWN:
        return None
    if count.kind is not NodeKind.NUMBER or not isinstance(count.value, int) or not 0 <= count.value <= MOST_TURNS:
        shown = count.value if count.kind in (NodeKind.NUMBER, NodeKind.STRING) else count.kind.value
        message = f"the count of the loop '{loop.name}' must be a whole number from 0 to {MOST_TURNS}, not {shown}"
        scope.findings.error("X03", loop.count.span, message)
        return None
    if not scope.work.afford(count.value):
        message = f"the template needs more than {MAX_WORK} function calls and turns of loops to evaluate"
        scope.findings.error("X03", loop.count.span, message)
        return None
    return range(count.value)


def array(scope: TemplateScope, loop: Loop, frame: Frame, *, unnamed: bool = False) -> Node:
    """The array that a loop makes. unnamed: it is that of an output, which copyIndex() without a name counts."""
    if loop.input is not None and not unnamed and _holds_loops(loop.input):
        message = f"the loop '{loop.name}' has a loop inside of it: ARM takes none there"
        scope.findings.error("X03", loop.span, message, hint="make the inner array with map() and range()")
        return Node(NodeKind.UNKNOWN, loop.span, loop.name)
    found = turns(scope, loop, frame)
    if found is None or loop.input is None:
        return Node(NodeKind.UNKNOWN, loop.span, loop.name)
    turn = frame.resource_turn if unnamed else frame.turn
    evaluate = scope.value_of if not unnamed else scope.evaluate
    made = tuple(evaluate(loop.input, turn(loop.name, index)) for index in found)
    return Node(NodeKind.ARRAY, loop.span, items=made)


def _holds_loops(node: Node) -> bool:
    """True where an object inside of the value has loops."""
    if node.kind is NodeKind.ARRAY:
        return any(map(_holds_loops, node.items))
    return any(
        (key.casefold() == "copy" and bool(loops_in(member.value))) or _holds_loops(member.value)
        for key, member in node.members.items()
    )
