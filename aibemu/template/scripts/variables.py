"""Variables of a shell script whose value is written out, once, and is never another one."""

from __future__ import annotations

import re
from collections.abc import Sequence

import tree_sitter

from aibemu.template.scripts.trees import Parsed

_USE = re.compile(r"\$(?:\{(?P<braced>[A-Za-z_]\w*)\}|(?P<plain>[A-Za-z_]\w*))")
_LONGEST = 1000  # characters of a value that is put in


class Variables:
    """Of one script. nodes: all of its tree."""

    def __init__(self, parsed: Parsed, nodes: Sequence[tree_sitter.Node]) -> None:
        # None: it has several values, or one that is not known.
        self._values: dict[str, str | None] = {}
        for node in nodes:
            if node.type == "variable_assignment":
                self._assigned(parsed, node)
            elif node.type in ("for_statement", "select_statement") and (name := node.child_by_field_name("variable")):
                self._values[parsed.text(name)] = None
            elif node.type == "command":
                words = [parsed.text(child) for child in node.named_children]
                if words and words[0] in ("read", "getopts", "unset", "mapfile", "readarray", "printf"):
                    self._values.update(dict.fromkeys(words[1:]))

    def _assigned(self, parsed: Parsed, node: tree_sitter.Node) -> None:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None:
            return
        text = "" if value is None else parsed.text(value)
        parent = parsed.parent(node)
        # `A=b command` is the command's alone; `A+=b` adds to what was there.
        alone = parent is not None and parent.type == "command"
        added = any(child.type == "+=" for child in node.children)
        plain = value is None or value.type in ("word", "raw_string", "string", "number", "concatenation")
        key = parsed.text(name)
        known = plain and not alone and not added and key not in self._values and len(text) < _LONGEST
        if value is not None and value.type in ("raw_string", "string"):
            text = text[1:-1]
        text = self.put_in(text) if known else text
        self._values[key] = text if known and not any(mark in text for mark in "$`\"'\\") else None

    def known(self, name: str) -> bool:
        """Whether the script gives a variable a value, of whatever kind."""
        return name in self._values

    def put_in(self, text: str) -> str:
        """The text with the values of the variables that are known."""

        def value(use: re.Match[str]) -> str:
            found = self._values.get(use["braced"] or use["plain"])
            return use[0] if found is None else found

        return _USE.sub(value, text)[: 2 * _LONGEST]
