"""What the parser of a PowerShell on this machine says of scripts, where one is installed. Nothing is executed."""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.clock import Deadline
from aibemu.processes import RunningTool, ToolEndless
from aibemu.template.scripts import Script
from aibemu.template.scripts.powershell_parts import mistakes_of
from aibemu.template.scripts.powershell_tokens import tokens_of

# One script a line in base64, numbered; out comes the first error of each: number, id, offset in UTF-16, message.
_PROGRAM = """
$number = 0
while ($null -ne ($line = [Console]::In.ReadLine())) {
  $text = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($line))
  $tokens = $null; $errors = $null
  [void][System.Management.Automation.Language.Parser]::ParseInput($text, [ref]$tokens, [ref]$errors)
  foreach ($found in $errors) {
    $message = [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($found.Message))
    [Console]::Out.WriteLine("$number $($found.ErrorId) $($found.Extent.StartOffset) $message")
  }
  $number++
}
"""
_LINE = re.compile(r"(\d+) (\w+) (\d+) ([A-Za-z0-9+/=]+)")
# What is only in the guest: types and modules that a script names; and what 7 lacks and 5.1 has.
_NOT_TO_BLAME = frozenset({
    "TypeNotFound", "ModuleNotFoundDuringParse", "ErrorLoadingAssembly", "WorkflowNotSupportedInPowerShellCore",
    "KeywordParameterReservedForFutureUse",
})  # fmt: skip
# Characters of all scripts together that it is asked about.
_MOST = 4 << 20
# `using namespace` loads nothing. The case of letters is Python's, which knows more of them than .NET.
_LOADS = re.compile(r"(usin)g(?![ \t]+namespace\b)|(configuratio)n", re.IGNORECASE)
_OF_5_1 = re.compile(r"^[^\S\n]*(?:configuration|workflow)\s", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerShellJudge:
    """The parser, started with the scripts that it is to read."""

    tool: RunningTool
    scripts: Sequence[Script]

    def findings(self, deadline: Deadline, seconds: float) -> Iterator[Diagnostic]:
        """W63 of each script that it refuses. When it takes too long nothing: it is only asked for more. Raises what
        `deadline` raises."""
        try:
            done = self.tool.finish(deadline, seconds=seconds)
        except ToolEndless:
            return
        seen = set()
        for number, id_, offset, message in _LINE.findall(done.stdout):
            if id_ in _NOT_TO_BLAME or number in seen or int(number) >= len(self.scripts):
                continue
            seen.add(number)
            script = self.scripts[int(number)]
            why = " ".join(base64.b64decode(message).decode("utf-8", "replace").split())
            yield Diagnostic(
                id="W63", severity=Severity.WARNING, span=script.at(_characters(script.text, int(offset))),
                message=f"PowerShell cannot read this script: {why}", path=script.step.path,
                hint="mend the script; nothing of it runs as it is",
            )  # fmt: skip


def start(scripts: Sequence[Script]) -> PowerShellJudge | None:
    """Ask the parser about the scripts in which our own rules find no mistake; None when there is none to be asked."""
    program = shutil.which("pwsh")
    if program is None:
        return None
    asked = [one for one in scripts if not _OF_5_1.search(one.text) and _reads_well(one.text)]
    sizes = accumulate(len(one.text) for one in asked)
    asked = [one for one, size in zip(asked, sizes, strict=True) if size <= _MOST]
    if not asked:
        return None
    lines = [base64.b64encode(harmless(script.text).encode("utf-8", "replace")) for script in asked]
    words = [program, "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", _PROGRAM]
    quiet = {**os.environ, "POWERSHELL_TELEMETRY_OPTOUT": "1", "POWERSHELL_UPDATECHECK": "Off"}
    return PowerShellJudge(tool=RunningTool(words, stdin=b"\n".join(lines) + b"\n", env=quiet), scripts=asked)


def harmless(text: str) -> str:
    """The text with another letter in each word that makes the parser load something, so that offsets stay."""
    return _LOADS.sub(lambda found: f"{found[1]}q" if found[1] else f"{found[2]}m", text)


def _reads_well(text: str) -> bool:
    """Our own reader has read all of it, and found nothing."""
    found = tokens_of(text)
    return found.whole and not mistakes_of(found)


def _characters(text: str, units: int) -> int:
    """The offset in characters of one in UTF-16."""
    if text.isascii():
        return min(units, len(text))
    return len(text.encode("utf-16-le", "surrogatepass")[: 2 * units].decode("utf-16-le", "replace"))
