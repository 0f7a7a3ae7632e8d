"""How an expression ends without a value."""

from __future__ import annotations

# Stands for the name of the function in Azure's words until the call is known.
CALLED = "\0"


class ExpressionError(Exception):
    """What is wrong with an expression. at: offset in its text, None until it is known; id: of the finding; azure: what
    Azure's own engine says of it, without the place, where that is known. `CALLED` in it stands for the function."""

    def __init__(
        self,
        message: str,
        *,
        id_: str = "X03",
        at: int | None = None,
        hint: str | None = None,
        azure: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.id = id_
        self.at = at
        self.hint = hint
        self.azure = azure

    def in_call(self, name: str) -> None:
        """Azure's words name the function as the template spells it."""
        if self.azure is not None:
            self.azure = self.azure.replace(CALLED, name)


class Unknowable(Exception):
    """The value depends on one that is not known; why that is not known has been reported already."""
