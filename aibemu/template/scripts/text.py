"""Rules that need no grammar: secrets, braces that Packer renders, a byte-order mark."""

from __future__ import annotations

import re

from aibemu.template.remote import Files
from aibemu.template.rule_context import RuleContext
from aibemu.template.scripts.judge import Check, Judge
from aibemu.template.view import NodeView

_SECRETS = (
    ("the signature of a SAS address", re.compile(r"[?&]sig=(?P<secret>[A-Za-z0-9%+/=]{20,})")),
    ("an account key", re.compile(r"AccountKey=(?P<secret>[A-Za-z0-9+/=]{20,})")),
    ("a GitHub token", re.compile(r"\b(?P<secret>gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})")),
    ("a bearer token", re.compile(r"[Bb]earer\s+(?P<secret>[A-Za-z0-9._~+/-]{20,})")),
    ("a private key", re.compile(r"(?P<secret>-----BEGIN [A-Z ]*PRIVATE KEY-----)")),
    (
        "a password",
        re.compile(
            r"(?i)(?:^|[\s;&?\"'-])[\w-]*(?:password|passwd|secret|api[_-]?key)=[\"']?"
            r"(?P<secret>[^\s\"'$<>{}%()`*;&|]{6,})"
        ),
    ),
)
_BRACES = re.compile(r"\{\{.*?\}\}")


def check_secrets(judge: Judge) -> None:
    """W45: a template is stored, shown and logged. The message never holds the secret."""
    if not judge.script.inline:
        return
    for what, pattern in _SECRETS:
        for match in pattern.finditer(judge.script.text):
            message = f"this looks like {what}: whoever may read the template or the build's log sees it"
            hint = "fetch it in the script from a key vault, with an identity of vmProfile.userAssignedIdentities"
            judge.warn("W45", match.start("secret"), message, hint)


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
    if step.text("type") == "Shell" and remote and remote.head.startswith(b"\xef\xbb\xbf"):
        message = f"{remote.place} begins with a byte-order mark: its first line is then no `#!` line"
        context.findings.warning("W46", step.at("scriptUri"), message, path=step.path, hint="save it without the mark")
