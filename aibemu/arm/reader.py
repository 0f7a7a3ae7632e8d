"""Text to Nodes: JSON with comments, read to the end whatever is in it.

Each slip is reported as exactly what it is, and reading goes on where that is safe, so that all errors come at once.
`Document.reliable` is False when brackets or quotes did not match up: then the shape of the tree is a guess, and
complaints about its content would be noise.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aibemu.arm import strings
from aibemu.arm.diagnostics import Diagnostic
from aibemu.arm.findings import Findings, shorten
from aibemu.arm.foreign import FOREIGN, of_tool
from aibemu.arm.nodes import Member, Node, NodeKind
from aibemu.arm.put_in import put_in
from aibemu.errors import Span

# Deeper than any template (ARM itself is far below); shallow enough for a reader that calls itself.
MAX_DEPTH = 100
MAX_ERRORS = 25

_LINE_END = re.compile(r"\r\n|\r|\n")
_SKIP = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.+-])")
_WORD = re.compile(r"(?:true|false|null)(?![\w-])")
_BAD = re.compile(r"<[^<>\r\n\"]*>|'[^'\r\n]*'|[“”„][^“”„\r\n]*[“”„]|[^\s,:{}\[\]\"]+|.", re.DOTALL)
_WORDS = {"true": (NodeKind.BOOLEAN, True), "false": (NodeKind.BOOLEAN, False), "null": (NodeKind.NULL, None)}
_NEARLY = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false", "None": "null", "NULL": "null"}
_OPENER = {"}": "{", "]": "["}
_ODD_SPACE = "\ufeff\u200b\u2060"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text, read. root is None when there is nothing in it; comment: where the first comment is, if any; used: names
    of the placeholders outside quotes that got a value."""

    root: Node | None
    diagnostics: tuple[Diagnostic, ...]
    reliable: bool
    comment: Span | None
    used: frozenset[str] = frozenset()


def read(text: str, file: str, placeholders: Mapping[str, str] | None = None) -> Document:
    """Read JSON with comments; never raises. `file` is the name used in places; placeholders: see `put_in`."""
    return _Reader(text, file, placeholders or {}).document()


class _TooMuch(Exception):
    """Nothing further is worth reading."""


