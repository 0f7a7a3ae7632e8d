"""What a PowerShell script is made of: tokens, and what nobody can parse."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto


class Kind(Enum):
    """What a token is. END: a newline or `;`. BREAK: what ends a word, such as `,`, `>` or `&&`."""

    WORD = auto()
    VARIABLE = auto()
    STRING = auto()
    COMMENT = auto()
    OPEN = auto()
    CLOSE = auto()
    END = auto()
    PIPE = auto()
    BREAK = auto()


class Start(Enum):
    """What begins at a token: nothing, an element (after a pipe, `=`, `(`), or a whole statement."""

    NOTHING = auto()
    ELEMENT = auto()
    STATEMENT = auto()


@dataclass(slots=True, kw_only=True)
class Token:
    """text from offset `at` to `end`. literal: nothing in it is expanded. opener: the bracket around it, as an index,
    or -1. partner: of a bracket, the other one. command: it is the name, or an argument, of a command."""

    kind: Kind
    text: str
    at: int
    end: int
    start: Start = Start.NOTHING
    opener: int = -1
    partner: int = -1
    literal: bool = True
    command: bool = False

    @property
    def value(self) -> str:
        """The text without the quotes of a plain string."""
        return self.text[1:-1] if self.kind is Kind.STRING and self.text[:1] != "@" else self.text


@dataclass(frozen=True, slots=True)
class Mistake:
    """What PowerShell's parser refuses, and where."""

    at: int
    what: str


@dataclass(slots=True)
class Tokens:
    """All tokens of a script outside of its strings; mistakes in the order in which they are noticed. given_up: why the
    text was not read to its end, or empty; then nothing may be said of it."""

    tokens: list[Token] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    given_up: str = ""

    @property
    def whole(self) -> bool:
        return not self.given_up
