"""What a person may be asked, what their answers do to a failed run, and whose time that is.

Whole builds with a person in them are in tests/scenarios/test_retry.py.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.clock import Deadline
from aibemu.engine.asking import Answer, OnErrorMode, Pauses, Question
from aibemu.engine.attempts import ErrorPolicy, attempt
from aibemu.engine.outcome import Ending
from aibemu.engine.person import ask as ask_person
from aibemu.engine.person import pause
from aibemu.engine.state import BuildState
from aibemu.errors import (
    AibemuError,
    BuildCancelled,
    BuildTimedOut,
    CustomizerFailed,
    DistributeFailed,
    GeneralizeFailed,
    ProvisionFailed,
    UsageError,
    ValidationFailed,
)
from aibemu.events import Kind
from aibemu.runs.store import Run
from aibemu.template.model import OnError
from aibemu.testing.clock import FakeClock
from tests.unit.plan.test_reuse import plan

STEPS = plan("one", "two", "Two", "three").steps
QUESTION = Question(
    title="t", details=(), choices=(Answer.RETRY, Answer.GIVE_UP), run="3f2c9a1b", role="build"
)  # fmt: skip


# Pauses


def test_pauses_name_steps_by_id_number_or_name() -> None:
    pauses = Pauses(before=("c1", "4"), after=("one", "3"))
    pauses.check(STEPS)
    assert [pauses.is_before(STEPS, index) for index in range(4)] == [True, False, False, True]
    assert [pauses.is_after(STEPS, index) for index in range(4)] == [True, False, True, False]
    assert not any(Pauses().is_before(STEPS, index) or Pauses().is_after(STEPS, index) for index in range(4))


def test_a_pause_at_a_step_that_was_renamed_to_try_again_is_none() -> None:
    pauses = Pauses(before=("nine",), after=("two",))
    assert not any(pauses.is_before(STEPS, index) or pauses.is_after(STEPS, index) for index in range(4))


@pytest.mark.parametrize(
    ("pauses", "said"),
    [
        (Pauses(before=("nine",)), "--pause-before nine: there is no such step"),
        (Pauses(before=("one",), after=("5",)), "--pause-after 5: there is no such step"),
        (Pauses(after=("two",)), "--pause-after two: there is more than one such step"),
    ],
    ids=["before", "after", "twice"],
)
def test_a_pause_at_a_step_that_there_is_not_is_a_usage_error(pauses: Pauses, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        pauses.check(STEPS)


# The context: whose time it is


def context(folder: Path, ask: Any, *, build_ends: float = 100.0) -> Any:
    clock = FakeClock()
    events: list[tuple[Kind, dict[str, Any]]] = []
    folder.joinpath("r").mkdir()
    services: Any = SimpleNamespace(
        clock=clock,
        run=Run(folder / "r"),
        ask=ask,
        emit=lambda kind, **fields: events.append((kind, fields)),
        telemetry=SimpleNamespace(flush=lambda: None),
        dry_run=False,
    )
    nothing: Any = SimpleNamespace(plan=plan())
    state = BuildState(
        services=services, planned=nothing, deadline=Deadline(clock=clock, build_ends=build_ends), fleet=nothing,
        room=nothing,
    )  # fmt: skip
    return SimpleNamespace(state=state, clock=clock, events=events, services=services)


def test_what_a_person_takes_is_added_to_the_builds_end(tmp_path: Path) -> None:
    seen: list[float] = []

    def ask(question: Question, deadline: Deadline) -> Answer:
        seen.append(deadline.remaining())
        this.clock.advance(5000)
        return Answer.RETRY

    this = context(tmp_path, ask)
    this.clock.advance(90)
    assert ask_person(this.state, QUESTION) is Answer.RETRY
    assert seen == [math.inf]
    assert this.state.deadline.remaining() == 10
    this.state.deadline.check()
    assert [kind for kind, _ in this.events] == [Kind.RUN_WAITING, Kind.RUN_ANSWERED]
    assert this.events[0][1] == {"title": "t", "choices": ["retry", "give-up"]}
    assert this.events[1][1] == {"answer": "retry"}


def test_also_when_they_end_it(tmp_path: Path) -> None:
    def ask(question: Question, deadline: Deadline) -> Answer:
        this.clock.advance(5000)
        raise BuildCancelled("Ctrl-C")

    this = context(tmp_path, ask)
    with pytest.raises(BuildCancelled):
        ask_person(this.state, QUESTION)
    assert this.state.deadline.remaining() == 100
    assert [kind for kind, _ in this.events] == [Kind.RUN_WAITING]


def test_a_cancel_is_obeyed_while_waiting(tmp_path: Path) -> None:
    def ask(question: Question, deadline: Deadline) -> Answer:
        deadline.cancel.cancel("Ctrl-C")
        deadline.sleep(1)
        raise AssertionError

    with pytest.raises(BuildCancelled, match="Ctrl-C"):
        ask_person(context(tmp_path, ask).state, QUESTION)


def test_an_answer_to_an_earlier_question_is_gone_before_anybody_hears_of_this_one(tmp_path: Path) -> None:
    """And one that comes as soon as they hear is not."""
    file = tmp_path / "r" / "answer"
    this = context(tmp_path, lambda question, deadline: Answer(file.read_text()))
    file.write_text("keep")

    def hear(kind: Kind, **fields: Any) -> None:
        if kind is Kind.RUN_WAITING:
            assert not file.exists()
            file.write_text("retry")

    this.services.emit = hear
    assert ask_person(this.state, QUESTION) is Answer.RETRY


@pytest.mark.parametrize("answer", [Answer.GO_ON, Answer.GIVE_UP])
def test_a_pause_goes_on_or_is_a_cancel(tmp_path: Path, answer: Answer) -> None:
    asked: list[Question] = []

    def ask(question: Question, deadline: Deadline) -> Answer:
        asked.append(question)
        return answer

    this = context(tmp_path, ask)
    if answer is Answer.GO_ON:
        pause(this.state, "before", "two")
    else:
        with pytest.raises(BuildCancelled, match="ended by hand before two"):
            pause(this.state, "before", "two")
    assert asked[0].title == "paused before two"
    assert asked[0].choices == (Answer.GO_ON, Answer.GIVE_UP)


# The policy


class FakeState:
    """A build whose attempts fail of `errors`, one after the other, and whose person answers `answers`."""

    def __init__(self, errors: list[AibemuError | None], answers: list[Any], *, ask: bool = True) -> None:
        self.errors, self.answers = errors, answers
        self.end = Ending()
        self.questions: list[Question] = []
        self.started: list[bool] = []
        self.refusals: list[AibemuError] = []
        self.kept: list[str] = []
        self.said: list[str] = []
        self.services = SimpleNamespace(
            ask=self.ask if ask else None, run=SimpleNamespace(id="3f2c9a1b"), dry_run=False
        )
        self.fleet = SimpleNamespace(keep=self.kept.append, unready=None)

    def ask(self, state: object, question: Question) -> Answer:
        self.questions.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Answer)
        return answer

    def start_over(self, state: object, plan_again: object, *, skip: bool) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.started.append(skip)
        self.end.forget()

    def emit(self, kind: Kind, **fields: Any) -> None:
        self.said.append(fields["message"])


def attempts(policy: ErrorPolicy, state: FakeState) -> int:
    """Let it try until it stops; how often that was."""
    count = 0

    def phases(_: object) -> None:
        nonlocal count
        count += 1
        if (error := state.errors.pop(0)) is not None:
            raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aibemu.engine.attempts.ask", state.ask)
        patch.setattr("aibemu.engine.attempts.start_over", state.start_over)
        attempt(state, policy, phases)  # type: ignore[arg-type]
    return count


def no_plan() -> Any:
    raise AssertionError("start_over is not the real one here")


ASK = ErrorPolicy(plan_again=no_plan, mode=OnErrorMode.ASK)
FAILED = CustomizerFailed("customizer two failed", hint="look at it")


def test_a_build_that_ends_well_asks_nobody() -> None:
    state = FakeState([None], [])
    assert attempts(ASK, state) == 1
    assert state.questions == [] and state.kept == []


@pytest.mark.parametrize(("answer", "skip"), [(Answer.RETRY, False), (Answer.SKIP, True)])
def test_it_is_tried_again_as_often_as_that_is_answered(answer: Answer, skip: bool) -> None:
    state = FakeState([FAILED, FAILED, None], [answer, answer])
    assert attempts(ASK, state) == 3
    assert state.started == [skip, skip]
    assert state.end.error is None


@pytest.mark.parametrize(
    ("error", "role", "skip"),
    [(FAILED, "build", True), (GeneralizeFailed("g"), "build", False), (ValidationFailed("v"), "validate", False)],
    ids=["customizer", "generalize", "validation"],
)
def test_only_a_customizer_can_be_skipped(error: AibemuError, role: str, skip: bool) -> None:
    state = FakeState([error], [Answer.GIVE_UP])
    attempts(ASK, state)
    (question,) = state.questions
    assert (question.role, question.title, question.run) == (role, error.message, "3f2c9a1b")
    assert (Answer.SKIP in question.choices) == skip
    assert {Answer.RETRY, Answer.KEEP, Answer.GIVE_UP} <= set(question.choices)


@pytest.mark.parametrize(
    "error", [ProvisionFailed("p"), DistributeFailed("d"), BuildCancelled("c")], ids=lambda one: type(one).__name__
)
def test_other_failures_are_not_asked_about(error: AibemuError) -> None:
    state = FakeState([error], [])
    assert attempts(ASK, state) == 1
    assert state.end.error is error and state.kept == []


def test_a_build_whose_time_is_over_is_not_asked_about() -> None:
    state = FakeState([BuildTimedOut("late")], [])
    state.plan = SimpleNamespace(timeout_seconds=60.0)  # type: ignore[attr-defined]
    assert attempts(ASK, state) == 1


@pytest.mark.parametrize("mode", [OnErrorMode.TEMPLATE, OnErrorMode.CLEANUP, OnErrorMode.KEEP])
def test_only_those_who_want_to_be_asked_are(mode: OnErrorMode) -> None:
    state = FakeState([FAILED], [])
    assert attempts(replace(ASK, mode=mode), state) == 1


def test_with_nobody_to_ask_the_template_decides() -> None:
    state = FakeState([FAILED], [], ask=False)
    attempts(replace(ASK, customizer=OnError.ABORT), state)
    assert state.kept == ["build"]


@pytest.mark.parametrize("said", list(OnError))
@pytest.mark.parametrize(
    ("mode", "answer", "kept"),
    [
        (OnErrorMode.ASK, Answer.KEEP, True),
        (OnErrorMode.ASK, Answer.GIVE_UP, False),
        (OnErrorMode.SHELL, Answer.KEEP, True),
        (OnErrorMode.KEEP, None, True),
        (OnErrorMode.CLEANUP, None, False),
        (OnErrorMode.TEMPLATE, None, None),
    ],
)
@pytest.mark.parametrize(("error", "role"), [(FAILED, "build"), (ValidationFailed("v"), "validate")], ids=str)
def test_what_becomes_of_the_machine(
    said: OnError, mode: OnErrorMode, answer: Answer | None, kept: bool | None, error: AibemuError, role: str
) -> None:
    state = FakeState([error], [answer] if answer else [])
    attempts(ErrorPolicy(plan_again=no_plan, customizer=said, validation=said, mode=mode), state)
    expected = said is OnError.ABORT if kept is None else kept
    assert state.kept == ([role] if expected else [])


def test_a_template_that_is_no_good_is_said_and_asked_about_again() -> None:
    state = FakeState([FAILED, None], [Answer.RETRY, Answer.SKIP, Answer.RETRY])
    state.refusals = [UsageError("line 3 is wrong", details=["more"]), UsageError("line 4 is wrong")]
    assert attempts(replace(ASK, mode=OnErrorMode.SHELL), state) == 2
    assert [question.details for question in state.questions] == [
        ("look at it",), ("line 3 is wrong", "more"), ("line 4 is wrong",),
    ]  # fmt: skip
    assert [question.shell for question in state.questions] == [True, False, False]
    assert state.started == [False]
    assert all(text.startswith("it cannot be tried again yet: ") for text in state.said) and len(state.said) == 2


def test_a_cancel_instead_of_an_answer_ends_it() -> None:
    state = FakeState([FAILED], [BuildCancelled("Ctrl-C")])
    assert attempts(replace(ASK, customizer=OnError.ABORT), state) == 1
    assert isinstance(state.end.error, BuildCancelled)
    assert state.kept == []