class _Reader:
    def __init__(self, text: str, file: str, placeholders: Mapping[str, str]) -> None:
        self.filled = put_in(text, placeholders)
        self.text = self.filled.text
        self.file = file
        self.pos = 1 if text.startswith("\ufeff") else 0
        # A byte-order mark is no column of its own.
        self.starts = [self.pos, *(match.end() for match in _LINE_END.finditer(text))]
        self.open: list[str] = []
        self.ended = self.pos
        self.findings = Findings()
        self.errors = 0
        self.reliable = True
        # After a string that ran to the end of its line, punctuation is missing: the string swallowed it.
        self.swallowed = False
        self.comment: Span | None = None

    def document(self) -> Document:
        root: Node | None = None
        try:
            if self.peek() == "":
                self.fail(self.pos, "the file is empty", guess=True)
            else:
                root = self.value()
                if self.peek() != "":
                    self.fail(self.pos, "there is text after the end of the template", guess=True)
        except _TooMuch:
            self.reliable = False
        return Document(
            root=root, diagnostics=self.findings.sorted(), reliable=self.reliable, comment=self.comment,
            used=self.filled.used,
        )  # fmt: skip

    def span(self, pos: int) -> Span:
        pos = self.filled.original(pos)
        line = bisect_right(self.starts, pos)
        return Span(file=self.file, line=line, column=pos - self.starts[line - 1] + 1)

    def fail(self, pos: int, message: str, *, hint: str | None = None, guess: bool = False, id_: str = "J01") -> None:
        """Report an error; guess: the tree's shape is no longer certain."""
        self.findings.error(id_, self.span(pos), message, hint=hint)
        self.reliable = self.reliable and not guess
        self.errors += 1
        if self.errors >= MAX_ERRORS:
            raise _TooMuch

    def unmatched(self, pos: int, message: str, *, hint: str | None = None, guess: bool = True) -> None:
        """Report punctuation that is missing or too much, unless a string that was not closed explains it."""
        if not self.swallowed:
            self.fail(pos, message, hint=hint, guess=guess)

    def peek(self) -> str:
        """Pass over white space and comments; the next character, or "" at the end."""
        while True:
            match = _SKIP.match(self.text, self.pos)
            end = match.end() if match else self.pos
            if self.comment is None and end > self.pos:
                slash = self.text.find("/", self.pos, end)
                self.comment = self.span(slash) if slash >= 0 else None
            self.pos = end
            char = self.text[end : end + 1]
            if char == "/" and self.text.startswith("/*", end):
                self.fail(end, "this comment is never closed", hint="end it with `*/`", guess=True)
                self.pos = len(self.text)
            elif char and (char.isspace() or char in _ODD_SPACE):
                name = f"U+{ord(char):04X}"
                self.fail(end, f"the invisible character {name} is not JSON", hint="replace it by a plain space")
                self.pos += 1
            else:
                return char

    def value(self) -> Node:
        """Read one value; something is always consumed unless what follows cannot begin a value."""
        char = self.peek()
        if char == "{" and not FOREIGN.match(self.text, self.pos):
            node = self.object()
        elif char == "[":
            node = self.array()
        elif char == '"':
            node = self.string()
        elif char in ("", ",", "}", "]"):
            found = f"`{char}`" if char else "the end of the file"
            self.fail(self.pos, f"a value is missing here, before {found}")
            node = Node(NodeKind.UNKNOWN, self.span(self.pos))
        else:
            node = self.scalar()
        self.ended = self.pos
        return node

    def scalar(self) -> Node:
        start = self.pos
        if match := _NUMBER.match(self.text, start):
            self.pos = match.end()
            return self.number(match.group(), start)
        if match := _WORD.match(self.text, start):
            self.pos = match.end()
            kind, value = _WORDS[match.group()]
            return Node(kind, self.span(start), value)
        return self.bad(start)

    def number(self, text: str, start: int) -> Node:
        value: int | float = math.inf
        if len(text) <= 40:
            value = int(text) if text.lstrip("-").isdigit() else float(text)
        if not math.isfinite(value):
            self.fail(start, f"the number {shorten(text, 30)} is too long or too large")
            return Node(NodeKind.UNKNOWN, self.span(start), text[:40])
        return Node(NodeKind.NUMBER, self.span(start), value)

    def bad(self, start: int) -> Node:
        """Something that is no JSON value: say what it looks like, and pass over it."""
        if foreign := FOREIGN.match(self.text, start):
            self.pos = foreign.end()
            tool, hint = of_tool(foreign.group())
            self.fail(start, f"the placeholder {foreign.group()} ({tool}) stands outside quotes", hint=hint)
            return Node(NodeKind.UNKNOWN, self.span(start), foreign.group())
        match = _BAD.match(self.text, start)
        token = match.group() if match else self.text[start]
        self.pos = start + len(token)
        shown = shorten(token, 40)
        if token.startswith("<") and token.endswith(">"):
            hint = f'give it a value: --set {shorten(token[1:-1], 40)}=VALUE; or write "{shown}" if it is a text'
            self.fail(start, f"the placeholder {shown} stands outside quotes", hint=hint)
        elif token[0] in "'“”„":
            self.fail(start, f"{shown} is not in straight double quotes", hint='JSON text stands in "..."')
        elif token in _NEARLY:
            self.fail(start, f"`{shown}` is not JSON", hint=f"write `{_NEARLY[token]}`")
        else:
            self.fail(start, f"`{shown}` is not a JSON value", hint='text stands in double quotes: "..."')
        return Node(NodeKind.UNKNOWN, self.span(start), token)

    def string(self) -> Node:
        start = self.pos
        scanned = strings.scan(self.text, start)
        self.pos = scanned.end
        if not scanned.closed:
            hint = 'end it with `"`; a line break inside a string is written `\\n`'
            self.fail(start, "this string is not closed on its line", hint=hint, guess=True)
            self.swallowed = True
        for at, message, advice in scanned.errors:
            self.fail(at, message, hint=advice, id_="J02")
        if scanned.lines:
            what = "an expression" if scanned.value.startswith("[") else "text"
            message = f"{what} over several lines: fine in deployments, but not strict JSON"
            self.findings.warning("W09", self.span(start), message)
        if scanned.tab is not None:
            self.findings.warning("W09", self.span(scanned.tab), "a tab inside a string", hint="write `\\t`")
        return Node(NodeKind.STRING, self.span(start), scanned.value)

    def begin(self, opener: str) -> int:
        start = self.pos
        if len(self.open) >= MAX_DEPTH:
            self.fail(start, f"more than {MAX_DEPTH} levels of brackets inside each other", guess=True, id_="J04")
            raise _TooMuch
        self.open.append(opener)
        self.pos += 1
        return start

    def closes(self, closer: str, start: int, comma: int) -> bool:
        """True when the object or array that began at `start` is over. comma: place of a comma just read, or -1."""
        opener = _OPENER[closer]
        char = self.peek()
        while char in _OPENER and char != closer and _OPENER[char] not in self.open:
            self.unmatched(self.pos, f"`{char}` closes nothing: a `{opener}` is open here")
            self.pos += 1
            char = self.peek()
        if char == closer:
            if comma >= 0:
                hint = "remove the comma: strict JSON readers refuse it"
                self.findings.warning("W09", self.span(comma), f"trailing comma before `{closer}`", hint=hint)
            self.pos += 1
        elif char == "":
            self.unmatched(start, f"this `{opener}` is never closed", hint=f"add the missing `{closer}`")
        elif char in _OPENER:
            where = self.span(self.pos)
            message = f"this `{opener}` is not closed before the `{char}` in line {where.line}"
            self.unmatched(start, message, hint=f"add the missing `{closer}`")
        else:
            return False
        self.open.pop()
        return True

    def separate(self, first: bool, comma: int) -> bool:
        """Check the comma before the next entry; True when there is one comma too many and nothing to read yet."""
        if self.text[self.pos] == ",":
            self.fail(self.pos, "one comma too many", hint="remove it")
            self.pos += 1
            return True
        if not first and comma < 0:
            self.unmatched(self.ended, "a comma is missing here", hint="put `,` between two entries", guess=False)
        return False

    def comma(self) -> int:
        """The place of the comma that follows, passed over, or -1."""
        if self.peek() != ",":
            return -1
        self.pos += 1
        return self.pos - 1

    def array(self) -> Node:
        start = self.begin("[")
        items: list[Node] = []
        comma = -1
        while not self.closes("]", start, comma):
            if self.separate(not items, comma):
                continue
            if self.text[self.pos] == ":":
                self.unmatched(self.pos, "a `:` in an array", hint="use `{...}` for keys and values")
                self.pos += 1
                continue
            items.append(self.value())
            comma = self.comma()
        return Node(NodeKind.ARRAY, self.span(start), items=tuple(items))

    def object(self) -> Node:
        start = self.begin("{")
        members: dict[str, Member] = {}
        comma = -1
        first = True
        while not self.closes("}", start, comma):
            if self.separate(first, comma):
                continue
            first = False
            key, place = self.key()
            if self.peek() == ":":
                self.pos += 1
            else:
                self.unmatched(self.ended, f'a `:` is missing after the key "{shorten(key, 40)}"', guess=False)
            value = self.value()
            comma = self.comma()
            if key in members:
                line = members[key].key_span.line
                message = f'the key "{shorten(key, 40)}" is there twice (first in line {line}); the last one counts'
                self.findings.warning("J03", place, message, hint="remove one of the two")
            members[key] = Member(key, place, value)
        return Node(NodeKind.OBJECT, self.span(start), members=members)

    def key(self) -> tuple[str, Span]:
        place = self.span(self.pos)
        if self.text[self.pos] == '"':
            node = self.string()
        elif self.text[self.pos] in "{[:":
            self.fail(self.pos, 'a key is missing here: an object holds `"key": value`', guess=True)
            node = Node(NodeKind.UNKNOWN, place, "")
            if self.text[self.pos] != ":":
                self.value()
        else:
            node = self.bad(self.pos)
            node = replace(node, value=str(node.value).strip("'“”„"))
        self.ended = self.pos
        return str(node.value), place
