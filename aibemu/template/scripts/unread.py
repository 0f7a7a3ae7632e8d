"""Scripts that the rules do not judge, or not to their end: it is said, for silence would be taken for praise."""

from __future__ import annotations

from collections.abc import Sequence

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import SCRIPT_KINDS, steps_of
from aibemu.template.scripts.judge import Judge
from aibemu.template.scripts.model import Dialect
from aibemu.template.view import NodeView

_HINT = "the rules about its commands say nothing here: read it yourself; an installed shellcheck is asked all the same"
_HINT_FILE = "nothing is said about its commands: read it yourself"
_HINT_LINES = "the rules about commands say nothing of these lines: read them yourself"
_IDS = {"Shell": "W31", "PowerShell": "W63"}


def check_parsed(judge: Judge) -> None:
    """W31: what cannot be read, or takes too long. PowerShell says so where it is read (`powershell_silent`)."""
    # E28 tells a page of HTML in place of a script.
    if judge.script.dialect is Dialect.POWERSHELL or judge.script.text.lstrip().startswith("<"):
        return
    if judge.parsed.given_up:
        judge.note("W31", 0, "this script is not checked: its text takes the parser too long", _HINT)
    elif lost := sorted(judge.parsed.lost):
        message = f"{_lines(lost)} could not be parsed: not judged"
        judge.note("W31", _offset(judge.script.text, lost[0]), message, _HINT_LINES)


def is_about_lines(found: Diagnostic) -> bool:
    """Whether a finding only says that lines were not judged."""
    return found.id == "W31" and found.severity is Severity.NOTE and found.message.endswith("parsed: not judged")


def _lines(lost: Sequence[int]) -> str:
    """`line 3`, `lines 12 to 40`, `lines 3, 12 to 40`; of many the first three."""
    ranges: list[list[int]] = []
    for number in lost:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    shown = [f"{first + 1}" if first == last else f"{first + 1} to {last + 1}" for first, last in ranges[:3]]
    more = f" and {len(ranges) - 3} more" if len(ranges) > 3 else ""
    return f"{'line' if len(lost) == 1 else 'lines'} {', '.join(shown)}{more} of this script"


def _offset(text: str, line: int) -> int:
    at = 0
    for _ in range(line):
        at = text.find("\n", at) + 1
    return at + len(text[at : at + 1000]) - len(text[at : at + 1000].lstrip())


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
