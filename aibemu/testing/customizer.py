"""What every customizer promises, as tests. Subclass it in a test module and say how to make a step:

    class TestMine(CustomizerContract):
        def new_step(self, settings: StepSettings) -> Customizer:
            return Mine(step_spec("Mine", message="hello"), settings)

The guest follows a script (`aibemu.testing.script`), so nothing runs. Needs pytest.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from aibemu.clock import CancelToken
from aibemu.customizers import Customizer, Need, StepSettings, what_it_would_do
from aibemu.errors import BuildCancelled, Span
from aibemu.template.model import StepSpec
from aibemu.testing.clock import FakeClock
from aibemu.testing.script import Rule, Script
from aibemu.testing.steps import ScriptedGuest

__all__ = ["CustomizerContract", "ScriptedGuest", "step_spec"]


def step_spec(kind: str, **options: object) -> StepSpec:
    """The first step of a template, with these options."""
    span = Span(file="template.json", line=1, column=1)
    return StepSpec(kind=kind, index=0, name="", options=options, span=span)


class CustomizerContract:
    """The suite."""

    def new_step(self, settings: StepSettings) -> Customizer:
        """A step that succeeds in a guest that answers as `answers` says."""
        raise NotImplementedError

    def answers(self) -> Sequence[Rule]:
        """What the guest answers when all is well; without rules every command succeeds and prints nothing."""
        return ()

    def content(self, need: Need) -> bytes:
        """What is found at the URI of `need`."""
        return b"#!/bin/sh\nexit 0\n"

    @pytest.fixture
    def step(self) -> Customizer:
        return self.new_step(_settings(1))

    @pytest.fixture
    def files(self, step: Customizer, tmp_path: Path) -> Sequence[Path]:
        """The files of `step.needs()`, as the engine hands them to `apply`."""
        made = []
        for number, need in enumerate(step.needs()):
            path = tmp_path / f"need-{number}"
            path.write_bytes(self.content(need))
            made.append(path)
        return made

    # Before anything starts

    def test_what_it_needs_is_named_and_stays_so(self, step: Customizer) -> None:
        assert all(need.uri for need in step.needs())
        assert list(step.needs()) == list(step.needs())

    def test_it_can_be_described_before_it_runs(self, step: Customizer) -> None:
        said = step.describe()
        assert all(isinstance(text, str) for text in (said.local_name, said.remote, said.command))
        assert step.describe() == said

    def test_its_inputs_are_json_and_do_not_depend_on_the_run(self, step: Customizer) -> None:
        """They decide whether a cached result is used: what chance or a log's id is part of, is never found again."""
        inputs = json.dumps(step.inputs(), sort_keys=True)
        other = self.new_step(_settings(2))
        assert json.dumps(other.inputs(), sort_keys=True) == inputs

    def test_what_it_would_do_is_told_without_a_guest(self, step: Customizer) -> None:
        """By `would`, if it has that: for dry runs, after each of which the step may still run."""
        told = what_it_would_do(step)
        assert told is None or (told and all(told))
        assert what_it_would_do(step) == told

    # In the guest

    def test_success_has_no_error(self, step: Customizer, files: Sequence[Path]) -> None:
        before = [path.read_bytes() for path in files]
        outcome = step.apply(_guest(*self.answers()), files)
        assert outcome.error is None
        assert not outcome.rebooted
        assert [path.read_bytes() for path in files] == before, "fetched files are shared with other runs"

    def test_what_a_guest_refuses_is_an_outcome_and_no_exception(self, step: Customizer, files: Sequence[Path]) -> None:
        refusing = Rule(match=re.compile(""), exit=9, stderr=("no",))
        outcome = step.apply(_guest(refusing), files)
        assert outcome.error

    def test_a_lost_connection_is_an_outcome_and_nothing_runs_twice(
        self, step: Customizer, files: Sequence[Path]
    ) -> None:
        """Whether it had run is not known then, and a script that runs twice does what nobody asked for."""
        guest = _guest(Rule(match=re.compile(""), disconnect=True))
        outcome = step.apply(guest, files)
        assert outcome.error
        assert len(guest.communicator.transcript) == 1

    def test_a_cancel_ends_it(self, step: Customizer, files: Sequence[Path]) -> None:
        cancel = CancelToken()
        cancel.cancel("stop")
        with pytest.raises(BuildCancelled):
            step.apply(_guest(*self.answers(), cancel=cancel), files)


def _settings(seed: int) -> StepSettings:
    """What differs between two runs: the id of the log, and what chance decides."""
    return StepSettings(log_id=f"{seed:04}", rng=random.Random(seed))  # noqa: S311 - names of temporary files


def _guest(*rules: Rule, cancel: CancelToken | None = None) -> ScriptedGuest:
    return ScriptedGuest(script=Script(rules), clock=FakeClock(), cancel=cancel)
