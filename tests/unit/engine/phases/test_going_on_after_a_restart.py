"""A machine that boots from the disk of a restart: what the step did after it is done again, else the layer goes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.clock import forever
from aibemu.communicators import Stream
from aibemu.customizers import Guest, Outcome
from aibemu.engine.machines.freezing import LayerUseless
from aibemu.engine.phases.provision import _finish_restart
from aibemu.errors import BuildCancelled
from aibemu.testing.clock import FakeClock


class Step:
    """Goes on after its restart as the test says."""

    def __init__(self, outcome: Outcome | Exception) -> None:
        self.outcome = outcome

    def after_restart(self, guest: Guest) -> Outcome:
        guest.say("nobody hears this again")
        guest.on_line(Stream.STDOUT, "nor this")
        guest.command_started("nor this")
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def state(step: object) -> Any:
    """A build that has booted from the layer of its second step. `released`: its machines that are gone again."""
    released: list[str] = []
    fleet = SimpleNamespace(build=SimpleNamespace(communicator=None), release=released.append)
    plan = SimpleNamespace(done=2, steps=[SimpleNamespace(id="c1"), SimpleNamespace(id="c2"), SimpleNamespace(id="c3")])
    planned = SimpleNamespace(customizers={"c1": None, "c2": step, "c3": None})
    return SimpleNamespace(
        fleet=fleet, plan=plan, planned=planned, deadline=forever(FakeClock()), released=released,
    )  # fmt: skip


LAYER: Any = SimpleNamespace(label="Restart", run="3f2c")


def test_it_goes_on() -> None:
    for step in (Step(Outcome(exit_code=0)), object()):  # a step of an earlier version has nothing to do
        made = state(step)
        _finish_restart(made, LAYER)
        assert made.released == []


def test_a_layer_on_which_it_does_not_end_well_is_no_good() -> None:
    made = state(Step(Outcome(exit_code=None, error="PowerShell did not answer")))
    with pytest.raises(LayerUseless, match=r"the layer 'Restart' of run 3f2c .* PowerShell did not answer"):
        _finish_restart(made, LAYER)
    assert made.released == ["build"]


def test_the_builds_end_is_no_fault_of_a_layer() -> None:
    made = state(Step(BuildCancelled("Ctrl-C")))
    with pytest.raises(BuildCancelled):
        _finish_restart(made, LAYER)
