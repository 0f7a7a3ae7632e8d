"""Syntax trees of scripts, by tree-sitter; its places are in bytes, ours in characters. Imported only to parse."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cache, cached_property
from importlib import import_module
from itertools import accumulate

import tree_sitter

from aibemu.template.scripts.model import Dialect, Script


@cache
def _parser(dialect: Dialect) -> tree_sitter.Parser:
    grammar = import_module("tree_sitter_powershell" if dialect is Dialect.POWERSHELL else "tree_sitter_bash")
    return tree_sitter.Parser(tree_sitter.Language(grammar.language()))


class Parsed:
    """A script and its tree."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.data = script.text.encode("utf-8", "surrogatepass")
        self.root = _parser(script.dialect).parse(self.data).root_node
        self._parents: dict[int, tree_sitter.Node] = {}

    @cached_property
    def _offsets(self) -> list[int] | None:
        """The byte at which each character begins; None when all are ASCII."""
        if len(self.data) == len(self.script.text):
            return None
        return [0, *accumulate(len(char.encode("utf-8", "surrogatepass")) for char in self.script.text)]

    def offset(self, byte: int) -> int:
        """The character at a byte."""
        if self._offsets is None:
            return byte
        return bisect_right(self._offsets, byte) - 1

    def at(self, node: tree_sitter.Node) -> int:
        """The offset of the first character of a node."""
        return self.offset(node.start_byte)

    def text(self, node: tree_sitter.Node) -> str:
        """The text of a node."""
        return self.data[node.start_byte : node.end_byte].decode("utf-8", "surrogatepass")

    def walk(self) -> Iterator[tree_sitter.Node]:
        """Every node outside of what could not be parsed, in the order of the text."""
        stack = [self.root]
        while stack:
            node = stack.pop()
            if node.type == "ERROR":
                continue
            yield node
            for child in reversed(node.children):
                self._parents[child.id] = node
                stack.append(child)

    def parent(self, node: tree_sitter.Node) -> tree_sitter.Node | None:
        """What a node is in. The library looks for it from the root, which a chain of a thousand `&&` makes slow."""
        return self._parents.get(node.id) or node.parent
