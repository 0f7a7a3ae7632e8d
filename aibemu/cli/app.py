"""What every verb gets as its click object: where things are, how to answer.

The rule of streams: the result goes to standard output, everything else to standard error. With `--output json` the
result is exactly one JSON object, the envelope of the design (user-experience), with every key always present. All of
it passes the redactor, which learns secrets as they become known, and the door for foreign text, `aibemu.views.screen`.
What may go past both is listed in tests/test_one_door.py.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aibemu.clock import Clock, SystemClock
from aibemu.paths import Home
from aibemu.redact import Redactor
from aibemu.text import harmless
from aibemu.views.screen import Screen, in_pipeline


@dataclass(slots=True, kw_only=True)
class App:
    """One invocation of the program. command: the verb's full name, `images import`. color: of standard output;
    error_color: of standard error (one may be a file, the other a terminal). pipeline: a CI system reads along.
    redactor: knows the secrets. explain: findings are shown with the words that Azure has for them."""

    home: Home
    output: str = "human"
    color: bool = False
    error_color: bool = False
    pipeline: bool = field(default_factory=lambda: in_pipeline(os.environ))
    verbosity: int = 0
    command: str = ""
    clock: Clock = field(default_factory=SystemClock)
    warnings: list[str] = field(default_factory=list)
    redactor: Redactor = field(default_factory=Redactor)
    explain: bool = False

    @property
    def screen(self) -> Screen:
        """Standard output."""
        return Screen(stream=sys.stdout, color=self.color, pipeline=self.pipeline, mask=self.redactor.text)

    @property
    def error_screen(self) -> Screen:
        """Standard error."""
        return Screen(
            stream=sys.stderr, color=self.error_color, pipeline=self.pipeline, mask=self.redactor.text
        )  # fmt: skip

    def result(self, data: Any, human: Iterable[str], *, status: str = "success") -> None:
        """Answer: `data` for programs, or the lines `human` for people."""
        if self.output == "json":
            self.envelope(status, data=data)
        else:
            for line in human:
                self.show(line)

    def envelope(self, status: str, *, data: Any = None, error: Any = None) -> None:
        """Print the one JSON object."""
        value = {
            "schemaVersion": 1, "command": self.command, "status": status, "data": self.redactor(_plain(data)),
            "warnings": self.redactor(_plain(self.warnings)), "error": self.redactor(_plain(error)),
        }  # fmt: skip
        text = json.dumps(value, indent=1, ensure_ascii=False)
        try:
            text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
        except UnicodeEncodeError:
            # A locale without these characters, or a file name that is no text: still valid JSON.
            text = json.dumps(value, indent=1, ensure_ascii=True)
        self.screen.json(text)

    def show(self, text: str) -> None:
        """A line of the answer, for people; or a text of several lines."""
        self.screen.lines(text)

    def say(self, text: str) -> None:
        """A line of narration, for people, on standard error; not shown with --quiet."""
        if self.verbosity >= 0:
            self.complain(text)

    def complain(self, text: str) -> None:
        """A line about an error, on standard error; always shown."""
        self.error_screen.lines(text)

    def warn(self, text: str) -> None:
        """Like `say`, and kept for the envelope."""
        self.warnings.append(text)
        self.say(f"warning: {text}")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
        """Aligned text columns."""
        cells = [list(header), *([harmless(str(cell)) for cell in row] for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
        return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _plain(value: Any) -> Any:
    """Values of JSON only, so that the mask sees whatever is printed: a path is shown as its text."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)
