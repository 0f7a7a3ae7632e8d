"""Collecting findings, and the words that their messages share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.errors import Span
from aibemu.suggestions import did_you_mean

_BLANKS = re.compile(r"\s+")


class Findings:
    """A growing list of diagnostics. main: the file whose findings come first."""

    def __init__(self, main: str = "") -> None:
        self.main = main
        self._all: list[Diagnostic] = []

    def error(
        self, id_: str, span: Span, message: str, *, path: str = "", hint: str | None = None, azure: str | None = None
    ) -> None:
        """What the service, or aibemu, refuses. azure: the words of Azure's engine."""
        self._add(Severity.ERROR, id_, span, message, path, hint, azure)

    def warning(self, id_: str, span: Span, message: str, *, path: str = "", hint: str | None = None) -> None:
        """What is accepted and probably not meant."""
        self._add(Severity.WARNING, id_, span, message, path, hint)

    def note(self, id_: str, span: Span, message: str, *, path: str = "", hint: str | None = None) -> None:
        """What is worth knowing."""
        self._add(Severity.NOTE, id_, span, message, path, hint)

    def extend(self, more: Iterable[Diagnostic]) -> None:
        self._all.extend(more)

    @property
    def failed(self) -> bool:
        """True when there is an error."""
        return any(d.severity is Severity.ERROR for d in self._all)

    def sorted(self) -> tuple[Diagnostic, ...]:
        """All findings in the order of the file, each once; those of other files after it, file by file."""
        unique = dict.fromkeys(self._all)
        files = {file: rank for rank, file in enumerate(dict.fromkeys([self.main, *(d.span.file for d in unique)]))}
        return tuple(sorted(unique, key=lambda d: (files[d.span.file], d.span.line, d.span.column, d.id)))

    def _add(
        self,
        severity: Severity,
        id_: str,
        span: Span,
        message: str,
        path: str,
        hint: str | None,
        azure: str | None = None,
    ) -> None:
        found = Diagnostic(id=id_, severity=severity, message=message, span=span, path=path, hint=hint, azure=azure)
        self._all.append(found)


def hint_of(word: str, known: Sequence[str]) -> str | None:
    """What to say of a name that is not there: the nearest one, else the first few that are, else nothing."""
    question = did_you_mean(word, known, quoted=True)
    return question or (f"there are {listed(known[:8], 'and')}" if known else None)


def listed(words: Iterable[str], word: str = "or") -> str:
    """`'a', 'b' or 'c'`."""
    quoted = [f"'{entry}'" for entry in words]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} {word} {quoted[-1]}"


def shorten(text: str, length: int = 80) -> str:
    """`text` on one line and bounded, for messages. A blank at its end stays: it may be what is wrong."""
    flat = _BLANKS.sub(" ", text)
    return flat if len(flat) <= length else f"{flat[: length - 3]}..."
