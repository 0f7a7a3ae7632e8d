"""What every verb gets as its click object: where things are, how to answer.

The rule of streams: the result goes to standard output, everything else to standard error. With `--output json` the
result is exactly one JSON object, the envelope of the design (user-experience), with every key always present.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aibemu.clock import Clock, SystemClock
from aibemu.paths import Home


@dataclass(slots=True, kw_only=True)
class App:
    """One invocation of the program. command: the verb's full name, `images import`. color: of standard output;
    error_color: of standard error (one may be a file, the other a terminal)."""

    home: Home
    output: str = "human"
    color: bool = False
    error_color: bool = False
    verbosity: int = 0
    command: str = ""
    clock: Clock = field(default_factory=SystemClock)
    warnings: list[str] = field(default_factory=list)

    def result(self, data: Any, human: Iterable[str], *, status: str = "success") -> None:
        """Answer: `data` for programs, or the lines `human` for people."""
        if self.output == "json":
            self.envelope(status, data=data)
        else:
            for line in human:
                print(line)

    def envelope(self, status: str, *, data: Any = None, error: Any = None) -> None:
        """Print the one JSON object."""
        value = {
            "schemaVersion": 1, "command": self.command, "status": status, "data": data,
            "warnings": list(self.warnings), "error": error,
        }  # fmt: skip
        text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
        try:
            text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
        except UnicodeEncodeError:
            # A locale without these characters, or a file name that is no text: still valid JSON.
            text = json.dumps(value, indent=1, ensure_ascii=True, default=str)
        print(text)

    def say(self, text: str) -> None:
        """A line of narration, for people, on standard error; not shown with --quiet."""
        if self.verbosity >= 0:
            print(text, file=sys.stderr)

    def complain(self, text: str) -> None:
        """A line about an error, on standard error; always shown."""
        print(text, file=sys.stderr)

    def warn(self, text: str) -> None:
        """Like `say`, and kept for the envelope."""
        self.warnings.append(text)
        self.say(f"warning: {text}")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
        """Aligned text columns."""
        cells = [list(header), *([str(cell) for cell in row] for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
        return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
