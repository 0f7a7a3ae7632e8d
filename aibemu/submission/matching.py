"""Which findings somebody decided to live with. Values in, values out: reading the file is `suppressions`.

Errors stay whatever anybody says, because the service would refuse the template all the same. A suppression that does
nothing is said, but only where that is certain: one file of suppressions may serve many templates.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.errors import Span

_WILDCARD = re.compile(r"[*?]")
_GLOB = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
_GLOB_PARTS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One entry. span: its place in the file, None when it is from the command line. file: a glob; a name without `/`
    is one in any folder. path: the place in the template and all below, `[*]` for any index."""

    id: str
    reason: str
    span: Span | None = None
    file: str | None = None
    path: str | None = None

    def covers(self, diagnostic: Diagnostic, file: str) -> bool:
        """True when it is meant for that finding; `file`: its file's path from the folder of the suppressions."""
        return self.id == diagnostic.id and self.is_for(file) and self._holds(diagnostic.path)

    def is_for(self, file: str) -> bool:
        """True when it is meant for that file."""
        if self.file is None:
            return True
        glob = self.file.removeprefix("./")
        pattern = "".join(_GLOB_PARTS.get(part, re.escape(part)) for part in _GLOB.findall(glob))
        return re.fullmatch(pattern, file if "/" in glob else file.rpartition("/")[2], re.DOTALL) is not None

    def _holds(self, path: str) -> bool:
        if self.path is None:
            return True
        pattern = re.escape(self.path).replace(re.escape("[*]"), r"\[\d+\]")
        return re.match(rf"{pattern}(?=[.\[]|\Z)", path) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """kept: what is still to be shown, and notes about suppressions that do nothing. suppressed: with the reason."""

    kept: tuple[Diagnostic, ...]
    suppressed: tuple[tuple[Diagnostic, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressions:
    """All entries that are for one template.

    template: as the user named it. base: the absolute folder that files are named from. folder: where the file of the
    suppressions is, absolute.
    """

    template: str
    base: str
    folder: str = ""
    entries: tuple[Suppression, ...] = ()

    def apply(self, diagnostics: Sequence[Diagnostic]) -> Applied:
        """Take out what is suppressed; the order stays."""
        if not self.entries:
            return Applied(kept=tuple(diagnostics))
        first = self._split(diagnostics)
        notes = self._split(tuple(self._notes(diagnostics)))
        return Applied(kept=first.kept + notes.kept, suppressed=first.suppressed + notes.suppressed)

    def _split(self, diagnostics: Sequence[Diagnostic]) -> Applied:
        kept: list[Diagnostic] = []
        suppressed: list[tuple[Diagnostic, str]] = []
        for diagnostic in diagnostics:
            entry = next((entry for entry in self.entries if self._covers(entry, diagnostic)), None)
            if entry is None or diagnostic.severity is Severity.ERROR:
                kept.append(diagnostic)
            else:
                suppressed.append((diagnostic, entry.reason))
        return Applied(kept=tuple(kept), suppressed=tuple(suppressed))

    def _covers(self, entry: Suppression, diagnostic: Diagnostic) -> bool:
        return entry.covers(diagnostic, self._name(diagnostic.span.file))

    def _name(self, file: str) -> str:
        """The file's path from the folder of the suppressions; an address stays one."""
        if "://" in file or not self.folder:
            return file
        return os.path.relpath(os.path.join(self.base, file), self.folder)  # noqa: PTH118 - names only

    def _notes(self, diagnostics: Sequence[Diagnostic]) -> Iterator[Diagnostic]:
        # After an error not everything has been looked at: what is missing may be there.
        complete = all(diagnostic.severity is not Severity.ERROR for diagnostic in diagnostics)
        for entry in self.entries:
            covered = [diagnostic for diagnostic in diagnostics if self._covers(entry, diagnostic)]
            error = next((diagnostic for diagnostic in covered if diagnostic.severity is Severity.ERROR), None)
            if error is not None:
                yield _stays(entry, error)
            elif not covered and complete and entry.span and self._only_here(entry):
                message = f"the suppression of {entry.id} matches nothing in {self.template}"
                hint = "remove it; if it is for other templates, name them with `file:`"
                yield _note("L01", entry.span, message, hint)

    def _only_here(self, entry: Suppression) -> bool:
        """True when an entry is for this template and no other: it names it, or the file lies beside it."""
        name = self._name(self.template)
        if entry.file is None:
            return "/" not in name
        return not _WILDCARD.search(entry.file) and entry.is_for(name)


def _stays(entry: Suppression, error: Diagnostic) -> Diagnostic:
    how = f"the suppression of {entry.id}" if entry.span else f"--disable {entry.id}"
    message = (
        f"{how} does not hold at {error.span}: it is an error there, and the service refuses the template all the same"
    )
    return _note("L02", entry.span or error.span, message, "mend the template; warnings and notes can be suppressed")


def _note(id_: str, span: Span, message: str, hint: str) -> Diagnostic:
    return Diagnostic(id=id_, severity=Severity.NOTE, message=message, span=span, hint=hint)
