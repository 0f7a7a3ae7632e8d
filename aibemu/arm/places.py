"""Places inside a string: the line and column of its n-th character, escapes and line breaks counted as written."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import cached_property

from aibemu.arm import strings
from aibemu.arm.nodes import Node, NodeKind
from aibemu.errors import Span

# Where the n-th character of a text stands in its file, counted from 0.
Locate = Callable[[int], Span]

_LINE_END = re.compile(r"\r\n|\r|\n")
_UNIT = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|.", re.DOTALL)


class _Text:
    """A text and where its lines begin, as the reader counts them."""

    def __init__(self, text: str) -> None:
        self.text = text
        first = 1 if text.startswith("\ufeff") else 0
        self.starts = [first, *(match.end() for match in _LINE_END.finditer(text))]

    def offset(self, span: Span) -> int:
        return self.starts[min(span.line, len(self.starts)) - 1] + span.column - 1

    def span(self, offset: int, file: str) -> Span:
        line = bisect_right(self.starts, offset)
        return Span(file=file, line=max(1, line), column=offset - self.starts[max(1, line) - 1] + 1)


class Places:
    """The texts of the files that nodes come from, by the name that their spans carry."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = {file: _Text(text) for file, text in texts.items()}

    def string(self, node: Node) -> InString:
        """For places inside a string as it stands in its file; of one that was computed, every place is its own."""
        return InString(self._texts.get(node.span.file), node)


class InString:
    """One string of a file. `at(n)` is the place of its n-th character, from 0; the closing quote's at its length."""

    def __init__(self, text: _Text | None, node: Node) -> None:
        self._text = text
        self._node = node

    def at(self, offset: int) -> Span:
        start = self._start
        if start is None or self._text is None:
            return self._node.span
        if self._offsets is None:
            return self._text.span(start + 1 + offset, self._node.span.file)
        return self._text.span(self._offsets[min(offset, len(self._offsets) - 1)], self._node.span.file)

    @cached_property
    def _start(self) -> int | None:
        """Where the opening quote is; None unless the very same string stands there."""
        if self._text is None or self._node.kind not in (NodeKind.STRING, NodeKind.UNKNOWN):
            return None
        start = self._text.offset(self._node.span)
        if self._text.text[start : start + 1] != '"':
            return None
        return start if strings.scan(self._text.text, start).value == self._node.value else None

    @cached_property
    def _offsets(self) -> list[int] | None:
        """The offset in the text of each character; None when they simply follow each other."""
        assert self._text is not None and self._start is not None
        value = str(self._node.value)
        begin = self._start + 1
        if self._text.text.startswith(value + '"', begin):
            return None
        offsets: list[int] = []
        pos = begin
        while len(offsets) <= len(value):
            offsets.append(pos)
            match = _UNIT.match(self._text.text, pos)
            pos = match.end() if match else pos + 1
        return offsets
