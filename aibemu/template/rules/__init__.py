"""Rules that look at more than one field (facts: service 3, 7.2). Each is a function of the checked resource.

A rule judges only what it can see: absent, unresolved and mistyped values are findings of the validator.
"""

from __future__ import annotations

from collections.abc import Callable

from aibemu.template import rule_parts as parts
from aibemu.template.rule_context import Beside, RuleContext
from aibemu.template.rules import (
    deployment,
    destinations,
    distribute,
    files,
    machine,
    regions,
    resource,
    source,
    steps,
    updates,
    windows,
)
from aibemu.template.view import NodeView

Check = Callable[[NodeView, RuleContext], None]

CHECKS: tuple[Check, ...] = (
    *resource.CHECKS,
    *source.CHECKS,
    *steps.CHECKS,
    *destinations.CHECKS,
    *files.CHECKS,
    *windows.CHECKS,
    *updates.CHECKS,
    *distribute.CHECKS,
    *regions.CHECKS,
    *deployment.CHECKS,
    *machine.CHECKS,
)


def apply(template: NodeView, context: RuleContext) -> None:
    """Run every rule; findings go to `context.findings`."""
    for check in CHECKS:
        check(template, context)
    if any(step.has("inline") or step.has("scriptUri") for step in parts.steps_of(template)):
        # Parsers are imported only when there is something to parse.
        from aibemu.template.scripts.rules import check

        check(template, context)


# The other resources of a deployment that rules look at, by type in lower case.
BESIDE = deployment.TYPES | {regions.GALLERY}

__all__ = ["BESIDE", "CHECKS", "Beside", "Check", "RuleContext", "apply"]
