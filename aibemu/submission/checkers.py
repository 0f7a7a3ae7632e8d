"""What programs on this machine say of scripts: the shell's own syntax check, and shellcheck. Nothing is executed.

Both are optional. All are started at once, since starting is most of what they cost.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.template.scripts import Dialect, Script

TIMEOUT = 10.0

# Whoever checks the syntax of a dialect, the best first.
_SHELLS = {Dialect.SH: ("dash", "sh"), Dialect.BASH: ("bash",)}
# `bash: line 3: syntax error near...`, `dash: 2: Syntax error: ...`, `sh: 2: ...`
_SYNTAX = re.compile(r"^[^:\n]*: (?:line )?(?P<line>\d+): (?P<message>.*)$", re.MULTILINE)
# Files and variables that are only in the guest; what our own rules say better; the missing `#!` of inline text.
_LEFT_OUT = frozenset({1091, 2148, 2154, 2155, 2034, 2117})
# What shellcheck calls a warning is mostly advice; what may be wrong for certain it calls an error.
_LEVELS = {"error": Severity.WARNING, "warning": Severity.NOTE}
# How Packer begins inline text that has no first line of its own (facts: provisioners 1.1): with -e, `cd` may fail.
_SHEBANG = "#!/bin/sh -e\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """A process that was given its input already."""

    process: subprocess.Popen[str]
    scripts: Sequence[Script]


def check_scripts(scripts: Sequence[Script]) -> list[Diagnostic]:
    """Findings of both about all shell scripts, each at its place."""
    shells = [script for script in scripts if script.dialect in _SHELLS]
    if not shells:
        return []
    with tempfile.TemporaryDirectory(prefix="aibemu-scripts-") as folder:
        started = [*_start_shells(shells), *_start_shellcheck(shells, Path(folder))]
        found = [finding for one in started for finding in _finished(one)]
    # A script that cannot be parsed is one finding, not one of each program.
    broken = {(finding.span.file, finding.path) for finding in found if finding.id == "W31"}
    return [f for f in found if f.id == "W31" or not f.id.startswith("SC1") or (f.span.file, f.path) not in broken]


def _start_shells(scripts: Iterable[Script]) -> Iterator[_Started]:
    for script in scripts:
        shell = next((path for name in _SHELLS[script.dialect] if (path := shutil.which(name))), None)
        if shell is not None:
            yield _Started(process=_start([shell, "-n"], script.text), scripts=[script])


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
            yield _Started(process=_start([*command, "--", *map(str, paths)], ""), scripts=mine)


def _head(script: Script) -> str:
    return _SHEBANG if script.inline and not script.text.startswith("#!") else ""


def _start(command: Sequence[str], text: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        errors="replace",
    )  # fmt: skip
    assert process.stdin is not None
    try:
        process.stdin.write(text)
        process.stdin.close()
    except OSError:
        pass  # it ended before it read all: what it says is enough
    process.stdin = None
    return process


def _finished(started: _Started) -> Iterator[Diagnostic]:
    process, first = started.process, started.scripts[0]
    try:
        out, errors = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        program = Path(str(process.args[0] if isinstance(process.args, list) else process.args)).name
        message = f"{program} did not end within {TIMEOUT:g} seconds, and its findings are missing"
        yield _finding("W31", Severity.NOTE, first, first.at(0), message, None)
        return
    if "shellcheck" not in str(process.args):
        yield from _syntax(first, errors, process.returncode)
    else:
        yield from _shellcheck(started.scripts, out)


def _syntax(script: Script, text: str, status: int) -> Iterator[Diagnostic]:
    match = _SYNTAX.search(text)
    if status != 0 and match is not None:
        message = f"the shell cannot read this script: {match['message'].strip()}"
        hint = "everything before this line still runs" if script.inline else None
        yield _finding("W31", Severity.WARNING, script, script.line(int(match["line"])), message, hint)


def _shellcheck(scripts: Sequence[Script], text: str) -> Iterator[Diagnostic]:
    try:
        comments: list[dict[str, Any]] = json.loads(text)["comments"]
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
