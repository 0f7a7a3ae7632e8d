"""Placeholders of tools that fill a file before it is deployed: what they look like, and whose they are.

aibemu fills only `<name>`; of these it says what they are. In the text of a script they are the shell's own.
"""

from __future__ import annotations

import re

_NAME = r"\s*[A-Za-z_][\w .:/|-]{0,80}"
_TOOLS = (
    (rf"#\{{{_NAME}\}}#", "Replace Tokens of Azure Pipelines"),
    (rf"#\{{{_NAME}\}}", "Octopus Deploy"),
    (rf"\$\{{\{{{_NAME}\}}\}}", "GitHub Actions or Azure Pipelines"),
    (rf"\$\({_NAME}\)", "Azure Pipelines"),
    (rf"\$\{{{_NAME}\}}", "envsubst or Terraform"),
    (rf"\{{\{{{_NAME}\}}\}}", "Jinja, Helm or Packer"),
)
FOREIGN = re.compile("|".join(pattern for pattern, _ in _TOOLS))


def foreign_placeholders(text: str) -> list[str]:
    """Those in a text, as they are written."""
    return FOREIGN.findall(text) if "{" in text or "$(" in text else []


def of_tool(placeholder: str) -> tuple[str, str]:
    """Whose it is, and what to do with it."""
    tool = next((tool for pattern, tool in _TOOLS if re.fullmatch(pattern, placeholder)), "a tool of your pipeline")
    return tool, "let that tool fill in the file first, and check what it wrote; aibemu fills only <name> (--set)"
