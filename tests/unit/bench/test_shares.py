"""Where the time of a build went, from its record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.bench.shares import Freeze, Own, Shares, account, first_line, per_step

BEGAN = 1_700_000_000.0
CUSTOMIZE = {"phase": "customize", "step": "c5"}


def event(at: float, kind: str, **fields: Any) -> dict[str, Any]:
    """One that was `at` seconds after the process began."""
    when = datetime.fromtimestamp(BEGAN + at, tz=UTC)
    return {"at": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "kind": kind, **fields}


# An edited build: four of five steps cached, two outputs written at once.
EVENTS = [
    event(0.5, "run.started"),
    event(0.75, "phase.started", phase="provision"),
    event(1.0, "machine.started", phase="provision"),
    event(1.25, "machine.connected", phase="provision", seconds=0.5),
    event(1.5, "machine.restored", phase="provision", seconds=0.75),
    event(1.5, "phase.finished", phase="provision", seconds=0.75),
    event(1.5, "phase.started", phase="customize"),
    event(1.5, "step.cached", phase="customize", step="c4"),
    event(1.625, "step.started", **CUSTOMIZE),
    event(2.0, "step.output", **CUSTOMIZE, line="first"),
    event(2.5, "step.output", **CUSTOMIZE, line="second"),
    event(2.625, "step.finished", **CUSTOMIZE, seconds=1.0),
    event(3.125, "layer.frozen", phase="customize", seconds=0.5, bytes=400),
    event(3.25, "phase.finished", phase="customize", seconds=1.75),
    event(3.25, "phase.started", phase="generalize"),
    event(3.25, "step.started", phase="generalize", step="deprovision"),
    event(3.5, "step.output", phase="generalize", step="deprovision", line="WARNING"),
    event(5.25, "step.finished", phase="generalize", step="deprovision", seconds=2.0),
    event(7.25, "machine.stopped", phase="generalize", seconds=2.0),
    event(7.25, "phase.finished", phase="generalize", seconds=4.0),
    event(7.5, "phase.started", phase="distribute"),
    event(7.5, "output.started", phase="distribute", run_output_name="a"),
    event(7.75, "output.started", phase="distribute", run_output_name="b"),
    event(8.5, "output.finished", phase="distribute", run_output_name="a", seconds=1.0),
    event(9.5, "output.finished", phase="distribute", run_output_name="b", seconds=1.75),
    event(9.5, "phase.finished", phase="distribute", seconds=2.0),
    event(10.0, "run.finished", seconds=9.5),
]


def test_every_second_is_somewhere() -> None:
    got = account(EVENTS, BEGAN, 10.25)
    assert got.shares == Shares(guest=3.0, machine=0.25, boot=0.5, freeze=0.5, power_off=2.0, conversion=2.0, own=2.0)
    assert got.own == Own(
        start=0.5, provision=0.0, customize=0.25, generalize=0.0, distribute=0.0, between=0.5, ending=0.5, leave=0.25
    )
    assert got.freezes == (Freeze(seconds=0.5, bytes=400),)


def test_the_first_line_is_that_of_the_step_that_ran() -> None:
    assert first_line(EVENTS, BEGAN) == 2.0
    assert first_line(EVENTS[:8], BEGAN) is None


def test_own_time_per_step_is_without_the_steps_and_freezes() -> None:
    assert per_step(EVENTS) == 0.25
    assert per_step(EVENTS[:8]) is None
