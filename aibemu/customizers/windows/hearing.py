"""What a step on Windows prints, on its way to people: errors that its exit code does not tell of are counted."""

from __future__ import annotations

import re

from aibemu.communicators import OnLine, Stream, cut_of, unfinished_of
from aibemu.text import counted

# Each error record that PowerShell writes as text has one such line, in every language; 7 has the second one.
_RECORD = re.compile(r"\s*\+ FullyQualifiedErrorId : (?P<id>\S+)|Line \|$")
# The line before this one is the (end of the) message.
_PLACE = re.compile(r"At \S.* char:\d+$")
_SHOWN = 200


class Hearing:
    """An `aibemu.communicators.OnLine` that passes lines on.

    mark: what a line begins with that the step's own wrapper writes to say why there is no exit code; it is kept back.
    """

    def __init__(self, on_line: OnLine, mark: str = "") -> None:
        self._on_line = on_line
        self._mark = mark
        self._before = ""
        self._first = ""
        # Why the wrapper gave up.
        self.failure = ""
        # How many error records were written.
        self.records = 0

    def __call__(self, stream: Stream, line: str) -> None:
        if self._mark and line.startswith(self._mark):
            self.failure = line.removeprefix(self._mark).strip()
            return
        if _PLACE.match(line) and not self._first:
            first = self._before.strip()
            self._first = first[: self.cut(first, _SHOWN)]
        if _RECORD.match(line):
            self.records += 1
        self._before = line
        self._on_line(stream, line)

    def unfinished(self, stream: Stream, text: str) -> None:
        """See `aibemu.communicators.unfinished_of`."""
        show = unfinished_of(self._on_line)
        if show is not None and not (self._mark and text and self._mark.startswith(text[: len(self._mark)])):
            show(stream, text)

    def cut(self, text: str, most: int) -> int:
        """See `aibemu.communicators.cut_of`."""
        return cut_of(self._on_line)(text, most)

    def warnings(self) -> tuple[str, ...]:
        """What people are told of a step that ended well: it may have done nothing of what it was to do."""
        if not self.records:
            return ()
        first = f" (the first: {self._first})" if self._first else ""
        return (
            f"{counted(self.records, 'error')} written{first}, and the step ended with 0: Packer, and so the service, "
            "goes on after it; put `$ErrorActionPreference = 'Stop'` first to end the step at an error",
        )
