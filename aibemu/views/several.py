"""One view for several builds at once: each line begins with the name of its template.

`Shared` is that view; each build gets a `Member` of it as its own view. Which build an event is of, its run says.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol, TextIO

from aibemu.events import Event, Passing
from aibemu.views.plain import PlainView
from aibemu.views.stream import give_up
from aibemu.views.words import Line, Narrator

# Columns that names are filled up to, so that lines of short ones stand below each other.
WIDEST = 16


class Names:
    """What the builds are called, by their runs; the views of one call share it."""

    def __init__(self, names: Iterable[str]) -> None:
        self._width = min(max(map(len, names), default=0), WIDEST)
        self._names: dict[str, str] = {}
        self._narrators: dict[str, Narrator] = {}

    def call(self, run: str, name: str) -> None:
        """Name the build of a run."""
        self._names[run] = name

    def of(self, run: str) -> str:
        """The name, or the run's id."""
        return self._names.get(run, run)

    def lines(self, event: Event) -> Iterable[Line]:
        """What there is to say of an event, with the name before each line."""
        narrator = self._narrators.setdefault(event.run, Narrator())
        head = self.of(event.run).ljust(self._width)
        return [replace(line, text=f"{head} | {line.text}") for line in narrator.lines(event)]


class Drawing(Protocol):
    """What shows several builds; safe for several threads."""

    def on_event(self, event: Event) -> None: ...

    def on_passing_of(self, run: str, passing: Passing) -> None: ...

    def close(self) -> None: ...


class PlainSeveral(PlainView):
    """Plain lines. Arguments as for `PlainView`."""

    def __init__(
        self, stream: TextIO, names: Names, *, color: bool = False, verbosity: int = 0, pipeline: bool = False
    ) -> None:
        super().__init__(stream, color=color, verbosity=verbosity, pipeline=pipeline)
        self._names = names
        self._lock = threading.Lock()

    def on_event(self, event: Event) -> None:
        with self._lock:
            super().on_event(event)

    def on_passing_of(self, run: str, passing: Passing) -> None:
        """Nothing: a line without an end is none yet."""

    def _lines(self, event: Event) -> Iterable[Line]:
        return self._names.lines(event)


@dataclass(slots=True, kw_only=True)
class Shared:
    """The view that the builds share. Closed by whoever made it, when all of them are over."""

    stream: TextIO
    names: Names
    drawing: Drawing
    _members: list[Member] = field(default_factory=list)

    def member(self, run: str, name: str) -> Member:
        """The view of one build."""
        self.names.call(run, name)
        member = Member(shared=self, run=run)
        self._members.append(member)
        return member

    def close(self) -> None:
        """Bring the terminal in order. Where somebody still waits for a reader who does not read, it is given up."""
        if any(member.stuck for member in self._members):
            give_up(self.stream)
        self.drawing.close()


@dataclass(slots=True, kw_only=True)
class Member:
    """One build's part of a shared view."""

    shared: Shared
    run: str
    # Whether it is writing just now; whether nobody waits for that any more.
    _writing: bool = False
    _given_up: bool = False

    @property
    def stuck(self) -> bool:
        """Whether its last lines wait for a reader, and its build is over."""
        return self._writing and self._given_up

    def on_event(self, event: Event) -> None:
        self._writing = True
        try:
            # One that was read back from the record may have a field of that name: `machine.restored` has.
            self.shared.drawing.on_event(event if event.run == self.run else replace(event, run=self.run))
        finally:
            self._writing = False

    def on_passing(self, passing: Passing) -> None:
        """See `aibemu.events.SeesPassing`."""
        self.shared.drawing.on_passing_of(self.run, passing)

    def give_up(self) -> None:
        """Its build waits no longer. The stream stays the others': it is released when all are over."""
        self._given_up = True

    def close(self) -> None:
        """Nothing: the others go on."""
