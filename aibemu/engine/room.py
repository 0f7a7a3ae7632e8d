"""Room for the machines of a build, before the first of them is made."""

from __future__ import annotations

from aibemu.engine.state import BuildState
from aibemu.events import Kind
from aibemu.runs.kept import destroy_kept
from aibemu.runs.store import Run


def make_room(state: BuildState) -> None:
    """Destroy the machine that the continued run has kept: it takes memory, and what it was kept for is over."""
    earlier = state.services.options.continues
    if earlier is None or state.again:
        return
    run = Run(state.services.run.directory.with_name(earlier.run))
    if not run.directory.is_dir():  # `aibemu clean` has been here
        return
    for what in destroy_kept(run):
        state.emit(Kind.NOTICE, level="note", message=f"destroyed {what}, which run {run.id} had kept")
