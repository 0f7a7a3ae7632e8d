"""Scripts that the rules do not judge, or not to their end: it is said, for silence would be taken for praise."""

from __future__ import annotations

from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import SCRIPT_KINDS, steps_of
from aibemu.template.scripts.judge import Judge
from aibemu.template.scripts.model import Dialect
from aibemu.template.view import NodeView

_HINT = "the rules about its commands say nothing here: read it yourself; an installed shellcheck is asked all the same"
_HINT_FILE = "nothing is said about its commands: read it yourself"
_IDS = {"Shell": "W31", "PowerShell": "W63"}


def check_parsed(judge: Judge) -> None:
    """W31: what takes too long to be read. PowerShell says so where it is read (`powershell_silent`)."""
    if judge.script.dialect is not Dialect.POWERSHELL and judge.parsed.given_up:
        judge.note("W31", 0, "this script is not checked: its text takes the parser too long", _HINT)


def check_files(resource: NodeView, context: RuleContext) -> None:
    """W31, W63: a file that is there, and whose text is not known."""
    for step in steps_of(resource):
        kind = step.text("type") or ""
        remote = context.files.get(step.text("scriptUri") or "")
        if kind not in SCRIPT_KINDS or remote is None or remote.problem or not remote.head:
            continue
        if why := _unknown(remote.head, remote.size):
            message = f"{remote.place} is not checked: {why}"
            where = step.at("scriptUri")
            context.findings.note(_IDS[kind], where, message, path=step.path, hint=_HINT_FILE)


def _unknown(head: bytes, size: int) -> str | None:
    """Why the text of a file is not known, as `collect` judges it; None if it is."""
    if size > len(head):
        return f"it has {size / 1024 / 1024:.1f} MB, and no more than {len(head) >> 20} MB of a script are read"
    if b"\0" in head:
        return "it holds bytes that are no text"
    try:
        head.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "it is not text in UTF-8"
    return None
