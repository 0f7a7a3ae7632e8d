"""What CI systems take for commands, as strictly as it can be seen: their own rules, and those rules with everything
passed over that a comparison by culture passes over (actions/runner and the Azure agent are .NET programs).

actions/runner: `::name ...::` where a line starts, after white space, and `##[name ...]` anywhere; a carriage return
ends a line too. Azure's agent: `##vso[area.event ...]` anywhere; its log viewer: `##[name]`. Case does not matter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_ANYWHERE = re.compile(r"##(?:vso)?\[", re.IGNORECASE)
_AT_START = re.compile(r"::.*?::", re.DOTALL)
_LINE_ENDS = re.compile(r"\r\n|\r|\n")

GITHUB = (
    "set-env", "set-output", "save-state", "add-path", "add-mask", "add-matcher", "remove-matcher", "warning", "error",
    "notice", "debug", "group", "endgroup", "echo", "stop-commands", "internal-set-repo-path",
)  # fmt: skip
AZURE = (
    "task.setvariable variable=x", "task.prependpath", "task.logissue type=error", "task.complete result=Succeeded",
    "task.setsecret", "task.uploadfile", "task.uploadsummary", "task.logdetail id=1", "task.setprogress value=1",
    "task.addattachment type=a;name=b", "task.setendpoint id=1;field=url", "artifact.upload artifactname=a",
    "artifact.associate type=file", "build.uploadlog", "build.updatebuildnumber", "build.addbuildtag",
    "release.updatereleasename", "telemetry.publish area=a",
)  # fmt: skip
COMMANDS = (
    *(f"::{name} a=b::x" for name in GITHUB),
    *(f"##[{name}]x" for name in GITHUB),
    *(f"##vso[{name}]x" for name in AZURE),
)
# What stands inside of a command to hide it until it is taken out. U+E000: a mark for where the next letter is.
HIDDEN = (
    "\x1b[0m", "\x1b[1;31m", "\x1b]0;t\x07", "\x1bP1$r\x1b\\", "\x1b(B", "\x1b", "\x00", "\x08", "\x7f", "\x9b",
    "\u200b", "\u200d", "\u2060", "\u202e", "\u2066", "\u2028", "\u2029", "\x85", "\xad", "\ufeff", "\ufe0f", "\u034f",
    "\U000e0041",
)  # fmt: skip


def taken(text: str) -> list[str]:
    """The lines of `text` that some runner would obey."""
    return [line for line in _LINE_ENDS.split(text) for form in _readings(line) if _is_command(form)]


def disguises(command: str) -> Iterator[str]:
    """`command` in the ways to get it past somebody who looks for it."""
    yield from (command, command.upper(), f"  \t{command}", f"text {command}", f"a\r{command}", f"a\r\n{command}")
    for hidden in HIDDEN:
        yield hidden + command
        for place in range(1, 6):
            yield command[:place] + hidden + command[place:]
        yield hidden.join(command)
    yield "".join(hidden + letter for letter, hidden in zip(command, HIDDEN * 9, strict=False))


def _is_command(line: str) -> bool:
    return bool(_ANYWHERE.search(line) or _AT_START.match(line.lstrip()))


def _readings(line: str) -> tuple[str, str]:
    return line, "".join(character for character in line if not _passed_over(character))


def _passed_over(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Mn", "Me"}
