"""Functions that a template declares: `functions: [{namespace, members: {name: {parameters, output}}}]`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aibemu.arm.evaluate.template_scope import TemplateScope
from aibemu.arm.evaluate.types import Types
from aibemu.arm.expressions import Access, Call, Expression, is_expression, parse
from aibemu.arm.expressions.errors import ExpressionError, Unknowable
from aibemu.arm.expressions.frame import Frame, Spot
from aibemu.arm.functions import LAZY, find
from aibemu.arm.nodes import Node, NodeKind
from aibemu.suggestions import did_you_mean

MAX_CALLS = 40
# What Azure's engine refuses inside of a template's own function, besides list...() and what is no function.
_NOT_INSIDE = frozenset({
    "reference", "references", "utcnow", "newguid", "copyindex", "tenant", "managementgroup", "pickzones",
    "tologicalzone", "tologicalzones", "tophysicalzone", "tophysicalzones", "externalinput",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFunction:
    """names: of its parameters, in order; declarations: of each, in the same order."""

    name: str
    names: tuple[str, ...]
    declarations: tuple[Node, ...]
    output: Node
    declaration: Node  # of the output: its type


class OwnFunctions:
    """All of one template."""

    def __init__(self, scope: TemplateScope, declared: Node | None) -> None:
        self._scope = scope
        self._known = {
            function.name.casefold(): function
            for namespace in (declared.items if declared else ())
            for function in _functions(namespace)
        }

    def call(self, name: str, arguments: Sequence[Node], depth: int) -> Node:
        """The output of a function. depth: how many are called around it. Raises ExpressionError, or Unknowable."""
        function = self._known.get(name.casefold())
        if function is None:
            question = did_you_mean(name, [known.name for known in self._known.values()])
            hint = question or "functions of the template's own are declared in `functions`"
            raise ExpressionError(f"there is no function '{name}'", id_="X02", hint=hint)
        if len(arguments) != len(function.names):
            message = f"{function.name} takes {len(function.names)} arguments, not {len(arguments)}"
            raise ExpressionError(message, id_="X02")
        if depth >= MAX_CALLS:
            raise ExpressionError(f"{function.name} calls itself, or others that call it, without end")
        if any(argument.kind is NodeKind.UNKNOWN for argument in arguments):
            raise Unknowable
        types = Types(self._scope.root.find("definitions"))
        for label, declaration, argument in zip(function.names, function.declarations, arguments, strict=True):
            problems = types.problems(argument, declaration, label)
            if problems:
                raise ExpressionError(f"{function.name}: {problems[0].message}", id_="X02")
        names = {
            label.casefold(): types.hidden(argument, declaration, self._scope.work.secrets)
            for label, declaration, argument in zip(function.names, function.declarations, arguments, strict=True)
        }
        inner = Frame(scope=self._scope, spot=Spot.FUNCTION, arguments=names, depth=depth + 1)
        result = self._scope.evaluate(function.output, inner)
        if result.kind is NodeKind.UNKNOWN:
            raise Unknowable
        problems = types.problems(result, function.declaration, f"what {function.name} gives")
        if problems:
            raise ExpressionError(problems[0].message, id_="X02")
        return result

    def check(self) -> None:
        """A finding for each function, used or not, that calls what no function of a template may, or itself."""
        calls = {key: set(self._calls(function)) for key, function in self._known.items()}
        for key, function in self._known.items():
            way: set[str] = set()
            open_ = [key]
            while open_:
                following = calls.get(open_.pop(), set()) - way
                way |= following
                open_ += following
            if key in way:
                message = f"{function.name} calls itself, or others that call it"
                self._scope.findings.error("X10", function.output.span, message)

    def _calls(self, function: OwnFunction) -> Iterator[str]:
        """The functions of the template's own that it calls, in lower case."""
        for node in _texts(function.output):
            try:
                called = tuple(calls_in(parse(str(node.value)[1:-1])))
            except ExpressionError as error:
                self._scope.findings.error(error.id, node.span, error.message, hint=error.hint, azure=error.azure)
                continue
            for name in called:
                folded = name.casefold()
                if "." in name:
                    yield folded
                elif folded.startswith("list") or folded in _NOT_INSIDE or not _is_function(folded):
                    message = f"{function.name} calls {name}, which no function of a template may"
                    hint = "call it where the function is used, and hand its value in"
                    self._scope.findings.error("X10", node.span, message, hint=hint)


def _is_function(name: str) -> bool:
    return name in LAZY or name == "lambda" or find(name) is not None


def _texts(node: Node) -> Iterator[Node]:
    """The expressions in a value."""
    if node.kind is NodeKind.STRING and is_expression(str(node.value)):
        yield node
    for inner in (*node.items, *(member.value for member in node.members.values())):
        yield from _texts(inner)


def calls_in(expression: Expression) -> Iterator[str]:
    """The names of all functions that an expression calls, as they are written."""
    if isinstance(expression, Call):
        yield expression.name
        for argument in expression.arguments:
            yield from calls_in(argument)
    elif isinstance(expression, Access):
        yield from calls_in(expression.base)
        yield from calls_in(expression.key)


def _functions(namespace: Node) -> list[OwnFunction]:
    prefix = namespace.text("namespace") or ""
    members = namespace.find("members")
    found = []
    for member in members.members.values() if members else ():
        output = member.value.find("output")
        value = output.find("value") if output else None
        parameters = member.value.find("parameters")
        entries = parameters.items if parameters else ()
        if value is not None:
            found.append(
                OwnFunction(
                    name=f"{prefix}.{member.key}",
                    names=tuple(entry.text("name") or "" for entry in entries),
                    declarations=tuple(entries),
                    output=value,
                    declaration=output if output is not None else value,
                )
            )
    return found
