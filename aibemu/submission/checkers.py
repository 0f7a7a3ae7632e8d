"""What programs on this machine say of scripts: the shell's own syntax check, shellcheck, PowerShell's parser. Nothing
is executed.

All are optional. Some are started at once, since starting is most of what they cost; a template may have thousands of
scripts, and each is a process.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.clock import Deadline, forever
from aibemu.files import temporary_folder
from aibemu.processes import RunningTool, ToolEndless
from aibemu.records import parse_json
from aibemu.template.scripts import Dialect, Script
from aibemu.text import counted

if TYPE_CHECKING:
    from aibemu.submission.powershell import PowerShellJudge

TIMEOUT = 10.0
# Shells that run at once, and scripts that are given to programs at most.
AT_ONCE, MOST = 32, 500

# Whoever checks the syntax of a dialect, the best first.
_SHELLS = {Dialect.SH: ("dash", "sh"), Dialect.BASH: ("bash",)}
# `bash: line 3: syntax error near...`, `dash: 2: Syntax error: ...`, `sh: 2: ...`
_SYNTAX = re.compile(r"^[^:\n]*: (?:line )?(?P<line>\d+): (?P<message>.*)$", re.MULTILINE)
# Files and variables that are only in the guest; what our own rules say better, such as a `#!` that is none; the
# missing `#!` of inline text.
_LEFT_OUT = frozenset({1082, 1084, 1091, 1114, 1115, 1128, 2148, 2154, 2155, 2034, 2117})
# What shellcheck calls a warning is mostly advice; what may be wrong for certain it calls an error.
_LEVELS = {"error": Severity.WARNING, "warning": Severity.NOTE}
# How Packer begins inline text that has no first line of its own (facts: provisioners 1.1): with -e, `cd` may fail.
_SHEBANG = "#!/bin/sh -e\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """A process that was given its input already."""

    tool: RunningTool
    scripts: Sequence[Script]


def check_scripts(scripts: Sequence[Script], deadline: Deadline | None = None) -> list[Diagnostic]:
    """Findings of all of them about all scripts, each at its place. Raises what `deadline` raises."""
    shells = [script for script in scripts if script.dialect in _SHELLS]
    windows = [script for script in scripts if script.dialect is Dialect.POWERSHELL]
    if not shells and not windows:
        return []
    found = [*_left_out(shells[MOST:]), *_left_out(windows[MOST:])]
    shells, windows, until = shells[:MOST], windows[:MOST], deadline or forever()
    with temporary_folder() as folder, ExitStack() as tools:
        started = [*_start_shellcheck(shells, folder)]
        judge = _start_powershell(windows)
        for tool in [*(one.tool for one in started), *([judge.tool] if judge else [])]:
            tools.enter_context(tool)
        for at in range(0, len(shells), AT_ONCE):
            found += _syntax_of(shells[at : at + AT_ONCE], until)
        found += [finding for one in started for finding in _finished(one, until)]
        found += judge.findings(until, TIMEOUT) if judge else ()
    # A script that cannot be parsed is one finding, not one of each program.
    broken = {(finding.span.file, finding.path) for finding in found if finding.id == "W31"}
    return [f for f in found if f.id == "W31" or not f.id.startswith("SC1") or (f.span.file, f.path) not in broken]


def _start_powershell(scripts: Sequence[Script]) -> PowerShellJudge | None:
    """Imported when there is something for it to judge: it takes a tenth of the time of a small template's check."""
    if not scripts:
        return None
    from aibemu.submission import powershell

    return powershell.start(scripts)


def _left_out(scripts: Sequence[Script]) -> Iterator[Diagnostic]:
    if scripts:
        message = f"{counted(len(scripts), 'more script')}, from here on, not given to the shell's parser and its like"
        yield _finding("W31", Severity.NOTE, scripts[0], scripts[0].at(0), message, None)


def _syntax_of(scripts: Sequence[Script], deadline: Deadline) -> list[Diagnostic]:
    with ExitStack() as tools:
        started = [*_start_shells(scripts)]
        for one in started:
            tools.enter_context(one.tool)
        return [finding for one in started for finding in _finished(one, deadline)]


def _start_shells(scripts: Iterable[Script]) -> Iterator[_Started]:
    for script in scripts:
        shell = next((path for name in _SHELLS[script.dialect] if (path := shutil.which(name))), None)
        if shell is not None:
            yield _started([shell, "-n"], [script], script.text)


def _start_shellcheck(scripts: Sequence[Script], folder: Path) -> Iterator[_Started]:
    program = shutil.which("shellcheck")
    if program is None:
        return
    for dialect in _SHELLS:
        mine = [script for script in scripts if script.dialect is dialect]
        paths = [folder / f"{dialect.value}-{number}" for number in range(len(mine))]
        for path, script in zip(paths, mine, strict=True):
            path.write_text(_head(script) + script.text, encoding="utf-8", errors="surrogatepass")
        if mine:
            command = [program, "--norc", "--format=json1", f"--shell={dialect.value}", "--severity=warning"]
            yield _started([*command, "--", *map(str, paths)], mine)


def _head(script: Script) -> str:
    return _SHEBANG if script.inline and not script.text.startswith("#!") else ""


def _started(command: Sequence[str], scripts: Sequence[Script], text: str = "") -> _Started:
    return _Started(tool=RunningTool(command, stdin=text.encode("utf-8", "replace")), scripts=scripts)


def _finished(started: _Started, deadline: Deadline) -> Iterator[Diagnostic]:
    tool, first = started.tool, started.scripts[0]
    program = Path(tool.argv[0]).name
    try:
        done = tool.finish(deadline, seconds=TIMEOUT)
    except ToolEndless as error:
        message = f"{program}{error.message.removeprefix(tool.argv[0])}: its findings are missing"
        yield _finding("W31", Severity.NOTE, first, first.at(0), message, None)
        return
    if program == "shellcheck":
        yield from _shellcheck(started.scripts, done.stdout)
    else:
        yield from _syntax(first, done.stderr, done.status)


def _syntax(script: Script, text: str, status: int) -> Iterator[Diagnostic]:
    match = _SYNTAX.search(text)
    if status != 0 and match is not None:
        message = f"the shell cannot read this script: {match['message'].strip()}"
        hint = "everything before this line still runs" if script.inline else None
        yield _finding("W31", Severity.WARNING, script, script.line(int(match["line"])), message, hint)


def _shellcheck(scripts: Sequence[Script], text: str) -> Iterator[Diagnostic]:
    try:
        comments: list[dict[str, Any]] = parse_json(text)["comments"]
    except (ValueError, KeyError, TypeError):
        return
    for comment in comments:
        number = int(comment["code"])
        # SC2039 and SC3000 to 3999: what POSIX does not know. Ours says which of it dash does not know.
        if number in _LEFT_OUT or number == 2039 or 3000 <= number < 4000:
            continue
        script = scripts[int(str(comment["file"]).rpartition("-")[2])]
        span = script.line(int(comment["line"]) - _head(script).count("\n"), int(comment["column"]))
        severity = _LEVELS.get(str(comment["level"]), Severity.NOTE)
        hint = f"https://www.shellcheck.net/wiki/SC{number}"
        yield _finding(f"SC{number}", severity, script, span, str(comment["message"]), hint)


def _finding(id_: str, severity: Severity, script: Script, span: Any, message: str, hint: str | None) -> Diagnostic:
    return Diagnostic(id=id_, severity=severity, message=message, span=span, path=script.step.path, hint=hint)
