"""What a Bicep compiler prints beside its JSON, as findings: nothing of it is lost.

    DIR/main.bicep(3,7) : Error BCP057: The name "x" does not exist. [https://aka.ms/bicep/core-diagnostics#BCP057]
    DIR/main.bicep(1,1) : Info Bicep Linter Configuration: Custom bicepconfig.json file found (DIR/bicepconfig.json).
    WARNING: The following experimental Bicep features have been enabled: Asserts. ...
    Unhandled exception: System.Text.Json.JsonException: ...

The forms are those of Bicep 0.49.2 (fixtures/bicep). `az bicep` puts `ERROR: ` or `WARNING: ` before some lines. A code
may have blanks. The files of one compilation come in no fixed order. Columns count UTF-16 units.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.errors import Span

# Of what the compiler says about no place in a file.
NO_PLACE = "bicep"
NOT_RESTORED = "BCP190"

_PLACED = re.compile(
    r"(?:(?:WARNING|ERROR): )?(?P<file>.+?)\((?P<line>\d+),(?P<column>\d+)\)\s*:\s*"
    r"(?P<level>Error|Warning|Info)\s+(?P<code>[^:\s][^:]*): ?(?P<message>.*)",
    re.DOTALL,
)
_LINK = " [https://"
_LEVELS = {"Error": Severity.ERROR, "Warning": Severity.WARNING, "Info": Severity.NOTE}
# A line of a stack: where in the compiler it was.
_STACK = re.compile(r"\s+at |\s*--- End of ")
# az tells of a newer compiler at any call; that is nothing about the file.
_NEWS = "new Bicep release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message with a place. file: as the compiler names it. column: from 1, in UTF-16 units. link: "" for none."""

    file: str
    line: int
    column: int
    severity: Severity
    code: str
    message: str
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """All that a compiler said. placed: by file, in each by place. others: lines about no place, in their order; of a
    crash the first says what happened, the rest is a stack."""

    placed: tuple[Said, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def first(self) -> tuple[str, ...]:
        """The other lines without the stack of a crash."""
        return tuple(line for line in self.others if not _STACK.match(line))


def understand(text: str) -> Speech:
    """Read what was printed to standard error. Lines end at \\n alone: a message repeats control characters as they
    are."""
    placed: list[Said] = []
    others: list[str] = []
    for line in text.split("\n"):
        said = _placed(line.removesuffix("\r"))
        if said is not None:
            placed.append(said)
        elif line.strip():
            others.append(line.rstrip())
    placed.sort(key=lambda said: (said.file, said.line, said.column))
    return Speech(placed=tuple(placed), others=tuple(others))


def _placed(line: str) -> Said | None:
    match = _PLACED.fullmatch(line)
    if match is None:
        return None
    message = match["message"].rstrip(" ")
    link = ""
    if message.endswith("]") and (start := message.rfind(_LINK)) >= 0:
        message, link = message[:start].rstrip(" "), message[start + 2 : -1]
    return Said(
        file=match["file"], line=int(match["line"]), column=int(match["column"]), severity=_LEVELS[match["level"]],
        code=match["code"].strip(), message=message, link=link,
    )  # fmt: skip


def findings(
    speech: Speech, *, typed: str, named: Callable[[str], str], lines: Callable[[str], Sequence[str]],
    restore: Sequence[str],
) -> Iterator[Diagnostic]:  # fmt: skip
    """What was said, as findings. typed: how the user names the file. named: the user's name for one of the compiler's.
    lines: those of a file of the compiler's; none if it cannot be read. restore: the command that fetches modules."""
    for file, group in groupby(speech.placed, key=lambda said: said.file):
        texts = lines(file)
        for said in group:
            span = Span(file=named(file), line=said.line, column=_characters(texts, said))
            yield Diagnostic(
                id=said.code, severity=said.severity, message=said.message, span=span, hint=_hint(said, restore)
            )
    for severity, message in _others(speech.others):
        span = Span(file=typed, line=1, column=1)
        yield Diagnostic(id=NO_PLACE, severity=severity, message=message, span=span)


def _characters(texts: Sequence[str], said: Said) -> int:
    """The column in characters."""
    if not 0 < said.line <= len(texts) or texts[said.line - 1].isascii():
        return said.column
    before = texts[said.line - 1].encode("utf-16-le", "surrogatepass")[: 2 * (said.column - 1)]
    return len(before.decode("utf-16-le", "replace")) + 1


def _hint(said: Said, restore: Sequence[str]) -> str | None:
    if said.code != NOT_RESTORED:
        return said.link or None
    return f"aibemu lets the compiler fetch nothing; fetch the module first: {shlex.join(restore)}"


def _others(others: Sequence[str]) -> Iterator[tuple[Severity, str]]:
    """Lines about no place, each with what it weighs: what is indented belongs to the line before."""
    told: list[str] = []
    for line in others:
        if told and line[:1].isspace():
            told[-1] += f"\n{line}"
        else:
            told.append(line)
    for text in told:
        warned = text.startswith("WARNING: ") and _NEWS not in text
        yield Severity.WARNING if warned else Severity.NOTE, text.removeprefix("WARNING: ")
