"""One expression, by itself or inside a template."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.arm.evaluate.deployment import open_template
from aibemu.arm.evaluate.deployment_scope import DeploymentScope
from aibemu.arm.evaluate.limits import within_limits
from aibemu.arm.expressions import is_expression
from aibemu.arm.expressions.frame import Frame, Spot
from aibemu.arm.findings import Findings
from aibemu.arm.nodes import Json, Node, NodeKind
from aibemu.arm.places import Places
from aibemu.arm.reader import read
from aibemu.errors import Span, UsageError
from aibemu.submission.request import TemplateRequest
from aibemu.submission.source import TemplateSource, read_source, surroundings
from aibemu.template.documents import is_deployment
from aibemu.template.loader import Inputs
from aibemu.template.unresolved import fill

if TYPE_CHECKING:
    from aibemu.clock import Clock
    from aibemu.paths import Home
    from aibemu.settings import Settings

PLACE = "expression"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionValue:
    """value: plain JSON. secrets: values never to be shown. failed: diagnostics hold an error."""

    value: Json
    diagnostics: tuple[Diagnostic, ...]
    secrets: frozenset[str]

    @property
    def failed(self) -> bool:
        return any(found.severity is Severity.ERROR for found in self.diagnostics)


def evaluate_expression(
    text: str, request: TemplateRequest, *, template: bool, home: Home, settings: Settings, clock: Clock
) -> ExpressionValue:
    """Evaluate as in an output of the template (template: the document is one), where most is allowed.

    Outside of any template it is as in a parameter's default, so that utcNow() and newGuid() can be tried.
    """
    findings = Findings()
    if template:
        source = read_source(request, home=home, settings=settings, clock=clock)
        root = _root(source, findings, request)
    else:
        around = surroundings(request, settings, clock)
        source = TemplateSource(text="{}", file=PLACE, inputs=Inputs(surroundings=around))
        root = Node(NodeKind.OBJECT, Span(file=PLACE, line=1, column=1))
    if not within_limits(root, findings):
        return ExpressionValue(value=None, diagnostics=findings.sorted(), secrets=frozenset())
    scope = _scope(root, source, findings)
    frame = Frame(scope=scope, spot=Spot.OUTPUT if template else Spot.DEFAULT)
    brackets = is_expression(text)
    value = scope.compute(
        text[1:-1] if brackets else text, frame, lambda at: Span(file=PLACE, line=1, column=at + 1 + brackets)
    )
    found = findings.sorted()
    if source.locate is not None:
        found = tuple(replace(one, span=source.locate(one.span)) for one in found)
    return ExpressionValue(
        value=value.shown() if value else None, diagnostics=found, secrets=frozenset(scope.work.secrets)
    )


def _scope(root: Node, source: TemplateSource, findings: Findings) -> DeploymentScope:
    around = source.inputs.surroundings
    assert around is not None
    places = Places({**source.inputs.texts, source.file: source.text})
    return open_template(root, findings, places, around, source.inputs.given, part=True)


def _root(source: TemplateSource, findings: Findings, request: TemplateRequest) -> Node:
    document = read(source.text, source.file, source.inputs.placeholders)
    findings.extend(found for found in document.diagnostics if found.severity is Severity.ERROR)
    root = document.root
    if root is None or not document.reliable or not is_deployment(root):
        raise UsageError(
            f"{request.document.name} is not a deployment template: only one has parameters and variables",
            hint="leave FILE out to evaluate the expression by itself",
        )
    return fill(root, source.inputs.placeholders)[0]
