"""What a campaign has seen, in rows that can be printed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """rounds: how many there were, by (row, column). faults: a sentence for each thing that was wrong. spoiled: rounds
    with faults. figures: lines of what was measured."""

    rounds: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    spoiled: int = 0
    figures: list[str] = field(default_factory=list)

    def add(self, row: str, column: str, faults: list[str]) -> None:
        """One round is over."""
        self.rounds[row, column] += 1
        self.spoiled += bool(faults)
        self.faults += faults

    @property
    def total(self) -> int:
        return self.rounds.total()

    def table(self) -> list[str]:
        """A line for each row with its counts, then the verdict."""
        rows, columns = ({key[place]: None for key in self.rounds} for place in (0, 1))
        width = max((len(row) for row in rows), default=0)
        lines = [" " * width + "".join(f"  {column}" for column in columns)]
        for row in rows:
            cells = (f"  {self.rounds[row, column]:>{len(column)}}" for column in columns)
            lines.append(f"{row:<{width}}" + "".join(cells))
        return [*lines, f"{self.total - self.spoiled} of {self.total} clean"]
