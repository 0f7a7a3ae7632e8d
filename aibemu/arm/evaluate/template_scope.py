"""What the parts of a template (parameters, loops, functions, resources, outputs) ask of their template."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from aibemu.arm.evaluate.work import Work
from aibemu.arm.expressions.frame import Frame, Spot
from aibemu.arm.expressions.scope import Scope
from aibemu.arm.findings import Findings
from aibemu.arm.nodes import Node


class TemplateScope(Scope, Protocol):
    """One template, as its parts see it: what expressions may ask, and how a value of the template is evaluated."""

    @property
    def root(self) -> Node:
        """The template as it is written."""
        ...

    @property
    def work(self) -> Work:
        """What all templates of this evaluation share."""
        ...

    @property
    def findings(self) -> Findings:
        """Where findings go at the moment."""
        ...

    @property
    def target_scope(self) -> str:
        """The id of the resource group or subscription that resources are deployed into."""
        ...

    def frame(self, spot: Spot) -> Frame:
        """Where an expression outside of any loop stands."""
        ...

    def before(self, frame: Frame) -> Frame:
        """The place of what must be known before anything is deployed (name, type, condition, count)."""
        ...

    def evaluate(self, node: Node, frame: Frame) -> Node:
        """The tree without expressions; what goes wrong is a finding, and the value unknown."""
        ...

    def value_of(self, node: Node, frame: Frame) -> Node:
        """Like `evaluate`, of what the parent of a template with the outer scope has evaluated already."""
        ...

    def as_handed_down(self, node: Node) -> Node:
        """A part of the template as its parent hands it down: evaluated by it, for a template with the outer scope."""
        ...

    def kept(self, node: Node) -> Node:
        """What was made of a part of the template, unless that is too much in all: then it is not known, which is
        told."""
        ...

    def once(self, what: str, make: Callable[[], Node]) -> Node:
        """Evaluate something that others may ask for meanwhile. what: its name in the message about a circle, which is
        an ExpressionError."""
        ...
