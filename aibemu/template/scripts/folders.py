"""In which folder a command of a shell script runs, as far as `cd` says it, and which folders belong to root."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

import tree_sitter

from aibemu.template.scripts.commands import Command, Word
from aibemu.template.scripts.trees import Parsed

# Where only root may write. Temporary folders and devices are not here, nor is what may be the user's own.
_ROOT_PATH = re.compile(
    r"/(?:etc|usr|opt|srv|root|boot|sys|proc/sys|lib\d*|s?bin|var(?!/(?:tmp|lock|crash)(?:/|$)))(?:/|$)"
)
_SCOPES = frozenset({"subshell", "command_substitution", "process_substitution", "function_definition"})
# Folders in the root folder where a user may make others, or that are nobody's.
_OPEN = frozenset({"tmp", "home", "dev", "proc", "run", "mnt", "media"})


class Folders:
    """Of one script. commands: all of it, in the order of its text."""

    def __init__(self, parsed: Parsed, commands: Sequence[Command]) -> None:
        self._folders: dict[int, str | None] = {}
        # (scope, folder) of each `cd` so far whose scope is still open.
        stack: list[tuple[tuple[int, ...], str | None]] = []
        scopes: dict[int, tuple[int, ...]] = {}
        for command in commands:
            scope = _scope(parsed, command.node, scopes)
            while stack and scope[: len(stack[-1][0])] != stack[-1][0]:
                stack.pop()
            here = stack[-1][1] if stack else None
            self._folders[command.at] = here
            if command.name in ("cd", "pushd", "popd") and not command.privileged:
                if stack and stack[-1][0] == scope:
                    stack.pop()
                stack.append((scope, _entered(here, command)))

    def of(self, command: Command) -> str | None:
        """The folder, when it is known from the text."""
        return self._folders.get(command.at)

    def path(self, command: Command, word: Word) -> str | None:
        """The whole path that a word of a command names; None when it is not known."""
        if not word.literal or not word.text:
            return None
        if word.text.startswith("/"):
            return word.text
        here = self.of(command)
        if here is None or word.text.startswith("~"):
            return None
        return posixpath.normpath(f"{here.rstrip('/')}/{word.text}") if word.text != "." else here


def _entered(here: str | None, command: Command) -> str | None:
    operands = command.operands()
    if command.name == "popd" or len(operands) != 1 or not operands[0].literal:
        return None
    target = operands[0].text
    if target.startswith("/"):
        return posixpath.normpath(target)
    return (
        posixpath.normpath(f"{here.rstrip('/')}/{target}") if here is not None and not target.startswith("~") else None
    )


def _scope(parsed: Parsed, node: tree_sitter.Node, known: dict[int, tuple[int, ...]]) -> tuple[int, ...]:
    """The subshells and functions around a node, from outside. known: those of nodes that were asked for before."""
    passed: list[tree_sitter.Node] = []
    above = parsed.parent(node)
    while above is not None and above.id not in known:
        passed.append(above)
        above = parsed.parent(above)
    scope = known[above.id] if above is not None else ()
    for one in reversed(passed):
        if one.type in _SCOPES and len(scope) < 20:
            scope = (*scope, one.id)
        known[one.id] = scope
    return scope


def is_roots(path: str | None) -> bool:
    """Whether only root may write at an absolute path."""
    return path is not None and _ROOT_PATH.match(path) is not None


def is_under_root_folder(path: str | None) -> bool:
    """Whether a new folder there would be one of the root folder, or in one that a user seldom has."""
    if path is None:
        return False
    first = path.lstrip("/").split("/", 1)[0]
    return re.match(r"/+[\w.-]+", path) is not None and first not in _OPEN and not path.startswith("/var/tmp")


def is_within(path: str, folders: frozenset[str]) -> bool:
    """Whether a path is one of the folders, or below one."""
    parts = path.rstrip("/").split("/")
    return bool(folders) and any("/".join(parts[:count]) in folders for count in range(2, min(len(parts), 40) + 1))
