"""What is wrong with a template, all of it at once, each with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from aibemu.errors import AibemuError, Span


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding. `id` is stable (E20, W27...); `path` is the service's way to say where, e.g.
    `ImageTemplate.properties.customize[1]`; `hint` says what to do;
    `azure` is what Azure's own engine says of it, where that is known: people search for it."""

    id: str
    severity: Severity
    message: str
    span: Span
    path: str = ""
    hint: str | None = None
    azure: str | None = None

    def __str__(self) -> str:
        return f"{self.span}: {self.severity.value} {self.id}: {self.message}"


class TemplateInvalid(AibemuError):
    """The template has errors; `diagnostics` holds every finding, warnings included, in the order of the file. secrets:
    values of secure parameters, which must not be shown with the lines of the file. texts: of places that are no file.
    """

    code = "TEMPLATE_INVALID"
    category = "TEMPLATE"
    exit_code = 3
    verdict: ClassVar[str] = "the template is not valid"

    def __init__(
        self,
        diagnostics: Sequence[Diagnostic],
        secrets: frozenset[str] = frozenset(),
        texts: Mapping[str, str] | None = None,
    ) -> None:
        self.diagnostics = tuple(diagnostics)
        self.secrets = secrets
        self.texts = texts or {}
        errors = [d for d in self.diagnostics if d.severity is Severity.ERROR]
        first = errors[0] if errors else None
        count = f"{len(errors)} error{'s' if len(errors) != 1 else ''}"
        super().__init__(
            f"the template has {count}", details=[str(d) for d in self.diagnostics], span=first.span if first else None
        )


class ExpressionInvalid(TemplateInvalid):
    """An expression by itself that has no value."""

    code = "EXPRESSION_INVALID"
    verdict = "the expression has no value"
