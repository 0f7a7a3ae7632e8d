"""W99: the deprovisioning removes the build user and its home."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from aibemu.template.scripts.commands import Command, Word
from aibemu.template.scripts.judge import Judge

_HOME = re.compile(r"(?:~|\$HOME|\$\{HOME\}|/home/packer)(?P<rest>/[\w.@%+/-]+)")
_MAKES = frozenset({"mkdir", "touch", "tee", "install"})
_PUTS = frozenset({"cp", "mv", "ln", "rsync"})
# Of the hidden files those that only a later login would read; others may be settings of what the build runs.
_OF_USE = re.compile(r"/\.(?!(?:bashrc|profile|bash_profile|bash_aliases|zshrc|vimrc)$)")
_MOST = 50  # files that are looked at
_STARTS = re.compile(r"\bcd\s*(?:$|[;&|\n]|~|\"?\$\{?HOME)|\bcd\s+-", re.MULTILINE)


def check_home(judge: Judge) -> None:
    """W99: a note where the first file is put into the home, and nothing of the script uses it."""
    script = judge.script
    if not script.inline or script.root or not script.before_capture or _STARTS.search(script.text):
        return
    written = [word for command in judge.commands for word in _written(command)]
    for word in [word for word in written if _of_home(word)][:_MOST]:
        path = _of_home(word)
        if path and not _OF_USE.match(path) and not _used(judge, path, written) and not _later(judge, path):
            message = f"{word.text} is in the home of the build user, which is removed before the image is made"
            hint = "put it elsewhere, such as /opt (with sudo); for the homes of later users use /etc/skel"
            judge.note("W99", word.at, message, hint)
            return


def _written(command: Command) -> list[Word]:
    """The words that name what a command makes."""
    found = [one.target for one in command.redirects if one.operator in (">", ">>", "&>", ">|")]
    operands = command.operands()
    if command.privileged:
        return found
    if command.name in _MAKES:
        found += operands if command.name != "install" else operands[-1:]
    elif command.name in _PUTS:
        found += operands[-1:] if len(operands) > 1 else ()
    return found


def _of_home(word: Word) -> str | None:
    found = _HOME.fullmatch(word.text)
    return None if found is None or (word.quoted and word.text.startswith("~")) else posixpath.normpath(found["rest"])


def _used(judge: Judge, path: str, written: Sequence[Word]) -> bool:
    """Whether the script names the path, or what is in it, other than to write there; also a relative name of it."""
    name = re.escape(posixpath.basename(path))
    for use in re.finditer(rf"(?<![\w.-]){name}(?![\w.-])", judge.script.text[:200_000]):
        if all(not word.at <= use.start() < word.at + word.length + 2 for word in written[: 4 * _MOST]):
            return True
    return False


def _later(judge: Judge, path: str) -> bool:
    """Whether another step names it."""
    return any(posixpath.basename(path) in text for text in judge.others)
