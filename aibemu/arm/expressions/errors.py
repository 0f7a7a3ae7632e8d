"""How an expression ends without a value."""

from __future__ import annotations


class ExpressionError(Exception):
    """What is wrong with an expression. at: offset in its text, None until it is known; id: of the finding."""

    def __init__(self, message: str, *, id_: str = "X03", at: int | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.id = id_
        self.at = at
        self.hint = hint


class Unknowable(Exception):
    """The value depends on one that is not known; why that is not known has been reported already."""
