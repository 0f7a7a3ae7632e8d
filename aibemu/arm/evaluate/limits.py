"""What ARM takes at most in one template (Microsoft Learn, "Template limits"; asked of its engine)."""

from __future__ import annotations

from aibemu.arm.findings import Findings
from aibemu.arm.nodes import Node

MOST = {"parameters": 256, "variables": 512, "resources": 800, "outputs": 64}
MOST_FUNCTIONS = 64  # of a template's own, in all its namespaces
MOST_PARAMETERS_OF_A_FUNCTION = 32
MOST_TURNS = 800  # of one loop
MOST_CHARACTERS = 131_072  # of the text that a function gives
MOST_NESTED = 5  # levels of nested deployments (Microsoft Learn; the engine does not count them)


def within_limits(template: Node, findings: Findings) -> bool:
    """False, and a finding, for a template that has more: ARM refuses it whole, and so nothing of it is evaluated."""
    for part, most in MOST.items():
        node = template.find(part)
        count = len(node.items or node.members) if node is not None else 0
        if node is not None and count > most:
            message = f"the template has {count} {part}, and ARM takes {most} at most"
            findings.error("X03", node.span, message, hint="make several templates of it, or arrays and objects")
            return False
    return _functions_within_limits(template.find("functions"), findings)


def _functions_within_limits(functions: Node | None, findings: Findings) -> bool:
    count = 0
    for space in functions.items if functions is not None else ():
        members = space.find("members")
        for member in members.members.values() if members is not None else ():
            count += 1
            parameters = member.value.find("parameters")
            if parameters is not None and len(parameters.items) > MOST_PARAMETERS_OF_A_FUNCTION:
                message = (
                    f"the function '{member.key}' has {len(parameters.items)} parameters, and ARM takes "
                    f"{MOST_PARAMETERS_OF_A_FUNCTION} at most"
                )
                findings.error("X03", parameters.span, message, hint="hand it an object")
                return False
    if functions is not None and count > MOST_FUNCTIONS:
        message = f"the template has {count} functions of its own, and ARM takes {MOST_FUNCTIONS} at most"
        findings.error("X03", functions.span, message, hint="make several templates of it")
        return False
    return True
