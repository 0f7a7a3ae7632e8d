"""W97, W98: what fails in a shell script, and nobody notices."""

from __future__ import annotations

import re

import tree_sitter

from aibemu.template.scripts.commands import Command
from aibemu.template.scripts.judge import Judge

# Commands that do not fail, or whose failure is an answer.
_ANSWERS = (
    "echo printf true false : export set unset cd pwd sleep date test [ exit return shift local readonly trap umask "
    "sync read clear logger hostname uname id whoami which command type cat ls df free ps history"
)
_HARMLESS = frozenset(_ANSWERS.split())
_HANDLES = re.compile(
    r"^[^#\n]*(?:\bset\s+(?:-\w*e|-o\s+errexit|-\w+\s+(?:-\w*e|errexit))|\btrap\b[^\n]{0,200}\bERR\b|\bexit\s+[\"']?(?:[1-9$])"
    r"|\$\?|\breturn\s+[\"']?(?:[1-9$])|PIPESTATUS|\bdie\b)",
    re.MULTILINE,
)


def is_careless(judge: Judge) -> int | None:
    """Where the first command of a file stands whose failure nobody notices; None when there is none."""
    script = judge.script
    first = script.text.split("\n", 1)[0]
    if (
        script.inline
        or script.text.lstrip().startswith("<")
        or re.match(r"#!.*\s-\w*e", first)
        or _HANDLES.search(script.text)
    ):
        return None
    statements = [child for child in judge.parsed.root.named_children if child.type != "comment"]
    # What is in the last statement has the script's own status.
    whole = len(judge.parsed.data)
    ends = statements[-1].start_byte if statements and statements[-1].type != "function_definition" else whole
    before = (command for command in judge.commands[:-1] if command.node.start_byte < ends)
    counted = (command for command in before if _counts(judge, command))
    first_one = next(counted, None)
    return first_one.words[0].at if first_one else None


def _counts(judge: Judge, command: Command) -> bool:
    """Whether a command does something that is missing when it fails."""
    if command.name in _HARMLESS or command.condition or command.words[0].text.startswith(("!#", "#")):
        return False
    if judge.parsed.text(command.node).startswith("exec "):
        return False  # nothing comes after it
    parent = judge.parsed.parent(command.node)
    while parent is not None and parent.type not in ("program", "function_definition", "command_substitution"):
        parent = judge.parsed.parent(parent)
    return parent is not None and parent.type != "command_substitution"


_FETCH = r"(?:curl|wget)"
_SHELL = r"(?:sudo\s+(?:-\w+\s+|\w+=\S*\s+)*)?(?:env\s+(?:\w+=\S*\s+)*)?(?:/\w+/)*(?:bash|sh|dash|python3?|perl)\b"
_PIPED = re.compile(rf"^\s*(?:\w+=\S*\s+)*(?:sudo\s+(?:-\w+\s+)*)?{_FETCH}\b.*?\|\s*(?:\w+=\S*\s+)*{_SHELL}", re.DOTALL)
_LONGEST = 2000


def check_piped_downloads(judge: Judge) -> None:
    """W98: the status of a pipe is that of its end, and a shell that is given nothing succeeds."""
    text = judge.script.text
    for command in judge.commands:
        if command.name not in ("curl", "wget"):
            continue
        whole = judge.parsed.parent(command.node)
        if whole is not None and whole.type == "redirected_statement":
            whole = judge.parsed.parent(whole)
        if whole is None:
            continue
        if whole.type == "pipeline":
            if "pipefail" in text or command.condition or not _PIPED.search(judge.parsed.text(whole)[:_LONGEST]):
                continue
        elif not _is_run(judge, whole):
            continue
        message = "a download that fails is not noticed here: the shell then runs nothing, and succeeds"
        hint = "write `curl -fsSLo FILE URL`, then `sh FILE`"
        judge.note("W98", command.words[0].at, message, hint)


def _is_run(judge: Judge, node: tree_sitter.Node) -> bool:
    """`bash <(curl ...)`, `sh -c "$(curl ...)"`, `eval "$(curl ...)"`."""
    if node.type not in ("command_substitution", "process_substitution"):
        return False
    above = judge.parsed.parent(node)
    while above is not None and above.type in ("string", "concatenation"):
        above = judge.parsed.parent(above)
    if above is None or above.type != "command":
        return False
    begin = judge.parsed.text(above)[:200]
    if node.type == "process_substitution":
        return re.match(rf"(?:{_SHELL}|source\b|\.\s)", begin) is not None
    return re.match(rf"(?:{_SHELL}.*?\s-\w*c\s|eval\b)", begin, re.DOTALL) is not None
