"""Which API version a template is judged by: the one asked for, the one it says, or the newest."""

from __future__ import annotations

from aibemu.arm.findings import Findings, shorten
from aibemu.arm.nodes import Node, NodeKind
from aibemu.errors import Span, UsageError
from aibemu.suggestions import did_you_mean
from aibemu.template.spec import NEWEST, OLDEST_ACCEPTED, VERSIONS


def version_of(node: Node | None, findings: Findings, *, bare: bool, span: Span) -> str:
    """The API version a resource says; of an unknown one an error, and the newest to go on. span: the resource's."""
    if node is not None and node.kind is not NodeKind.NULL:
        return _known_version(node, findings)
    if bare:
        message = f"the template does not say its api version: {NEWEST} is used"
        findings.note("T04", span, message, hint="choose one with --api-version")
    else:
        findings.error("S02", span, "Missing field 'apiVersion'", hint=f'write "apiVersion": "{NEWEST}"')
    return NEWEST


def _known_version(node: Node, findings: Findings) -> str:
    if node.kind is NodeKind.UNKNOWN:
        findings.note("T04", node.span, f"the api version is not known yet: {NEWEST} is used")
        return NEWEST
    text = str(node.value).lower()
    if text not in VERSIONS:
        message = f"there is no api version '{shorten(str(node.value))}' of image templates"
        every = ", ".join(VERSIONS)
        hint = f"{question} There are {every}" if (question := did_you_mean(text, VERSIONS)) else f"there are {every}"
        findings.error("T05", node.span, message, hint=hint)
        return NEWEST
    if text < OLDEST_ACCEPTED:
        message = f"the service refuses api version {text} since May 2020"
        findings.error("T05", node.span, message, hint=f"use {NEWEST}")
    return text


def check_option(version: str) -> None:
    """Raise UsageError unless --api-version names one that the service takes."""
    if version not in VERSIONS or version < OLDEST_ACCEPTED:
        usable = [known for known in VERSIONS if known >= OLDEST_ACCEPTED]
        question = did_you_mean(version, usable)
        raise UsageError(
            f"--api-version {shorten(version)}: there is no such api version of image templates",
            hint=(f"{question} " if question else "") + f"There are {', '.join(usable)}",
        )
