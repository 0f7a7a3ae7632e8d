"""Plain lines for pipes, CI and dumb terminals: one line per fact, written at once, colour only when asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TextIO

from aibemu.events import Event
from aibemu.text import harmless, painted
from aibemu.views.screen import Screen
from aibemu.views.stream import give_up
from aibemu.views.words import Line, Narrator

ANSI: Mapping[str, str] = {"head": "1", "ok": "32", "bad": "31;1", "warn": "33", "dim": "2"}


class PlainView:
    """verbosity: -1 shows only what went wrong and the end, 1 puts the time (UTC) before each line. pipeline: a CI
    system reads `stream`."""

    def __init__(self, stream: TextIO, *, color: bool = False, verbosity: int = 0, pipeline: bool = False) -> None:
        self._stream = stream
        self._screen = Screen(stream=stream, color=color, pipeline=pipeline)
        self._verbosity = verbosity
        self._narrator = Narrator()

    def on_event(self, event: Event) -> None:
        self.write_lines(self._lines(event), event.at)

    def _lines(self, event: Event) -> Iterable[Line]:
        """What there is to say of it."""
        return self._narrator.lines(event)

    def write_lines(self, lines: Iterable[Line], at: str) -> None:
        """at: an event's time."""
        for line in lines:
            if self._verbosity >= 0 or line.quiet:
                self._write(line, at[11:19])
        self._screen.flush()

    def pause(self) -> None:
        """Nothing: whole lines and a prompt get along."""

    def resume(self) -> None:
        """Nothing, as `pause`."""

    def give_up(self) -> None:
        """End what waits for the reader of the stream."""
        give_up(self._stream)

    def close(self) -> None:
        """Nothing is held; the stream is the caller's."""

    def _write(self, line: Line, at: str) -> None:
        text = harmless(line.text)
        if self._verbosity > 0:
            text = f"{at} {text}"
        self._screen.line(painted((text, ANSI.get(line.style, ""))))
