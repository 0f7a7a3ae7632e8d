"""W40: /tmp holds the script that generalises the image."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from aibemu.template.scripts.commands import Command, Word
from aibemu.template.scripts.judge import Judge

_SCRIPT = "/tmp/DeprovisioningScript.sh"
_NAME = posixpath.basename(_SCRIPT)
# Conditions of find that the script does not fulfil, or that nobody can judge from the text.
_CONDITIONS = (
    "-mtime -mmin -atime -amin -ctime -cmin -newer -size -empty -user -group -path -regex -perm -uid -gid -nouser"
)
_NARROWS = frozenset(_CONDITIONS.split())
Loops = Mapping[str, Sequence[str]]
_MOST = 50  # values of one variable
_LOOPS = re.compile(r"\bfor\s+(?P<name>\w+)\s+in\s+(?P<values>[^;\n]{1,500})")


def check_deletions(judge: Judge) -> None:
    """W40, in whatever words /tmp is emptied."""
    if not judge.script.before_capture:
        return
    loops = _loops(judge.script.text)
    for command in judge.commands:
        if (place := _deletes(judge, command, loops)) is not None:
            message = f"this deletes {_SCRIPT} too, and the image is then not generalised"
            judge.warn("W40", place, message, "delete what you put there by name")


def _deletes(judge: Judge, command: Command, loops: Loops) -> int | None:
    """Where a command names what it deletes, if the script is among it."""
    if command.name in ("rm", "unlink", "shred"):
        whole = command.name == "rm" and command.has_option("r", "--recursive", "-R", "-Rf", "-fR")
        return next((word.at for word in command.operands() if _names(judge, command, word, loops, whole)), None)
    if command.name == "mv":
        return next((word.at for word in command.operands()[:-1] if _names(judge, command, word, loops, True)), None)
    if command.name == "find":
        return _found(judge, command)
    if command.name == "mount" and command.arguments[-1:] == ("/tmp",) and "remount" not in " ".join(command.arguments):
        return command.words[-1].at
    return None


def _names(judge: Judge, command: Command, word: Word, loops: Loops, whole: bool) -> bool:
    """Whether a word means the script; whole: or a folder that it is in."""
    if word.quoted and "*" in word.text:
        return False
    if not word.literal:
        return any(_matches(value, whole) for value in _values(loops, word))
    path = judge.folders.path(command, word)
    return path is not None and _matches(path, whole)


def _loops(text: str) -> Loops:
    """What the loops of a script give to each variable."""
    found: dict[str, list[str]] = {}
    for loop in _LOOPS.finditer(text):
        values = found.setdefault(loop["name"], [])
        values += loop["values"].split()[: _MOST - len(values)]
    return found


def _values(loops: Loops, word: Word) -> Sequence[str]:
    name = re.fullmatch(r"\$\{?(\w+)\}?", word.text)
    return loops.get(name[1], ()) if name else ()


def _matches(path: str, whole: bool) -> bool:
    """Whether a path, perhaps with `*` in it, is the script or, with `whole`, /tmp."""
    if path.endswith("/*/"):
        return False
    path = posixpath.normpath(path.replace("**", "*"))
    if whole and path in ("/tmp", "//tmp"):
        return True
    folder, _, name = path.rpartition("/")
    return folder == "/tmp" and len(name) < 200 and fnmatchcase(_NAME, name)


def _found(judge: Judge, command: Command) -> int | None:
    """Where find gets /tmp, if it deletes all files there, or those of the script's name."""
    arguments = command.arguments
    deletes = "-delete" in arguments or re.search(r"-(?:exec|execdir|ok) (?:sudo )?(?:/bin/)?rm\b", " ".join(arguments))
    if not (deletes or _into_rm(judge, command)) or _NARROWS & set(arguments):
        return None
    for word in command.operands()[:3]:
        path = judge.folders.path(command, word)
        if path is not None and re.fullmatch(r"/tmp(?:/\*?)?", path) and _fits(arguments):
            return word.at
    return None


def _fits(arguments: tuple[str, ...]) -> bool:
    """Whether the names and types that find asks for are those of the script."""
    negated = False
    for option, value in zip(arguments, (*arguments[1:], ""), strict=True):
        fits = True
        if option == "-name":
            fits = fnmatchcase(_NAME, value[:200])
        elif option == "-iname":
            fits = fnmatchcase(_NAME.lower(), value[:200].lower())
        elif option == "-type":
            fits = "f" in value
        if option in ("-name", "-iname", "-type") and fits == negated:
            return False
        negated = option in ("!", "-not")
    return True


def _into_rm(judge: Judge, command: Command) -> bool:
    """`find ... | xargs rm`."""
    parent = judge.parsed.parent(command.node)
    if parent is None or parent.type != "pipeline":
        return False
    return (
        re.search(r"\|\s*(?:sudo\s+)?xargs\s+(?:-\S+\s+)*(?:sudo\s+)?rm\b", judge.parsed.text(parent)[:2000])
        is not None
    )
