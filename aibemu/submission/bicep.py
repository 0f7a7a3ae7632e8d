"""Bicep: compiled by the user's own `bicep`, or by `az bicep`; without either, one sentence says so.

A compiler is anything that makes ARM JSON of a file (`Compile`), so that one of our own can take this place. What it
prints is read by `bicep_said`; which places of the Bicep files the JSON comes from is worked out by `bicep_places`.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.arm.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.clock import Deadline
from aibemu.errors import HostNotReady, UsageError
from aibemu.processes import Finished, ToolEndless, run_tool
from aibemu.reading import TEXT, Unfit, open_file, read_bytes
from aibemu.records import parse_json
from aibemu.submission.bicep_said import Speech, findings, understand

if TYPE_CHECKING:
    from aibemu.submission.compilations import Memory

SUFFIXES = (".bicep", ".bicepparam")
TIMEOUT = 120.0

# Lines of a compiler that failed which are shown: what happened is in the first.
_SHOWN = 10


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


def compile_file(path: Path, folder: Path, deadline: Deadline, memory: Memory | None = None) -> Compiled:
    """Compile `path`, a name that starts from `folder`, with what is on PATH. memory: what was compiled before.

    Raises HostNotReady without a compiler, TemplateInvalid with its errors, and what `deadline` raises.
    """
    _readable(path, folder)
    parameters = path.suffix.casefold() == ".bicepparam"
    command, restore = _commands(path, folder, parameters=parameters)
    if memory is None or parameters:  # those may read the environment: what they give is kept nowhere
        done = _run(command, deadline)
    else:
        done = memory.recall(command) or memory.keep(command, lambda: _run(command, deadline), deadline)
    speech = understand(done.stderr)
    said = _findings(speech, path, folder, restore)
    if done.status != 0:
        if any(found.severity is Severity.ERROR for found in said):
            raise TemplateInvalid(said)
        raise _failed(path, command, done, speech)
    try:
        answer = parse_json(done.stdout)
    except ValueError:
        raise _failed(path, command, done, speech) from None
    if not parameters:
        return Compiled(template=done.stdout, diagnostics=said)
    both = (answer.get("templateJson"), answer.get("parametersJson")) if isinstance(answer, dict) else ()
    match both:
        case (str() | None as template, str() as values):
            return Compiled(template=template, parameters=values, diagnostics=said)
    raise _failed(path, command, done, speech)


def _readable(path: Path, folder: Path) -> None:
    try:
        open_file(Path(folder, path), limit=TEXT).close()
    except Unfit as error:
        raise UsageError(f"{error}: it is no Bicep file") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def _commands(path: Path, folder: Path, *, parameters: bool) -> tuple[list[str], list[str]]:
    """The command that compiles, and the one that fetches modules, which the user may run.

    Without --no-restore every build asks a host for the list of public modules, even of a file that has none.
    """
    verb = "build-params" if parameters else "build"
    # Absolute, so that no name looks like an option.
    name = str(Path(folder, path))
    if program := shutil.which("bicep"):
        return [program, verb, name, "--stdout", "--no-restore"], ["bicep", "restore", str(path)]
    if program := shutil.which("az"):
        words = [program, "bicep", verb, "--file", name, "--stdout", "--no-restore"]
        return words, ["az", "bicep", "restore", "--file", str(path)]
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
            hint=f"run it by hand: {shlex.join(command)}",
        ) from None
    except OSError as error:
        raise HostNotReady(f"{command[0]} cannot be started: {error.strerror or error}") from error


def _findings(speech: Speech, path: Path, folder: Path, restore: Sequence[str]) -> tuple[Diagnostic, ...]:
    found = findings(
        speech, typed=str(path), named=lambda file: _as_typed(file, path, folder),
        lines=lambda file: _lines(Path(folder, path).parent / file), restore=restore,
    )  # fmt: skip
    # The files come in another order each time: that of the user goes first.
    return tuple(sorted(found, key=lambda one: (one.span.file != str(path), one.span.file)))


def _lines(file: Path) -> list[str]:
    """Those of a Bicep file, as its compiler counts them; none if it cannot be read."""
    try:
        return source_text(file).split("\n")
    except OSError:
        return []


def source_text(file: Path) -> str:
    """The text of a Bicep file as its compiler reads it: by its byte-order mark, else UTF-8. Lines end with `\\n`.
    Raises OSError."""
    data = read_bytes(file)
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return data.decode(encoding, "replace").replace("\r\n", "\n").replace("\r", "\n")


def _as_typed(named: str, path: Path, folder: Path) -> str:
    """The compiler says absolute paths; the user gets back what was typed. A module may have the same name."""
    whole = Path(named)
    same = whole.resolve() == Path(folder, path).resolve() if whole.is_absolute() else named == path.name
    return str(path) if same else named


def _failed(path: Path, command: Sequence[str], done: Finished, speech: Speech) -> HostNotReady:
    """For a compiler that made no JSON, and found no error in the file."""
    lines = list(speech.first) or [line for line in done.stdout.splitlines() if line.strip()]
    lines += [f"{said.file}({said.line},{said.column}): {said.code}: {said.message}" for said in speech.placed]
    more = [f"... and {len(lines) - _SHOWN} more lines"] if len(lines) > _SHOWN else []
    return HostNotReady(
        f"the Bicep compiler made nothing of {path} (exit status {done.status})", details=lines[:_SHOWN] + more,
        hint=f"run it by hand: {shlex.join(command)}",
    )  # fmt: skip
