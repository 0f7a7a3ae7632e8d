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
ONLY_AZURE_KNOWS = "X07"


@dataclass(slots=True, kw_only=True)
class Work:
    """What the templates of one evaluation have in common."""

    findings: Findings  # where findings go at the moment
    places: Places
    secrets: Secrets = field(default_factory=Secrets)
    groups: dict[str, Mapping[str, Node]] = field(default_factory=dict)  # what is found of resource groups, by id
    seeking: bool = False  # while a resource group is looked for
    left: int = MAX_WORK  # calls of functions until the template needs too many

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
        self.left -= 1
        if self.left < 0:
            raise ExpressionError(f"the template needs more than {MAX_WORK} function calls to evaluate")
