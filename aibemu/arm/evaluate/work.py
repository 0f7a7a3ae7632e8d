"""What all templates of one evaluation share: the findings, the places, the secrets, and how much work is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from aibemu.arm.expressions import ExpressionError
from aibemu.arm.expressions.secrets import Secrets
from aibemu.arm.findings import Findings
from aibemu.arm.nodes import Node
from aibemu.arm.places import Places

MAX_WORK = 100_000
# What a nested template counts for.
OF_A_TEMPLATE = 50
# A template that is expanded may have 4 MB in ARM. What one value may weigh (`Work.weight`), and all that is made of a
# template together: values hold the same values again and again, and printed each of them counts.
MAX_WEIGHT = 16 << 20
MAX_TOTAL = 64 << 20
# What all that functions get and make may weigh together, of what weighs something: each is walked through.
MAX_HANDLED = 256 << 20
_LIGHT = 64 << 10
# Of a value besides the letters in it.
_OF_A_VALUE = 16
ONLY_AZURE_KNOWS = "X07"


@dataclass(slots=True, kw_only=True)
class Work:
    """What the templates of one evaluation have in common."""

    findings: Findings  # where findings go at the moment
    places: Places
    secrets: Secrets = field(default_factory=Secrets)
    groups: dict[str, Mapping[str, Node]] = field(default_factory=dict)  # what is found of resource groups, by id
    seeking: bool = False  # while a resource group is looked for
    left: int = field(
        default_factory=lambda: MAX_WORK
    )  # calls of functions, and turns of loops, until the template needs too many
    made: int = 0  # what weighs all that was made: resources and outputs
    handled: int = 0  # what weighs all that functions get and make
    weights: dict[int, tuple[Node, int]] = field(default_factory=dict)  # of arrays and objects, by their identity

    @contextmanager
    def without_azure(self) -> Iterator[None]:
        """Inside, what only Azure knows is no error: the value is unknown, and nothing needs it yet."""
        main, self.findings = self.findings, Findings()
        try:
            yield
        finally:
            aside, self.findings = self.findings, main
            main.extend(found for found in aside.sorted() if found.id != ONLY_AZURE_KNOWS)

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """Inside, nothing that goes wrong is told: what is evaluated will not be deployed."""
        main, self.findings = self.findings, Findings()
        try:
            yield
        finally:
            self.findings = main

    def spend(self) -> None:
        """Count one call. Raises ExpressionError when it is too much: no real template comes near it."""
        if not self.afford(1):
            raise ExpressionError(f"the template needs more than {MAX_WORK} function calls to evaluate")

    def afford(self, count: int) -> bool:
        """Count calls, or turns of a loop. False when that is too much."""
        self.left -= count
        return self.left >= 0

    def weigh(self, node: Node, *, worked_on: bool = False) -> None:
        """Raises ExpressionError for a value that is too large: it holds others that hold others, over and over.
        worked_on: a function gets or makes it, which costs work; also for too much of that."""
        weight = self.weight(node)
        if weight > MAX_WEIGHT:
            raise ExpressionError(f"the value is too large: written out it has more than {MAX_WEIGHT >> 20} MiB")
        self.handled += weight if worked_on and weight > _LIGHT else 0
        if self.handled > MAX_HANDLED:
            raise ExpressionError(f"the template has functions work on more than {MAX_HANDLED >> 20} MiB")

    def keep(self, node: Node) -> bool:
        """Count what is made of the template. False when that is too much."""
        self.made += self.weight(node)
        return self.made <= MAX_TOTAL

    def weight(self, node: Node) -> int:
        """How much it is when it is written out, in bytes, roughly."""
        if not (node.items or node.members):
            return _OF_A_VALUE + (len(node.value) if isinstance(node.value, str) else 0)
        if known := self.weights.get(id(node)):
            return known[1]
        total = _OF_A_VALUE + sum(map(self.weight, node.items))
        total += sum(len(key) + self.weight(member.value) for key, member in node.members.items())
        self.weights[id(node)] = (node, total)  # kept with it, so that no other one gets its identity
        return total
