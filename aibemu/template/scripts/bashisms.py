"""W32: what only bash knows, in a script that `sh` runs; on Debian and Ubuntu that is dash."""

from __future__ import annotations

import re

import tree_sitter

from aibemu.template.scripts.bash_commands import bash_only
from aibemu.template.scripts.judge import Judge, Words
from aibemu.template.scripts.model import Dialect

_NODES: Words = {
    "array": "an array", "herestring_redirect": "`<<<`", "process_substitution": "`<( )`",
    "ansi_c_string": "`$'...'`", "translated_string": '`$"..."`', "select_statement": "`select`",
    "brace_expression": "`{1..3}`", "c_style_for_statement": "`for ((...))`",
}  # fmt: skip
_BUILTINS: Words = {
    "source": "write `. ./file`", "pushd": "use `cd` in a subshell: `(cd DIR && ...)`", "popd": "see pushd",
    "let": "write `$((...))`", "shopt": "it is bash's own", "disown": "use nohup", "mapfile": "use `while read`",
    "readarray": "use `while read`", "compgen": "it is bash's own", "complete": "it is bash's own",
    "builtin": "leave it out", "caller": "it is bash's own", "enable": "it is bash's own", "dirs": "see pushd",
}  # fmt: skip
_DECLARATIONS = frozenset({"declare", "typeset"})
_VARIABLES = frozenset({"$EUID", "$UID", "$RANDOM", "$HOSTNAME", "$OSTYPE", "$PIPESTATUS"})
_EXPANSION = re.compile(r"\$\{(?:!\w|\w+(?:\[|//?|\^|,|:(?![-=?+])))")
# Where /bin/sh is bash anyway.
SH_IS_BASH = frozenset(
    {"redhat", "openlogic", "oracle", "almalinux", "resf", "suse", "microsoftcblmariner", "procomputers"}
)
_HINT = "make it a script with `#!/bin/bash -e` and scriptUri, wrap it into `bash -c '...'`, or write it for sh"


def check_bashisms(judge: Judge) -> None:
    """W32, wherever sh is not known to be bash."""
    if judge.script.dialect is not Dialect.SH or judge.publisher in SH_IS_BASH:
        return
    for node in judge.parsed.walk():
        if what := _bashism(judge, node):
            _say(judge, judge.parsed.at(node), what)
    for command in judge.commands:
        if found := bash_only(command):
            word, what, hint = found
            _say(judge, word.at, what, hint)
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
    if kind == "function_definition":
        return _function(judge, node, first)
    if kind == "declaration_command":
        return _declaration(judge, node, first)
    if kind == "file_redirect" and any(child.type in ("&>", "&>>") for child in node.children):
        return "`&>`"
    if kind == "pipeline" and any(child.type == "|&" for child in node.children):
        return "`|&`"
    if kind == "variable_assignment" and any(child.type == "+=" for child in node.children):
        return "`+=`"
    if kind == "file_redirect" and any(child.type == ">&" for child in node.children):
        target = node.child_by_field_name("destination")
        return "`>& FILE`" if target is not None and re.match(r"[A-Za-z/.~]", judge.parsed.text(target)) else None
    if kind == "command_substitution" and [child.type for child in node.named_children] == ["file_redirect"]:
        return "`$(< FILE)`"
    if kind == "simple_expansion" and judge.parsed.text(node) in _VARIABLES:
        return _variable(judge, judge.parsed.text(node))
    if kind == "expansion" and (match := _EXPANSION.match(judge.parsed.text(node))):
        return f"`{match.group()}...}}`"
    return None


def _declaration(judge: Judge, node: tree_sitter.Node, first: str) -> str | None:
    """`declare`, and the options of `local`, `export` and `readonly` that dash does not know."""
    if first in _DECLARATIONS:
        return f"`{first}`"
    options = (judge.parsed.text(child) for child in node.named_children if child.type == "word")
    option = next((text for text in options if text.startswith("-")), None)
    known = {"export": ("-p",), "readonly": ("-p",)}.get(first, ())
    return None if option is None or option in known else f"`{first} {option}`"


def _function(judge: Judge, node: tree_sitter.Node, first: str) -> str | None:
    if first == "function":
        return "`function`"
    name = node.child_by_field_name("name")
    text = judge.parsed.text(name) if name is not None else ""
    return None if re.fullmatch(r"\w*", text) else f"`{text}` as the name of a function"


def _variable(judge: Judge, text: str) -> str | None:
    """What only bash sets. None where the script gives it a value, or asks whether it is run by bash."""
    if re.search(rf"\b{text[1:]}=|BASH_VERSION", judge.script.text):
        return None
    return f"`{text}`"


def _in_single_test(judge: Judge, node: tree_sitter.Node) -> bool:
    parent = judge.parsed.parent(node)
    while parent is not None and parent.type != "test_command":
        parent = judge.parsed.parent(parent)
    return parent is not None and bool(parent.children) and parent.children[0].type == "["


def _say(judge: Judge, at: int, what: str, hint: str | None = None) -> None:
    who = "the script asks for sh" if judge.script.text.startswith("#!") else "it has no `#!` line, so that sh runs it"
    who = "inline commands are run by `#!/bin/sh -e`" if judge.script.inline else who
    message = f"{what} is bash's own: {who}, and on Debian and Ubuntu that is dash, which does not know it"
    judge.warn("W32", at, message, hint or _HINT)
