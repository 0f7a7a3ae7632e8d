"""The view of several builds for terminals: log lines scroll, each with its template's name; under them a row for each
build, with what it is doing or waiting for, and its last line where there is room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from aibemu.clock import Clock
from aibemu.events import Event, Passing, RunState
from aibemu.reports.fold import Folding
from aibemu.reports.summary import RunSummary, done_steps
from aibemu.text import counted, short
from aibemu.views.live import LONGEST, MARK_STYLES, ROLE, LiveView
from aibemu.views.plain import PlainView
from aibemu.views.several import Names, PlainSeveral
from aibemu.views.underway import Underway
from aibemu.views.words import Line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

# Rows of the terminal that are left to the lines above.
LEFT = 4
_OVER = {RunState.SUCCEEDED.value: "ok", RunState.DRY_RUN.value: "ok", RunState.CANCELED.value: "cancelled"}


@dataclass(slots=True)
class _Build:
    folding: Folding = field(default_factory=Folding)
    underway: Underway = field(default_factory=Underway)


class LiveSeveral(LiveView):
    """Arguments as for `LiveView`."""

    def __init__(
        self, stream: TextIO, clock: Clock, names: Names, *, color: bool = True, verbosity: int = 0,
        pipeline: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(stream, clock, color=color, verbosity=verbosity, pipeline=pipeline)
        self._names = names
        self._builds: dict[str, _Build] = {}

    def on_passing_of(self, run: str, passing: Passing) -> None:
        """It is in the rows when they are drawn next."""
        with self._lock:
            self._builds.setdefault(run, _Build()).underway.on_passing(passing)

    def _take(self, event: Event) -> None:
        build = self._builds.setdefault(event.run, _Build())
        build.folding.add(event)
        build.underway.on_event(event)

    def _lines(self, event: Event) -> Iterable[Line]:
        return self._names.lines(event)

    def _plain(self) -> PlainView:
        return PlainSeveral(
            self._stream, self._names, color=self._color, verbosity=self._verbosity, pipeline=self._door.pipeline
        )

    def _tree(self) -> RenderableType:
        from rich.text import Text

        with self._lock:
            states = [(run, build.folding.summary()) for run, build in self._builds.items()]
            below = {run: self._below(self._builds[run], summary) for run, summary in states}
        room = max(1, self._screen().height - LEFT)
        shown, hidden = _fitting(states, room)
        last_lines = len(shown) + sum(1 for run, _ in shown if below[run]) <= room
        width = max((len(self._names.of(run)) for run, _ in states), default=0)
        rows = []
        for run, summary in shown:
            rows.append(self._row(self._names.of(run).ljust(width), summary))
            if last_lines and below[run]:
                rows.append(Text(self._shown(f"     {below[run]}"), style="dim"))
        if hidden:
            rows.append(Text(f"   and {hidden}", style="dim"))
        for row in rows:
            row.no_wrap, row.overflow = True, "ellipsis"
        return Text("\n", no_wrap=True, overflow="ellipsis").join(rows)

    def _below(self, build: _Build, summary: RunSummary) -> str:
        """The last thing that is heard of a build: a line of its step, or of a machine that boots."""
        if step := summary.current_step:
            unfinished = build.underway.unfinished(step.id)
            return (unfinished or (step.last_lines[-1] if step.last_lines else ""))[:LONGEST]
        return next((line or boot for boot, line in build.underway.boots(self._clock.now())), "")[:LONGEST]

    def _row(self, name: str, summary: RunSummary) -> Text:
        from rich.text import Text

        status = _status(summary)
        text = Text().append(f" {self._mark(status)} ", style=MARK_STYLES.get(status, "dim"))
        text.append(self._shown(name), style="bold")
        seconds = summary.seconds if summary.finished else self._since(summary.started)
        text.append(f"  {short(seconds):>7}  ")
        return text.append(self._shown(_doing(summary)), style="yellow" if summary.awaits else "")


def _status(summary: RunSummary) -> str:
    if summary.finished:
        return _OVER.get(summary.state, "failed")
    return "pending" if summary.awaits else "running"


def _doing(summary: RunSummary) -> str:
    """How it ended; what it waits for; or its phase and step."""
    if summary.finished:
        return summary.shown_state
    if summary.awaits:
        return f"waiting for {summary.awaits}"
    if summary.state == RunState.CANCELING.value:
        return "stopping the machines"
    phase = summary.current_phase
    if phase is None:
        return ""
    done, steps = done_steps(summary, ROLE.get(phase.name, ""))
    count = f" {done}/{steps}" if steps else ""
    step = summary.current_step
    return f"{phase.name}{count}{f': {step.label or step.id}' if step else ''}"


def _fitting(states: Sequence[tuple[str, RunSummary]], room: int) -> tuple[Sequence[tuple[str, RunSummary]], str]:
    """Those that have a row, in their order, and what is said of the others: builds that run come first, then those
    that wait, those that are over last."""
    if len(states) <= room:
        return states, ""
    rank = {"running": 0, "pending": 1}
    wanted = sorted(states, key=lambda one: rank.get(_status(one[1]), 2))
    kept = {run for run, _ in wanted[: room - 1]}
    left_out = [_status(summary) for _, summary in wanted[room - 1 :]]
    words = {"running": "running", "pending": "waiting"}
    counts: dict[str, int] = {}
    for status in left_out:
        word = words.get(status, "over")
        counts[word] = counts.get(word, 0) + 1
    said = ", ".join(f"{number} {word}" for word, number in counts.items())
    return [one for one in states if one[0] in kept], f"{counted(len(left_out), 'more build')}: {said}"
