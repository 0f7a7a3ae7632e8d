"""W32: what only bash knows, in a script that `sh` runs; on Debian and Ubuntu that is dash."""

from __future__ import annotations

import re

import tree_sitter

from aibemu.template.scripts.judge import Judge, Words
from aibemu.template.scripts.model import Dialect

_NODES: Words = {
    "array": "an array", "herestring_redirect": "`<<<`", "process_substitution": "`<( )`",
    "ansi_c_string": "`$'...'`", "translated_string": '`$"..."`', "select_statement": "`select`",
    "brace_expression": "`{1..3}`",
}  # fmt: skip
_BUILTINS: Words = {
    "source": "write `. ./file`", "pushd": "use `cd` in a subshell: `(cd DIR && ...)`", "popd": "see pushd",
    "let": "write `$((...))`", "shopt": "it is bash's own", "disown": "use nohup", "mapfile": "use `while read`",
    "readarray": "use `while read`",
}  # fmt: skip
_DECLARATIONS = frozenset({"declare", "typeset"})
_EXPANSION = re.compile(r"\$\{(?:!\w|\w+(?:\[|//?|\^|,|:(?![-=?+])))")
# Where /bin/sh is bash anyway.
_SH_IS_BASH = frozenset(
    {"redhat", "openlogic", "oracle", "almalinux", "resf", "suse", "microsoftcblmariner", "procomputers"}
)
_HINT = "make it a script with `#!/bin/bash -e` and scriptUri, wrap it into `bash -c '...'`, or write it for sh"


def check_bashisms(judge: Judge) -> None:
    """W32, wherever sh is not known to be bash."""
    if judge.script.dialect is not Dialect.SH or judge.publisher in _SH_IS_BASH:
        return
    for node in judge.parsed.walk():
        if what := _bashism(judge, node):
            _say(judge, judge.parsed.at(node), what)
    for command in judge.commands:
        if command.name in _BUILTINS and command.words[0].text == command.name:
            _say(judge, command.words[0].at, f"`{command.name}`", _BUILTINS[command.name])
        if command.name == "set" and "pipefail" in command.arguments:
            at = next(word.at for word in command.words if word.text == "pipefail")
            _say(judge, at, "`set -o pipefail`")


def _bashism(judge: Judge, node: tree_sitter.Node) -> str | None:
    """What is bash's own about a node."""
    first = node.children[0].type if node.children else ""
    kind = node.type
    if kind in _NODES:
        return _NODES[kind]
    if kind in ("test_command", "compound_statement") and first in ("[[", "(("):
        return f"`{first} {']]' if first == '[[' else '))'}`"
    if (
        kind == "binary_expression"
        and any(child.type == "==" for child in node.children)
        and _in_single_test(judge, node)
    ):
        return "`==` inside `[ ]`"
    if kind == "function_definition" and first == "function":
        return "`function`"
    if kind == "declaration_command" and first in _DECLARATIONS:
        return f"`{first}`"
    if kind == "file_redirect" and any(child.type in ("&>", "&>>") for child in node.children):
        return "`&>`"
    if kind == "pipeline" and any(child.type == "|&" for child in node.children):
        return "`|&`"
    if kind == "expansion" and (match := _EXPANSION.match(judge.parsed.text(node))):
        return f"`{match.group()}...}}`"
    return None


def _in_single_test(judge: Judge, node: tree_sitter.Node) -> bool:
    parent = judge.parsed.parent(node)
    while parent is not None and parent.type != "test_command":
        parent = judge.parsed.parent(parent)
    return parent is not None and bool(parent.children) and parent.children[0].type == "["


def _say(judge: Judge, at: int, what: str, hint: str | None = None) -> None:
    who = "inline commands are run by `#!/bin/sh -e`" if judge.script.inline else "the script asks for sh"
    message = f"{what} is bash's own: {who}, and on Debian and Ubuntu that is dash, which does not know it"
    judge.warn("W32", at, message, hint or _HINT)
