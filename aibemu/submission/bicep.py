"""Bicep: compiled by the user's own `bicep`, or by `az bicep`; without either, one sentence says so.

A compiler is anything that makes ARM JSON of a file (`Compile`), so that one of our own can take this place. Positions
in findings are those of the JSON, which is kept beside the cache for a look; the compiler's own messages have the
places of the Bicep file.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aibemu.arm.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.clock import Deadline
from aibemu.errors import HostNotReady, Span, UsageError
from aibemu.processes import Finished, ToolEndless, run_tool
from aibemu.reading import TEXT, Unfit, open_file
from aibemu.records import parse_json

SUFFIXES = (".bicep", ".bicepparam")
TIMEOUT = 120.0

# `main.bicep(3,7) : Error BCP057: The name "x" does not exist. [https://aka.ms/bicep/core-diagnostics#BCP057]`
_MESSAGE = re.compile(
    r"(?:WARNING: |ERROR: )?(?P<file>.+?)\((?P<line>\d+),(?P<column>\d+)\)\s*:\s*"
    r"(?P<level>Error|Warning|Info)\s+(?P<id>[\w-]+):\s*(?P<message>.*?)(?:\s*\[(?P<link>https?://[^\]]+)\])?\s*$"
)
_LEVELS = {"Error": Severity.ERROR, "Warning": Severity.WARNING, "Info": Severity.NOTE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """template: ARM JSON, None for a .bicepparam that names no file (`using none`, a template spec); parameters: a
    parameters file, of a .bicepparam; diagnostics: what the compiler said."""

    template: str | None
    parameters: str | None = None
    diagnostics: tuple[Diagnostic, ...] = ()


Compile = Callable[[Path, Path, Deadline], Compiled]


def is_bicep(path: Path) -> bool:
    """True for a file that has to be compiled first."""
    return path.suffix.casefold() in SUFFIXES


def compile_file(path: Path, folder: Path, deadline: Deadline) -> Compiled:
    """Compile `path`, a name that starts from `folder`, with what is on PATH.

    Raises HostNotReady without a compiler, TemplateInvalid with its errors, and what `deadline` raises.
    """
    _readable(path, folder)
    parameters = path.suffix.casefold() == ".bicepparam"
    command = _command(path, folder, parameters=parameters)
    done = _run(command, deadline)
    said = tuple(_messages(done.stderr, path, folder))
    if done.status != 0:
        raise TemplateInvalid(said) if any(d.severity is Severity.ERROR for d in said) else _failed(path, command, done)
    try:
        answer = parse_json(done.stdout)
    except ValueError:
        raise _failed(path, command, done) from None
    if not parameters:
        return Compiled(template=done.stdout, diagnostics=said)
    both = (answer.get("templateJson"), answer.get("parametersJson")) if isinstance(answer, dict) else ()
    match both:
        case (str() | None as template, str() as values):
            return Compiled(template=template, parameters=values, diagnostics=said)
    raise _failed(path, command, done)


def _readable(path: Path, folder: Path) -> None:
    try:
        open_file(Path(folder, path), limit=TEXT).close()
    except Unfit as error:
        raise UsageError(f"{error}: it is no Bicep file") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def _command(path: Path, folder: Path, *, parameters: bool) -> list[str]:
    verb = "build-params" if parameters else "build"
    # Absolute, so that no name looks like an option.
    name = str(Path(folder, path))
    if program := shutil.which("bicep"):
        return [program, verb, name, "--stdout"]
    if program := shutil.which("az"):
        return [program, "bicep", verb, "--file", name, "--stdout"]
    raise HostNotReady(
        f"{path} is Bicep, and there is no `bicep` (nor `az`) on PATH to compile it",
        hint="install the Bicep CLI, or give aibemu the JSON that `bicep build` makes of it elsewhere",
    )


def _run(command: Sequence[str], deadline: Deadline) -> Finished:
    try:
        return run_tool(command, deadline=deadline, check=False, seconds=TIMEOUT)
    except ToolEndless as error:
        raise HostNotReady(
            f"`{' '.join(command[:2])}`: {error.message}",
            hint="modules of a registry need the network: `bicep restore` fetches them",
        ) from None
    except OSError as error:
        raise HostNotReady(f"{command[0]} cannot be started: {error.strerror or error}") from error


def _messages(text: str, path: Path, folder: Path) -> list[Diagnostic]:
    found = []
    for line in text.splitlines():
        match = _MESSAGE.match(line)
        if match:
            span = Span(
                file=_as_typed(match["file"].strip(), path, folder),
                line=int(match["line"]),
                column=int(match["column"]),
            )
            found.append(
                Diagnostic(
                    id=match["id"], severity=_LEVELS[match["level"]], message=match["message"], span=span,
                    hint=match["link"] or None,
                )
            )  # fmt: skip
    return found


def _as_typed(named: str, path: Path, folder: Path) -> str:
    """The compiler says absolute paths; the user gets back what was typed. A module may have the same name."""
    whole = Path(named)
    same = whole.resolve() == Path(folder, path).resolve() if whole.is_absolute() else named == path.name
    return str(path) if same else named


def _failed(path: Path, command: Sequence[str], done: Finished) -> HostNotReady:
    lines = [line for line in (done.stderr.strip() or done.stdout.strip()).splitlines() if line.strip()]
    return HostNotReady(
        f"the Bicep compiler made nothing of {path} (exit status {done.status})", details=lines[-10:],
        hint="run it by hand: " + " ".join(command),
    )  # fmt: skip
