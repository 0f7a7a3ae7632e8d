"""What the scripts before one have done, as far as a pattern finds it in their text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_GIVEN = re.compile(r"\b(?:sudo|doas)\s+(?:-\S+\s+)*(?:chown|chmod|setfacl|install)\s(?P<rest>[^\n;&|]{0,500})")
_PATH = re.compile(r"(?<![\w.-])/[\w./-]+")


@dataclass(slots=True)
class Earlier:
    """The texts of the steps before, in their order. Each is searched once for each pattern."""

    texts: list[str] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    _searched: dict[str, tuple[int, bool]] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """A step that has been judged: what comes from now on is after it."""
        self.texts.append(text)
        self.given |= given_away(text)

    def has(self, pattern: re.Pattern[str]) -> bool:
        """Whether one of the texts has it."""
        number, found = self._searched.get(pattern.pattern, (0, False))
        if not found and number < len(self.texts):
            found = any(pattern.search(text) for text in self.texts[number:])
            self._searched[pattern.pattern] = (len(self.texts), found)
        return found


def given_away(text: str) -> frozenset[str]:
    """The paths that a script gives to somebody by `sudo chown` and its like, without a `/` at their end."""
    found = (path for given in _GIVEN.finditer(text) for path in _PATH.findall(given["rest"]))
    return frozenset(path.rstrip("/") for path in found if path.strip("/"))
