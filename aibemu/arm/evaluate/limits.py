"""What ARM takes at most in one template, by the parts of it (Microsoft Learn, "Template limits")."""

from __future__ import annotations

from aibemu.arm.findings import Findings
from aibemu.arm.nodes import Node

MOST = {"parameters": 256, "variables": 512, "resources": 800, "outputs": 64}


def within_limits(template: Node, findings: Findings) -> bool:
    """False, and a finding, for a template that has more: ARM refuses it whole, and so nothing of it is evaluated."""
    for part, most in MOST.items():
        node = template.find(part)
        count = len(node.items or node.members) if node is not None else 0
        if node is not None and count > most:
            message = f"the template has {count} {part}, and ARM takes {most} at most"
            findings.error("X03", node.span, message, hint="make several templates of it, or arrays and objects")
            return False
    return True
