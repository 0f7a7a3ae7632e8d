"""What an image lacks for a build: one thing, in sentences for people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """text: what is wrong and what comes of it. hint: what to do. command: to type, if one does it. run: what
    `aibemu run` does about it by itself; "" for nothing."""

    text: str
    hint: str
    command: str = ""
    run: str = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.run or self.command or self.hint}"

    def as_json(self) -> dict[str, str | None]:
        return {
            "text": self.text, "hint": self.hint, "command": self.command or None, "run": self.run or None,
        }  # fmt: skip
