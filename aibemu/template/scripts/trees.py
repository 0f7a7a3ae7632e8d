"""Syntax trees of shell scripts, by tree-sitter; its places are in bytes, ours in characters. Imported to parse."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cache, cached_property
from importlib import import_module
from itertools import accumulate
from time import thread_time

import tree_sitter

from aibemu.template.scripts.model import Script

# Seconds of work for one script; a megabyte of an ordinary one takes half a second.
_LONGEST, _LONGEST_A_MEGABYTE = 0.5, 3.0
_PIECE = 64 << 10  # bytes that the parser gets at once


@cache
def _parser() -> tree_sitter.Parser:
    grammar = import_module("tree_sitter_bash")
    return tree_sitter.Parser(tree_sitter.Language(grammar.language()))


def _parse(data: bytes) -> tree_sitter.Tree | None:
    """The tree; None for what takes the parser far longer than scripts do: that of bash reads `a()a()...` to the end
    of the text at each parenthesis."""
    parser = _parser()
    # This thread's own work, so that a busy host makes no difference.
    ends = thread_time() + _LONGEST + _LONGEST_A_MEGABYTE * len(data) / 2**20
    try:
        return parser.parse(
            lambda at, _: data[at : at + _PIECE], progress_callback=lambda at, failed: thread_time() > ends
        )  # fmt: skip
    except ValueError:
        parser.reset()
        return None


# Times that a text is parsed anew without the lines that the grammar cannot read, and seconds of work for all of it.
_TRIES, _LONGEST_ANEW = 8, 0.25


def _read(data: bytes) -> tuple[tree_sitter.Tree | None, frozenset[int]]:
    """The tree of a text without the lines that the grammar cannot read, and their numbers from 0. One such line may
    cost the whole text otherwise."""
    ends = thread_time() + _LONGEST_ANEW
    tree, lines, lost = _parse(data), data.split(b"\n"), frozenset[int]()
    if tree is None:
        return None, lost
    for _ in range(_TRIES):
        wrong = _unreadable(tree.root_node)
        if wrong <= lost:
            break
        lost |= wrong
        rest = _parse(b"\n".join(b" " * len(line) if at in lost else line for at, line in enumerate(lines)))
        if rest is None or thread_time() > ends:
            break
        tree = rest
    return tree, lost


def _unreadable(root: tree_sitter.Node) -> frozenset[int]:
    """The lines of the innermost errors: those around them are often only their consequence."""
    errors, stack = list[tree_sitter.Node](), [root]
    while stack:
        node = stack.pop()
        if node.has_error:
            errors += [node] if node.type == "ERROR" else []
            stack += reversed(node.children)
    found = set[int]()
    for number, node in enumerate(errors, 1):
        # What is inside of a node follows it here.
        if number == len(errors) or errors[number].start_byte >= node.end_byte:
            begin, end = node.start_point, node.end_point
            found |= set(range(begin.row, end.row + (end.column > 0 or end.row == begin.row)))
    return frozenset(found)


class Parsed:
    """A script and its tree. given_up: the parser took too long, and the tree is empty. lost: the lines, from 0, that
    the grammar cannot read, and that are not in the tree."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.data = script.text.encode("utf-8", "surrogatepass")
        tree, self.lost = _read(self.data)
        self.given_up = tree is None
        self.root = (tree or _parser().parse(b"")).root_node
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
