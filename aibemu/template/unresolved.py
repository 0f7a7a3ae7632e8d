"""Values that nobody knows yet: `<placeholders>` meant for sed, and expressions in a body where none is evaluated.

`fill` puts values in for placeholders. `mark` makes what is left UNKNOWN nodes, so that no rule judges them and one E08
lists them all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from aibemu.arm.findings import Findings, shorten
from aibemu.arm.nodes import Member, Node, NodeKind
from aibemu.errors import Span
from aibemu.template.spec.steps import SCRIPT_FIELDS


class Syntax(StrEnum):
    """How text in brackets is meant. BARE: the body as the service gets it, where only what looks like an ARM function
    call can be a mistake. LITERAL: of a deployment template, evaluated already."""

    BARE = "bare"
    LITERAL = "literal"


_PLACEHOLDER = re.compile(r"<[A-Za-z_][A-Za-z0-9_.-]{0,60}>")
_ONLY_PLACEHOLDER = re.compile(r"<[^<>]{1,80}>")
_CALL = re.compile(r"\[\s*[A-Za-z_][\w.]*\s*\(.*\)[^()]*\]", re.DOTALL)


def is_expression(text: str, syntax: Syntax) -> bool:
    """True for a string in a bare body that ARM should have evaluated."""
    return syntax is Syntax.BARE and text[:1] == "[" and _CALL.fullmatch(text) is not None


def fill(node: Node, values: Mapping[str, str]) -> tuple[Node, frozenset[str]]:
    """Put values in for placeholders, in keys and in text, as sed would; the tree, and the names that were used.

    values: by name, without the brackets.
    """
    used: set[str] = set()

    def text(old: str) -> str:
        for name, value in values.items():
            if f"<{name}>" in old:
                used.add(name)
                old = old.replace(f"<{name}>", value)
        return old

    def walk(node: Node) -> Node:
        if node.kind is NodeKind.OBJECT:
            members = {
                key: Member(key, member.key_span, walk(member.value))
                for key, member in ((text(old), member) for old, member in node.members.items())
            }
            return replace(node, members=members)
        if node.kind is NodeKind.ARRAY:
            return replace(node, items=tuple(map(walk, node.items)))
        if node.kind is NodeKind.STRING and isinstance(node.value, str) and "<" in node.value:
            return replace(node, value=text(node.value))
        return node

    return walk(node), frozenset(used)


def placeholders(text: str) -> list[str]:
    """The `<placeholders>` in a string, with their brackets."""
    if _ONLY_PLACEHOLDER.fullmatch(text):
        return [text]
    return _PLACEHOLDER.findall(text)


class Marker:
    """Walks a resource once and keeps what it finds, in order: (text, place)."""

    def __init__(self, syntax: Syntax) -> None:
        self.syntax = syntax
        self.expressions: list[tuple[str, Span]] = []
        self.placeholders: list[tuple[str, Span]] = []
        self.doubtful: list[tuple[str, Span]] = []

    def mark(self, node: Node, *, script: bool = False) -> Node:
        """The tree with unknown values as UNKNOWN nodes. script: the text is for a shell."""
        if node.kind is NodeKind.OBJECT:
            members = {
                key: Member(key, member.key_span, self.mark(member.value, script=script or key in SCRIPT_FIELDS))
                for key, member in node.members.items()
            }
            for key, member in node.members.items():
                self.placeholders += [(found, member.key_span) for found in placeholders(key)]
            return replace(node, members=members)
        if node.kind is NodeKind.ARRAY:
            return self._array(node, script)
        return self._text(node, script, frozenset())

    def _array(self, node: Node, script: bool) -> Node:
        # In a script, `<tag>` is no placeholder when `</tag>` is there too: it writes XML.
        texts = [item.value for item in node.items if isinstance(item.value, str)] if script else []
        tags = frozenset(f"<{tag}>" for text in texts for tag in re.findall(r"</([\w.-]+)", text))
        items = (
            self._text(item, script, tags) if item.kind is NodeKind.STRING else self.mark(item, script=script)
            for item in node.items
        )
        return replace(node, items=tuple(items))

    def _text(self, node: Node, script: bool, tags: frozenset[str]) -> Node:
        if node.kind is not NodeKind.STRING or not isinstance(node.value, str):
            return node
        text = node.value
        if is_expression(text, self.syntax):
            self.expressions.append((text, node.span))
            return replace(node, kind=NodeKind.UNKNOWN)
        found = [name for name in placeholders(text) if name not in tags]
        if not found:
            return node
        if script:
            self.doubtful += [(name, node.span) for name in found]
            return node
        self.placeholders += [(name, node.span) for name in found]
        return replace(node, kind=NodeKind.UNKNOWN)

    def report(self, findings: Findings) -> None:
        """One E08 for all placeholders, one for all expressions, each listing them with their lines."""
        for found in (self.placeholders, self.expressions, self.doubtful):
            found.sort(key=lambda entry: (entry[1].line, entry[1].column))
        if self.placeholders:
            name = self.placeholders[0][0]
            findings.error(
                "E08",
                self.placeholders[0][1],
                f"unresolved placeholders: {_listing(self.placeholders)}",
                hint=f"give each a value: --set {name.strip('<>')}=VALUE, or put it into the file",
            )
        if self.expressions:
            findings.error(
                "E08",
                self.expressions[0][1],
                f"expressions that are not evaluated: {_listing(self.expressions)}",
                hint="the service takes a bare body as it is: expressions only work in a deployment template",
            )
        if self.doubtful:
            message = f"this looks like a placeholder, and goes to the shell as it is: {_listing(self.doubtful)}"
            findings.warning("E08", self.doubtful[0][1], message)


def _listing(found: list[tuple[str, Span]]) -> str:
    """`<a>` (lines 3, 9), `<b>` (line 4)."""
    lines: dict[str, list[int]] = {}
    for text, span in found:
        places = lines.setdefault(shorten(text, 60), [])
        if span.line not in places:
            places.append(span.line)
    return ", ".join(
        f"{text} (line{'s' if len(places) > 1 else ''} {', '.join(map(str, places))})" for text, places in lines.items()
    )
