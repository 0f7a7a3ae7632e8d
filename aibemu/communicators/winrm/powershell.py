"""The PowerShell texts of this communicator: for Windows PowerShell 5.1, each short enough for a command line.

Each ends with an exit code of ours and says why on standard error. `exit` inside them ends the engine.
"""

from __future__ import annotations

import re

from aibemu.powershell import encoded, quoted

# The destination cannot be written or the source not read; there is no such file; the depot does not answer, or breaks
# off.
UNUSABLE, ABSENT, UNREACHABLE, BROKEN_OFF = 41, 44, 51, 52

# Lines of base64 on standard input into a file; its SHA-256 on standard output. The lines are read here, one at a time:
# the engine's own reading would keep them all.
STORE = """
$ErrorActionPreference = 'Stop'
function Stop-Here { [Console]::Error.WriteLine($args[0].Exception.GetBaseException().Message); exit $args[1] }
try {
    $file = [IO.File]::Create(PATH)
    $sha = [Security.Cryptography.SHA256]::Create()
    while ($null -ne ($line = [Console]::In.ReadLine())) {
        $bytes = [Convert]::FromBase64String($line)
        [void]$sha.TransformBlock($bytes, 0, $bytes.Length, $bytes, 0)
        $file.Write($bytes, 0, $bytes.Length)
    }
    $file.Dispose()
    [void]$sha.TransformFinalBlock([byte[]]@(), 0, 0)
    [Console]::Out.WriteLine([BitConverter]::ToString($sha.Hash))
} catch { Stop-Here $_ UNUSABLE }
"""

# What an address has into a file; its SHA-256 on standard output.
FETCH = """
$ErrorActionPreference = 'Stop'
function Stop-Here { [Console]::Error.WriteLine($args[0].Exception.GetBaseException().Message); exit $args[1] }
try {
    $request = [Net.WebRequest]::Create(ADDRESS)
    $request.Proxy = $null
    $request.Timeout = 15000
    $answer = $request.GetResponse()
} catch { Stop-Here $_ UNREACHABLE }
try { $file = [IO.File]::Create(PATH) } catch { Stop-Here $_ UNUSABLE }
$sha = [Security.Cryptography.SHA256]::Create()
$through = New-Object Security.Cryptography.CryptoStream($file, $sha, 'Write')
try {
    $answer.GetResponseStream().CopyTo($through, 1048576)
    $through.FlushFinalBlock()
    $file.Dispose()
} catch { $file.Dispose(); Stop-Here $_ BROKEN_OFF }
[Console]::Out.WriteLine([BitConverter]::ToString($sha.Hash))
"""

# A file as lines of base64 on standard output, the last one `=` and its SHA-256.
READ = """
$ErrorActionPreference = 'Stop'
function Stop-Here { [Console]::Error.WriteLine($args[0].Exception.GetBaseException().Message); exit $args[1] }
$sha = [Security.Cryptography.SHA256]::Create()
$bytes = New-Object byte[] 49152
try {
    if (-not ([IO.File]::Exists(PATH) -or [IO.Directory]::Exists(PATH))) { exit ABSENT }
    $file = [IO.File]::Open(PATH, 'Open', 'Read', 'ReadWrite')
    while (($size = $file.Read($bytes, 0, $bytes.Length)) -gt 0) {
        [void]$sha.TransformBlock($bytes, 0, $size, $bytes, 0)
        [Console]::Out.WriteLine([Convert]::ToBase64String($bytes, 0, $size))
    }
    [void]$sha.TransformFinalBlock([byte[]]@(), 0, 0)
    [Console]::Out.WriteLine('=' + [BitConverter]::ToString($sha.Hash))
} catch { Stop-Here $_ UNUSABLE }
"""
_CODES = {"UNUSABLE": UNUSABLE, "ABSENT": ABSENT, "UNREACHABLE": UNREACHABLE, "BROKEN_OFF": BROKEN_OFF}


def filled(script: str, **texts: str) -> str:
    """The script with texts in place of the words that stand for them."""
    values = {name: str(code) for name, code in _CODES.items()} | {name: quoted(text) for name, text in texts.items()}
    return re.sub(r"\b(" + "|".join(values) + r")\b", lambda found: values[found[1]], script).strip()


def command(script: str) -> str:
    """The command line that runs a script: without profile, questions and CLIXML; the engine itself leaves standard
    input alone."""
    return (
        "powershell.exe -NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -InputFormat None "
        f"-OutputFormat Text -EncodedCommand {encoded(dense(script))}"
    )


def dense(script: str) -> str:
    """Without indentation: a command line is short. No text in a script of ours goes over several lines."""
    return re.sub(r"\n\s*", "\n", script.strip())
