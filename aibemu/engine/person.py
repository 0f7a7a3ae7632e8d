"""Asking a person in the midst of a build."""

from __future__ import annotations

import math
from dataclasses import replace

from aibemu.engine.asking import Answer, Question
from aibemu.engine.state import BuildState
from aibemu.errors import BuildCancelled, error_record
from aibemu.events import Kind
from aibemu.runs.admission import waiting_for_a_person


def ask(state: BuildState, question: Question) -> Answer:
    """Ask and wait. What a person takes to answer is not the build's time."""
    services = state.services
    assert services.ask is not None
    began = services.clock.monotonic()
    # Before anybody hears that it waits, or a quick answer would go too.
    services.run.answer_file.unlink(missing_ok=True)
    about = {"error": error_record(question.error)} if question.error else {}
    state.emit(Kind.RUN_WAITING, title=question.title, choices=[choice.value for choice in question.choices], **about)
    services.telemetry.flush()  # a person must have seen what the question is about
    try:
        with waiting_for_a_person(services.run):
            answer = services.ask(question, replace(state.deadline, build_ends=math.inf))
    finally:
        waited = services.clock.monotonic() - began
        state.deadline = replace(state.deadline, build_ends=state.deadline.build_ends + waited)
    state.emit(Kind.RUN_ANSWERED, answer=answer.value)
    return answer


def pause(state: BuildState, when: str, label: str) -> None:
    """Wait until a person lets the run go on; `BuildCancelled` if they end it."""
    question = Question(
        title=f"paused {when} {label}", details=(), choices=(Answer.GO_ON, Answer.GIVE_UP), run=state.services.run.id,
        role="build",
    )  # fmt: skip
    if ask(state, question) is Answer.GIVE_UP:
        raise BuildCancelled(f"ended by hand {when} {label}")
