"""Functions that a template declares: `functions: [{namespace, members: {name: {parameters, output}}}]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aibemu.arm.evaluate.template_scope import TemplateScope
from aibemu.arm.evaluate.types import Types
from aibemu.arm.expressions.errors import ExpressionError, Unknowable
from aibemu.arm.expressions.frame import Frame, Spot
from aibemu.arm.nodes import Node, NodeKind
from aibemu.suggestions import did_you_mean

MAX_CALLS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFunction:
    """names: of its parameters, in order; declarations: of each, in the same order."""

    name: str
    names: tuple[str, ...]
    declarations: tuple[Node, ...]
    output: Node


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
        return result


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
                )
            )
    return found
