"""The catalogue: what each kind of finding means, why it matters, and an example of either side.

`aibemu explain`, the page docs/rules.md and SARIF reports are made from it; checking a template does not import it.
The letter of an id says what a finding usually is: E what the service refuses or what fails, W what is likely trouble
(facts: service 7.2), J not JSON, X expressions and parameters, S against the schema, T what the file is, P plugins,
L suppressions. The severity of a finding is its own.
"""

from __future__ import annotations

from aibemu.template.catalogue import expressions, machine, places, scripts, steps, suppressions, text, windows
from aibemu.template.catalogue.model import Example, Rule

# As people read them: what the file is, what is in it, where it goes.
RULES: tuple[Rule, ...] = (
    *text.RULES,
    *expressions.RULES,
    *steps.RULES,
    *scripts.RULES,
    *windows.RULES,
    *places.RULES,
    *machine.RULES,
    *suppressions.RULES,
)


def find(id_: str) -> Rule | None:
    """The rule of an id, in any case."""
    return next((rule for rule in RULES if rule.id == id_.upper()), None)


__all__ = ["RULES", "Example", "Rule", "find"]
