"""The view for terminals: log lines scroll; under them a tree of the five phases and the running step's last lines.

rich is imported here and nowhere else. Whatever goes wrong with it, the terminal is put back in order and the build
goes on with plain lines.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from aibemu.clock import Clock
from aibemu.events import Event, Kind, Passing
from aibemu.reports.fold import Folding
from aibemu.reports.summary import PhaseSummary, RunSummary, done_steps
from aibemu.text import harmless, short
from aibemu.views.plain import PlainView
from aibemu.views.screen import Screen
from aibemu.views.stream import SHOW_CURSOR, give_up
from aibemu.views.underway import Underway
from aibemu.views.words import Line, Narrator

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

STYLES = {"head": "bold", "ok": "green", "bad": "bold red", "warn": "yellow", "dim": "dim"}
MARKS = {"ok": "✔", "failed": "✘", "cancelled": "✘", "running": "▸", "skipped": "-", "not run": "-", "pending": " "}
PLAIN_MARKS = MARKS | {"ok": "+", "failed": "x", "cancelled": "x", "running": ">"}
MARK_STYLES = {"ok": "green", "failed": "bold red", "cancelled": "yellow", "running": "bold cyan"}
SHOWN_LINES = 3
# Seconds for which guest lines are gathered before they are printed: a flood must not slow down the build.
GATHER = 0.1
# Characters of a line that are shown: rich takes seconds for a megabyte. The log has all of it.
LONGEST = 10_000


class LiveView:
    """stream must be a terminal. verbosity and pipeline as for `PlainView`."""

    def __init__(
        self, stream: TextIO, clock: Clock, *, color: bool = True, verbosity: int = 0, pipeline: bool = False
    ) -> None:
        self._stream, self._clock = stream, clock
        self._color, self._verbosity = color, verbosity
        # What rich prints passes it too: before it is given to rich, which adds what moves the cursor.
        self._door = Screen(stream=stream, pipeline=pipeline)
        # Of what the tree is made of, which rich's own thread reads; of the terminal, which that thread never takes.
        self._lock = threading.Lock()
        self._terminal = threading.RLock()
        self._folding, self._underway = Folding(), Underway()
        self._narrator = Narrator()
        self._gathered: list[Line] = []
        self._printed = 0.0
        self._at = ""  # when the last event was; "" before the first
        self._paused = self._closed = False
        self._fallback: PlainView | None = None
        self._console: Console | None = None
        self._live: Live | None = None
        self._utf8 = "utf" in (getattr(stream, "encoding", None) or "").lower()

    def on_event(self, event: Event) -> None:
        with self._terminal:
            if self._fallback is not None:
                self._fallback.on_event(event)
                return
            self._at = event.at
            with self._lock:
                self._take(event)
            self._try(lambda: self._show(event))

    def on_passing(self, passing: Passing) -> None:
        """It is in the tree when that is drawn next."""
        with self._lock:
            self._underway.on_passing(passing)

    def _take(self, event: Event) -> None:
        """What the tree is made of; with the lock."""
        self._folding.add(event)
        self._underway.on_event(event)

    def _lines(self, event: Event) -> Iterable[Line]:
        """What scrolls above the tree."""
        return self._narrator.lines(event)

    def _plain(self) -> PlainView:
        """What shows it when the tree cannot be drawn."""
        return PlainView(self._stream, color=self._color, verbosity=self._verbosity, pipeline=self._door.pipeline)

    def pause(self) -> None:
        """Take the tree away and show the cursor: somebody else uses the terminal. What happens until `resume` is
        gathered, for whoever answers a prompt or works in a shell must not find lines in between."""
        with self._terminal:
            if not (self._paused or self._closed or self._fallback is not None):
                self._paused = True
                self._try(self._leave)

    def resume(self) -> None:
        """Say what was gathered, and bring the tree back; nothing if it was not paused."""
        with self._terminal:
            if self._paused:
                self._paused = False
                if self._at and self._fallback is None:
                    self._try(self._come_back)

    def give_up(self) -> None:
        """End what waits for the terminal. The cursor is shown by whoever puts the terminal in order later."""
        give_up(self._stream)

    def close(self) -> None:
        """Take the tree away, show the cursor again; safe to call twice, while paused and after a failure."""
        with self._terminal:
            self._closed, self._paused = True, False
            self._leave()

    def _leave(self) -> None:
        try:
            self._flush()
        finally:
            self._stop()

    def _come_back(self) -> None:
        self._start()
        self._flush()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is None:
            return
        atexit.unregister(self.close)
        try:
            live.stop()
        except BaseException:
            self._door.control(SHOW_CURSOR)
            raise

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - a picture is never worth a build
            self._degrade(error)

    def _degrade(self, error: Exception) -> None:
        """Plain lines from here on; those that were gathered and not shown come first, the last event's among them."""
        failures = [error]
        try:
            self._stop()
        except Exception as another:  # noqa: BLE001 - told below, with the first
            failures.append(another)
        why = "; ".join(dict.fromkeys(f"{type(failure).__name__}: {failure}" for failure in failures))
        fallback = self._plain()
        self._door.line(f"warning: the live view failed ({why}); plain lines follow")
        fallback.write_lines(self._gathered, self._at)
        self._gathered.clear()
        self._fallback = fallback

    def _show(self, event: Event) -> None:
        said = (line for line in self._lines(event) if not line.in_tree)
        self._gathered += [line for line in said if self._verbosity >= 0 or line.quiet]
        if self._paused:
            return
        if self._live is None:
            self._start()
        now = self._clock.monotonic()
        if event.kind is not Kind.STEP_OUTPUT or now - self._printed >= GATHER:
            self._flush()
            self._printed = now

    def _start(self) -> None:
        from rich.live import Live

        self._live = Live(
            get_renderable=self._tree, console=self._screen(), refresh_per_second=4, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        atexit.register(self.close)
        self._live.start()

    def _screen(self) -> Console:
        from rich.console import Console

        if self._console is None:
            self._console = Console(
                file=self._stream, force_terminal=True, no_color=not self._color, highlight=False, markup=False,
                emoji=False,
            )  # fmt: skip
        return self._console

    def _flush(self) -> None:
        """Print what was gathered: above the tree, if there is one."""
        if not self._gathered:
            return
        from rich.text import Text

        lines = (Text(_cut(self._shown(line.text)), style=STYLES.get(line.style, "")) for line in self._gathered)
        self._screen().print(Text("\n").join(lines), soft_wrap=True)
        self._gathered.clear()

    def _tree(self) -> RenderableType:
        """Called by rich's own thread too."""
        from rich.text import Text

        with self._lock:
            summary = self._folding.summary()
            step = summary.current_step
            boots = list(self._underway.boots(self._clock.now()))
            unfinished = self._underway.unfinished(step.id) if step else ""
        rows, below = [self._phase(summary, phase) for phase in summary.phases], list[Text]()
        if summary.awaits:
            below.append(Text(self._shown(f"   waiting for {summary.awaits}"), style="yellow"))
        if step is not None:
            last = [*step.last_lines, *([unfinished] if unfinished else [])][-SHOWN_LINES:]
            lines = [line[:LONGEST] for line in last]
            took = short(self._since(step.started))
            below.append(Text(self._shown(f"   {step.label or step.id}  {took}"), style="bold"))
            below += [Text(self._shown(f"     {line}"), style="dim") for line in lines]
        for boot, line in boots:
            below.append(Text(self._shown(f"   {boot}"), style="bold"))
            below += [Text(self._shown(f"     {line}"), style="dim")] if line else []
        current = step.phase if step else summary.current_phase.name if summary.current_phase else ""
        at = next((n for n, phase in enumerate(summary.phases) if phase.name == current), len(rows) - 1)
        rows[at + 1 : at + 1] = below
        for row in rows:
            row.no_wrap, row.overflow = True, "ellipsis"
        return Text("\n", no_wrap=True, overflow="ellipsis").join(rows)

    def _mark(self, status: str) -> str:
        return (MARKS if self._utf8 else PLAIN_MARKS).get(status, " ")

    def _phase(self, summary: RunSummary, phase: PhaseSummary) -> Text:
        from rich.text import Text

        mark = self._mark(phase.status)
        seconds = phase.seconds if phase.seconds is not None else self._since(phase.started)
        took = "" if phase.status in {"pending", "skipped", "not run"} else short(seconds)
        done, steps = done_steps(summary, ROLE.get(phase.name, ""))
        count = f"  {done}/{steps}" if steps and phase.status == "running" else ""
        text = Text(f" {mark} ", style=MARK_STYLES.get(phase.status, "dim"))
        text.append(f"{phase.name:<11}", style="dim" if phase.status in {"pending", "skipped", "not run"} else "")
        return text.append(f"{took:>7}{count}")

    def _shown(self, text: str) -> str:
        return self._door.shown(harmless(text))

    def _since(self, at: str | None) -> float | None:
        return (self._clock.now() - datetime.fromisoformat(at)).total_seconds() if at else None


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text) - LONGEST} more characters in the log)"


ROLE = {"customize": "customizer", "validate": "validator", "generalize": "hidden"}
