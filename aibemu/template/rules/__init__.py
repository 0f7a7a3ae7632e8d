"""Rules that look at more than one field (facts: service 3, 7.2). Each is a function of the checked resource.

A rule judges only what it can see: absent, unresolved and mistyped values are somebody else's finding.
"""

from __future__ import annotations

from collections.abc import Callable

from aibemu.template.rules import distribute, resource, source, steps
from aibemu.template.rules.context import Context
from aibemu.template.view import View

Rule = Callable[[View, Context], None]

RULES: tuple[Rule, ...] = (*resource.RULES, *source.RULES, *steps.RULES, *distribute.RULES)


def apply(template: View, context: Context) -> None:
    """Run every rule; findings go to `context.findings`."""
    for rule in RULES:
        rule(template, context)


__all__ = ["RULES", "Context", "Rule", "apply"]
