"""Deployment templates for tests: made of Python values, evaluated, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aibemu.arm.diagnostics import Diagnostic
from aibemu.arm.evaluate.deployment import Evaluated, evaluate, open_template
from aibemu.arm.evaluate.deployment_scope import DeploymentScope
from aibemu.arm.evaluate.parameters import Given
from aibemu.arm.expressions.frame import Frame, Spot
from aibemu.arm.expressions.surroundings import Surroundings
from aibemu.arm.findings import Findings
from aibemu.arm.nodes import Node, NodeKind
from aibemu.arm.places import Places
from aibemu.arm.reader import read
from aibemu.errors import Span

FILE = "t.json"
SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
TYPE = "Microsoft.VirtualMachineImages/imageTemplates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """text: the template's; evaluated: what came of it."""

    text: str
    scope: DeploymentScope
    evaluated: Evaluated
    findings: tuple[Diagnostic, ...]

    @property
    def resources(self) -> list[Any]:
        return [node.known() for node in self.evaluated.resources]

    @property
    def outputs(self) -> dict[str, Any]:
        return {name: output.value.known() for name, output in self.evaluated.outputs.items()}

    @property
    def errors(self) -> list[str]:
        """`id: message` of each finding."""
        return [f"{found.id}: {found.message}" for found in self.findings]

    def under(self, found: Diagnostic) -> str:
        """The text from the place of a finding on, to the end of its line."""
        return self.text.split("\n")[found.span.line - 1][found.span.column - 1 :]


def given_of(values: Mapping[str, Any], *, raw: bool = False) -> dict[str, Given]:
    """Parameters as from a file, or (raw) as text of a command line."""
    found = {}
    for name, value in values.items():
        span = Span(file="parameters", line=1, column=1)
        root = read(json.dumps(value), "parameters").root
        assert root is not None
        node = Node(NodeKind.STRING, span, value) if raw else root
        found[name.casefold()] = Given(name=name, span=span, node=node, raw=raw)
    return found


def framed(template: Mapping[str, Any]) -> dict[str, Any]:
    """The template with what ARM wants around one, and those nested in it, where the test says nothing of that."""
    resources = template.get("resources", [])
    named = isinstance(resources, dict) and bool(resources)
    return {
        "$schema": SCHEMA, "contentVersion": "1.0.0.0", **({"languageVersion": "2.0"} if named else {}), **template,
        "resources": {key: _framed(one) for key, one in resources.items()} if isinstance(resources, dict)
        else [_framed(one) for one in resources] if isinstance(resources, list) else resources,
    }  # fmt: skip


def _framed(resource: Any) -> Any:
    """A resource; the template of a nested deployment has its frame."""
    if not isinstance(resource, dict):
        return resource
    properties = resource.get("properties")
    template = properties.get("template") if isinstance(properties, dict) else None
    deployment = str(resource.get("type")).casefold() == "microsoft.resources/deployments"
    if deployment and isinstance(template, dict):
        resource = {**resource, "properties": {**resource["properties"], "template": framed(template)}}
    return {"apiVersion": "2024-01-01", **resource}


def build(
    template: Mapping[str, Any], given: Mapping[str, Given] | None = None, around: Surroundings | None = None
) -> Result:  # fmt: skip
    """Evaluate a template."""
    text = json.dumps(framed(template), indent=1)
    findings = Findings()
    document = read(text, FILE)
    assert document.root is not None
    assert not document.diagnostics
    scope = open_template(document.root, findings, Places({FILE: text}), around or Surroundings(), given or {})
    evaluated = evaluate(scope)
    return Result(text=text, scope=scope, evaluated=evaluated, findings=findings.sorted())


def value(expression: str, template: Mapping[str, Any] | None = None, spot: Spot = Spot.OUTPUT) -> Any:
    """The value of one expression (the brackets included); fails when there is a finding."""
    result = build(template or {})
    node = Node(NodeKind.STRING, Span(file="-", line=1, column=1), expression)
    found = result.scope.evaluate(node, Frame(scope=result.scope, spot=spot))
    assert not result.scope.findings.sorted(), result.scope.findings.sorted()
    return found.plain()


def error(expression: str, template: Mapping[str, Any] | None = None, spot: Spot = Spot.OUTPUT) -> Diagnostic:
    """The one finding of an expression that has no value."""
    result = build(template or {})
    node = Node(NodeKind.STRING, Span(file="-", line=1, column=1), expression)
    found = result.scope.evaluate(node, Frame(scope=result.scope, spot=spot))
    assert found.kind is NodeKind.UNKNOWN
    (diagnostic,) = result.scope.findings.sorted()
    return diagnostic


def image_template(**changes: Any) -> dict[str, Any]:
    """A resource that is an image template, as far as the evaluator cares."""
    return {"type": TYPE, "apiVersion": "2024-02-01", "name": "web", "location": "here", "properties": {}, **changes}
