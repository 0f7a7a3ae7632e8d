"""Rules that need no grammar: secrets, braces that Packer renders, a byte-order mark."""

from __future__ import annotations

import re

from aibemu.template.remote import Files
from aibemu.template.rule_context import RuleContext
from aibemu.template.scripts.judge import Check, Judge
from aibemu.template.scripts.secrets import check_secrets
from aibemu.template.view import NodeView

MARK = b"\xef\xbb\xbf"
_BRACES = re.compile(r"\{\{.*?\}\}")


def check_braces(judge: Judge) -> None:
    """W37: Packer renders `{{ }}` in inline commands as its own templates."""
    if not judge.script.inline:
        return
    for match in _BRACES.finditer(judge.script.text):
        message = (
            "`{{ }}` in inline text: Packer takes that for a template of its own; "
            "whether the service escapes it is not known"
        )
        judge.warn("W37", match.start(), message, "put the text into a file, and use scriptUri or a File customizer")


CHECKS: tuple[Check, ...] = (check_secrets, check_braces)


def check_marks(step: NodeView, files: Files, context: RuleContext) -> None:
    """W46: after a byte-order mark the kernel does not see the `#!`."""
    uri = step.text("scriptUri") or ""
    remote = files.get(uri)
    if step.text("type") == "Shell" and remote and remote.head.startswith(MARK):
        message = f"{remote.place} begins with a byte-order mark: its first line is then no `#!` line"
        context.findings.warning("W46", step.at("scriptUri"), message, path=step.path, hint="save it without the mark")
