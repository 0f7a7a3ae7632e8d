"""Where a build that is prepared is carried out: on this machine, or on another one.

Who builds several templates knows no more of a build than `Building`, and shows it by what its views are told. So a
place on another machine makes a run in this home (`RunStore.create`), tells its events to the views as they come, and
gives a report of it, as `aibemu.engine.api.start` does for a build here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aibemu.engine.api import BuildReport, Prepared, start
from aibemu.engine.turns import Turns
from aibemu.events import View
from aibemu.runs.store import Run

# The views of a run, made once there is one. Each event of the run is told to each of them once and in order; they are
# closed when the run is over.
ViewsOf = Callable[[Run], Sequence[View]]


class Building(Protocol):
    """A build that goes on, wherever that is. Its methods may be called from any thread."""

    @property
    def run(self) -> Run:
        """Its run in this home."""
        ...

    def cancel(self, reason: str = "cancelled") -> None:
        """End it soon; `wait` says when that is done. Must not wait for anything."""
        ...

    def wait(self) -> BuildReport:
        """Wait for its end. Raises what is a bug."""
        ...


class Place(Protocol):
    """Starts builds. `start` does not wait for room: a build that has none waits in the background, and says so by a
    `notice` with `awaited`. `prepared.cancel` ends a build as `Building.cancel` does: a signal pulls it."""

    def start(self, prepared: Prepared, views: ViewsOf) -> Building:
        """Build it in the background; once for each that was prepared. Raises `AibemuError` when it cannot begin."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """This machine."""

    # How many builds have machines at once.
    turns: Turns

    def start(self, prepared: Prepared, views: ViewsOf) -> Building:
        turn = self.turns.ask(prepared.plan.template.name)
        with self.turns.given_back(turn):
            return start(prepared, views=views, turn=turn)
