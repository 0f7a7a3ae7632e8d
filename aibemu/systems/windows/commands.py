"""Command lines for cmd.exe, which is the login shell of WinRM."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aibemu.clock import Deadline
from aibemu.communicators import Communicator
from aibemu.errors import Expired
from aibemu.powershell import encoded

# When Windows started. It is asked of WMI, so that an answer says that PowerShell works, its modules included.
BOOT_ID = (
    'powershell -NoProfile -NonInteractive -Command "(Get-CimInstance -ClassName Win32_OperatingSystem)'
    ".LastBootUpTime.ToUniversalTime().ToString('o')\""
)
HOST_NAME = "hostname"
# Of what cmd gives a meaning to, and what parts words.
_SPECIAL = re.compile(r'[\s"&|<>^()%!,;=]|\A\Z')
# After a person's text: its failure is the exit code. On success nothing follows, for `exit` loses tables that are not
# written yet.
_CODE = "\nif (-not $?) { if ($LASTEXITCODE) { exit $LASTEXITCODE } else { exit 1 } }\n"
_SILENT = "$ProgressPreference = 'SilentlyContinue'\n"


def boot_id(communicator: Communicator, deadline: Deadline) -> str:
    """What changes with each boot; connects anew if need be. `ConnectionError` when the guest does not say it."""
    try:
        status, text = communicator.output(BOOT_ID, deadline=deadline)
    except Expired as error:
        raise ConnectionError(error.message) from error
    if not status.ok or not text.strip():
        raise ConnectionError("the guest did not say when it was started")
    return text.strip()


def command(words: Sequence[str]) -> str:
    """For a person: one word is PowerShell's, several are a program and its arguments."""
    if len(words) == 1:
        return f"powershell -NoProfile -ExecutionPolicy Bypass -EncodedCommand {encoded(_SILENT + words[0] + _CODE)}"
    return " ".join(quote(word) for word in words)


def quote(word: str) -> str:
    """A word as cmd and the C library of Windows both read it back."""
    if not _SPECIAL.search(word):
        return word
    inside = re.sub(r'(\\*)"', r'\1\1\\"', word)
    trailing = re.search(r"\\*\Z", inside)
    return f'"{inside}{trailing[0] if trailing else ""}"'
