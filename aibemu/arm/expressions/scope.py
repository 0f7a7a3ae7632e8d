"""What an expression may ask: of its template (Scope), and of what evaluates it (Evaluator).

`arm.evaluate` implements both. The functions of the language know nothing else of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from aibemu.arm.expressions.secrets import Secrets
from aibemu.arm.expressions.surroundings import Surroundings
from aibemu.arm.expressions.syntax import Expression
from aibemu.arm.nodes import Node
from aibemu.errors import Span


class Scope(Protocol):
    """One template, as its expressions see it."""

    @property
    def surroundings(self) -> Surroundings:
        """The Azure around the template."""
        ...

    @property
    def secrets(self) -> Secrets:
        """What must not be shown of all that is evaluated."""
        ...

    @property
    def above_groups(self) -> bool:
        """True for a deployment into a subscription or above it."""
        ...

    def group(self) -> dict[str, Any]:
        """What resourceGroup() gives, as JSON; values may be Nodes."""
        ...

    def spend(self) -> None:
        """Count one call of a function. Raises ExpressionError when the template needs too many."""
        ...

    def weigh(self, node: Node, *, worked_on: bool = False) -> None:
        """Raises ExpressionError when a value is too large to be used. worked_on: a function gets or makes it."""
        ...

    def parameter(self, name: str) -> Node:
        """The value of a parameter, in any case. Raises ExpressionError when there is none of that name."""
        ...

    def variable(self, name: str) -> Node:
        """The value of a variable, in any case. Raises ExpressionError when there is none of that name."""
        ...

    def deployment(self) -> dict[str, Any]:
        """What deployment() gives, as JSON."""
        ...

    def refer(self, target: str, *, whole: bool) -> Node | None:
        """What reference() gives for a resource that this template declares; None when only Azure knows. whole: all of
        the resource, not its properties alone."""
        ...

    def refer_all(self, target: str, *, whole: bool) -> list[Node] | None:
        """What references() gives for a copy loop by its symbolic name; None when there is no such loop."""
        ...

    def call_own(self, name: str, arguments: Sequence[Node], depth: int) -> Node:
        """Call a function that the template declares, `namespace.name`. depth: how many of them are being called around
        this one. Raises ExpressionError, or Unknowable."""
        ...


class Evaluator(Protocol):
    """The interpreter, for functions that decide which of their arguments are evaluated."""

    def value(self, expression: Expression) -> Node:
        """The value of an argument. Raises ExpressionError, or Unknowable."""
        ...

    def place(self, offset: int) -> Span:
        """Where in the file the character of the expression's text stands, counted from 0."""
        ...
