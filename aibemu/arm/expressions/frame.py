"""Where an expression stands: which template, which turn of which loop, which values of a lambda."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from aibemu.arm.expressions.scope import Scope
from aibemu.arm.nodes import Node


class Spot(Enum):
    """The part of a template that an expression is in: some functions are only allowed in some of them."""

    DEFAULT = auto()  # the default value of a parameter
    VARIABLE = auto()
    RESOURCE = auto()
    START = auto()  # what of a resource has to be known before anything is deployed: name, type, condition, count
    OUTPUT = auto()
    FUNCTION = auto()  # inside a function of the template's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where one expression stands. Names of loops, variables and arguments are in lower case."""

    scope: Scope  # the template
    spot: Spot
    copies: Mapping[str, int] = field(default_factory=dict)  # loop -> its turn, from 0
    loop: str | None = None  # the one that copyIndex() without a name counts: of the resource, or of the output
    lambdas: Mapping[str, Node] = field(default_factory=dict)  # values of lambda variables
    arguments: Mapping[str, Node] = field(default_factory=dict)  # of the template's own function that is being called
    depth: int = 0  # how many functions of the template's own are being called around this

    def turn(self, loop: str, index: int) -> Frame:
        """Inside one turn of a loop of a property or a variable, which only its name tells."""
        return replace(self, copies={**self.copies, loop.casefold(): index})

    def resource_turn(self, loop: str, index: int) -> Frame:
        """Inside one turn of a loop of resources, or of an output. In a nested template with the outer scope,
        expressions are their parent's: so is what copyIndex() without a name counts."""
        return replace(self.turn(loop, index), loop=self.loop or loop.casefold())

    def bound(self, names: Mapping[str, Node]) -> Frame:
        """Inside a lambda."""
        return replace(self, lambdas={**self.lambdas, **{name.casefold(): node for name, node in names.items()}})
