"""A machine that went off by itself while it was used: its system is asked why, and its disk, which is whole."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from aibemu.engine.machines.watchdog import PoweredOff
from aibemu.engine.state import BuildState
from aibemu.errors import AibemuError
from aibemu.systems import for_image

# Seconds, before scaling, for looking at its disk.
LOOK_BOUND = 120.0


def explain(state: BuildState, error: PoweredOff) -> None:
    """Let the error's hint be what the system knows, if it knows anything. Raises nothing: the error counts more."""
    info = state.plan.source.image.info
    try:
        with ExitStack() as held:
            disk: Path | None = None
            if error.machine is not None and state.services.driver.capabilities().boots_guests:
                disk = held.enter_context(error.machine.disk())
            error.hint = for_image(info).powered_off(info, disk, state.deadline.within(LOOK_BOUND)) or error.hint
    except AibemuError:
        return
