"""Command lines for cmd.exe, which is the login shell of WinRM."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aibemu.clock import Deadline
from aibemu.communicators import Communicator
from aibemu.errors import Expired
from aibemu.powershell import encoded, quoted

if TYPE_CHECKING:
    from aibemu.systems.starting import StartingMachine

# When Windows started. It is asked of WMI, so that an answer says that PowerShell works, its modules included.
BOOT_ID = (
    'powershell -NoProfile -NonInteractive -Command "(Get-CimInstance -ClassName Win32_OperatingSystem)'
    ".LastBootUpTime.ToUniversalTime().ToString('o')\""
)
HOST_NAME = "hostname"
# Seconds between two questions to a PowerShell that does not answer yet.
LOOK = 2.0
# Of what cmd gives a meaning to outside of double quotes, and what parts words.
_SPECIAL = re.compile(r"[\s&|<>^(),;=]|\A\Z")
# What cmd changes inside of them too, what ends its line, and what XML cannot carry.
_NOT_FOR_CMD = re.compile(r'["%!\x00-\x08\x0a-\x1f\ud800-\udfff\ufffe\uffff]')
# A program's name that cmd takes as it is. One in quotes at the begin of its line would lose them.
_NAME = re.compile(r"[A-Za-z][\w.:\\-]*")
# Of the C library of Windows: what parts words.
_BLANK = re.compile(r"[ \t]|\A\Z")
# After a person's text: its failure is the exit code. On success nothing follows, for `exit` loses tables that are not
# written yet.
_CODE = "\nif (-not $?) { if ($LASTEXITCODE) { exit $LASTEXITCODE } else { exit 1 } }\n"
_SILENT = "$ProgressPreference = 'SilentlyContinue'\n"
# Starts a program with a command line that nothing reads but the program; Windows looks for it as for any that is named
# without a folder or `.exe`. Its streams are PowerShell's own. A batch file would be started by cmd, which reads words.
_START = """$name = @@NAME@@
$how = New-Object System.Diagnostics.ProcessStartInfo
$how.FileName = $name
$how.Arguments = @@ARGUMENTS@@
$how.UseShellExecute = $false
try {
    if ($name -match '\\.(bat|cmd)[. ]*$') { throw 'it is a batch file' }
    $process = [System.Diagnostics.Process]::Start($how)
} catch {
    [System.Console]::Error.WriteLine("aibemu: $name cannot be started: $($_.Exception.GetBaseException().Message)")
    [System.Console]::Error.WriteLine('aibemu: only a program (.exe) can be given words with " % ! or line breaks')
    exit 9009
}
$process.WaitForExit()
exit $process.ExitCode
"""


def boot_id(communicator: Communicator, deadline: Deadline) -> str:
    """What changes with each boot; connects anew if need be. `ConnectionError` when the guest does not say it."""
    try:
        status, text = communicator.output(BOOT_ID, deadline=deadline)
    except Expired as error:
        raise ConnectionError(error.message) from error
    if not status.ok or not text.strip():
        raise ConnectionError("the guest did not say when it was started")
    return text.strip()


def await_boot_id(machine: StartingMachine, communicator: Communicator, bound: Deadline) -> str:
    """The same of a machine that comes up: PowerShell answers later than WinRM."""
    while True:
        try:
            return boot_id(communicator, bound)
        except ConnectionError:
            machine.check()
            bound.sleep(LOOK)


def clock_command(now: datetime) -> str:
    """What sets the guest's clock to `now`."""
    text = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return (
        'powershell -NoProfile -NonInteractive -Command "Set-Date -Date '
        f"([DateTime]::Parse('{text}', $null, 'RoundtripKind').ToLocalTime())\""
    )


def command(words: Sequence[str]) -> str:
    """For a person: one word is PowerShell's, several are a program and its arguments.

    The program gets them as they are: through cmd where cmd leaves them alone, else started by PowerShell.
    """
    if len(words) == 1:
        return _powershell(_SILENT + words[0] + _CODE)
    if _NAME.fullmatch(words[0]) and not any(_NOT_FOR_CMD.search(word) for word in words):
        return " ".join([words[0], *(quote(word) for word in words[1:])])
    # PowerShell is not to read the input, which is the program's.
    return _powershell(start_script(words), "-InputFormat None ")


def start_script(words: Sequence[str]) -> str:
    """PowerShell that starts the program `words[0]` with the other words, and ends as it does."""
    arguments = " ".join(quote(word, _BLANK) for word in words[1:])
    values = {"@@NAME@@": quoted(words[0]), "@@ARGUMENTS@@": quoted(arguments)}
    return _SILENT + re.sub("|".join(values), lambda place: values[place[0]], _START)


def quote(word: str, special: re.Pattern[str] = _SPECIAL) -> str:
    """A word as the C library of Windows reads it back; in double quotes if it has one of `special`."""
    inside = re.sub(r'(\\*)"', r'\1\1\\"', word)
    if not special.search(word):
        return inside
    trailing = re.search(r"\\*\Z", inside)
    return f'"{inside}{trailing[0] if trailing else ""}"'


def _powershell(script: str, options: str = "") -> str:
    return f"powershell -NoProfile -ExecutionPolicy Bypass {options}-EncodedCommand {encoded(script)}"
