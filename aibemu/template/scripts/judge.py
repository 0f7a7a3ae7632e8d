"""What a rule about scripts gets, and how it says what it found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from aibemu.arm.diagnostics import Severity
from aibemu.template.rule_context import RuleContext
from aibemu.template.scripts.earlier import Earlier, given_away
from aibemu.template.scripts.model import Script

if TYPE_CHECKING:
    from aibemu.template.scripts.commands import Command
    from aibemu.template.scripts.folders import Folders
    from aibemu.template.scripts.powershell_model import Tokens
    from aibemu.template.scripts.powershell_parts import Call
    from aibemu.template.scripts.powershell_values import Values
    from aibemu.template.scripts.trees import Parsed


@dataclass(slots=False, kw_only=True)
class Judge:
    """One script in front of the rules. publisher: of the template's marketplace image, in lower case, or empty.
    earlier: the scripts before it; others: the texts of all other steps. outer, outer_at: the script that this one
    stands in, and where, as the text of `bash -c '...'` does."""

    script: Script
    context: RuleContext
    publisher: str = ""
    earlier: Earlier = field(default_factory=Earlier)
    others: Sequence[str] = ()
    outer: Judge | None = None
    outer_at: int = 0
    said: set[tuple[str, int]] = field(default_factory=set)
    _first: dict[str, int] = field(default_factory=dict)

    @cached_property
    def parsed(self) -> Parsed:
        from aibemu.template.scripts.trees import Parsed

        return Parsed(self.script)

    @cached_property
    def lower(self) -> str:
        """The text in lower case, made once: a rule may ask at each of a hundred thousand places."""
        return self.script.text.lower()

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """The commands of a shell script."""
        from aibemu.template.scripts.commands import commands

        return tuple(commands(self.parsed))

    @cached_property
    def folders(self) -> Folders:
        """In which folders the commands of a shell script run."""
        from aibemu.template.scripts.folders import Folders

        return Folders(self.parsed, self.commands)

    @cached_property
    def given(self) -> frozenset[str]:
        """Paths that this script, or one before, gives to somebody by `sudo chown`."""
        outer = self.outer.given if self.outer else frozenset(self.earlier.given)
        return outer | given_away(self.script.text)

    @property
    def whole(self) -> str:
        """The text of the step, also for a script that stands in it."""
        return self.outer.whole if self.outer else self.script.text

    def was_said(self, pattern: re.Pattern[str], at: int) -> bool:
        """Whether the scripts before this one, or this one before an offset, have a text."""
        key = pattern.pattern
        if key not in self._first:
            found = pattern.search(self.script.text)
            self._first[key] = found.start() if found else len(self.script.text) + 1
        if self._first[key] < at:
            return True
        return self.outer.was_said(pattern, self.outer_at) if self.outer else self.earlier.has(pattern)

    @cached_property
    def tokens(self) -> Tokens:
        """The tokens of a PowerShell script."""
        from aibemu.template.scripts.powershell_tokens import tokens_of

        return tokens_of(self.script.text)

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """The commands of a PowerShell script."""
        from aibemu.template.scripts.powershell_parts import calls_of

        return tuple(calls_of(self.tokens))

    @cached_property
    def values(self) -> Values:
        """Which texts reach the commands of a PowerShell script."""
        from aibemu.template.scripts.powershell_values import Values

        return Values(self.tokens.tokens, self.calls)

    def warn(self, id_: str, at: int, message: str, hint: str) -> None:
        """A warning at an offset of the script; once at each place."""
        self._say(Severity.WARNING, id_, at, message, hint)

    def note(self, id_: str, at: int, message: str, hint: str) -> None:
        """A note at an offset of the script."""
        self._say(Severity.NOTE, id_, at, message, hint)

    def _say(self, severity: Severity, id_: str, at: int, message: str, hint: str) -> None:
        if (id_, at) not in self.said:
            self.said.add((id_, at))
            say = self.context.findings.warning if severity is Severity.WARNING else self.context.findings.note
            say(id_, self.script.at(at), message, path=self.script.step.path, hint=hint)


Check = Callable[[Judge], None]
Words = Mapping[str, str]
