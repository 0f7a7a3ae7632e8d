"""What a WinRM client told a machine of `fixtures/guests/scripted.py`, decoded: files, whatever way they came, and
commands."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aibemu.communicators.winrm import powershell
from fixtures.guests.scripted import Call
from tests.winrm_guests import pattern_of, texts_of

_ECHO = re.compile(r'echo (\S+) >> "%TEMP%\\(.+)"')
_RESTORE = re.compile(r'GetFullPath\("(?:\$env:TEMP\\)?([^"]+)"')
_STORE = pattern_of(powershell.STORE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A file that was written."""

    # With slashes.
    path: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A command that was run."""

    # The command line; of -EncodedCommand the script.
    text: str
    stdin: bytes
    # Of the shell and of the command: user, code page, directory, variables, whether cmd.exe was left out.
    shell: tuple[str, int, str | None, Mapping[str, str], bool]


def told(calls: Iterable[Call]) -> list[Write | Run]:
    """What they come to, in order. Packer's pieces of a file are one `Write`, and so is aibemu's own upload."""
    pieces: dict[str, bytes] = {}
    found: list[Write | Run] = []
    for call in calls:
        if echoed := _ECHO.fullmatch(call.text):
            pieces[echoed[2]] = pieces.get(echoed[2], b"") + base64.b64decode(echoed[1])
        elif "FromBase64String($base64_line)" in call.text:
            source, target = _RESTORE.findall(call.text)
            found.append(Write(path=target.replace("\\", "/"), content=pieces[source]))
        elif "Remove-Item $tmp_file_path" in call.text:
            del pieces[_RESTORE.findall(call.text)[0]]
        elif _STORE.match(call.text):
            content = b"".join(base64.b64decode(line) for line in bytes(call.stdin).split())
            found.append(Write(path=texts_of(call)[0].replace("\\", "/"), content=content))
        else:
            what = call.what
            shell = (what.user, what.code_page, what.directory, dict(what.environment), what.skip_cmd_shell)
            found.append(Run(text=call.text, stdin=bytes(call.stdin), shell=shell))
    assert not pieces, "a file was sent and not put together, or its pieces were left behind"
    return found
