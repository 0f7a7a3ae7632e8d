"""What becomes of a failure: errorHandling (facts: service 2), and what the person at the terminal wants.

errorHandling: `cleanup` (the default) destroys the machines; `abort` leaves the one that failed running and says how to
get in. The run is Failed either way. Before that a person may be asked, and have it tried again. No phase knows about
any of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aibemu.engine.asking import Answer, OnErrorMode, Question
from aibemu.engine.machines.watchdog import PoweredOff
from aibemu.engine.person import ask
from aibemu.engine.preparing.prepare import Planned
from aibemu.engine.state import BuildState
from aibemu.engine.went_off import explain
from aibemu.errors import (
    AibemuError,
    BuildCancelled,
    BuildTimedOut,
    CustomizerFailed,
    GeneralizeFailed,
    ProvisionFailed,
    ValidationFailed,
    host_error,
)
from aibemu.events import Kind
from aibemu.plan.alike import still_left_out
from aibemu.plan.model import step_json
from aibemu.template.model import OnError


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPolicy:
    """What a failure leads to."""

    # What the template's errorHandling says of customizers and of validators.
    customizer: OnError = OnError.CLEANUP
    validation: OnError = OnError.CLEANUP
    # What was asked for besides.
    mode: OnErrorMode = OnErrorMode.TEMPLATE
    # The template as it is by then, for another attempt. Raises what preparing raises.
    plan_again: Callable[[], Planned]
    # Called when a cancel has ended the phases, for a short build may be over before the cancel watch has looked.
    canceling: Callable[[], None] = lambda: None


def attempt(state: BuildState, policy: ErrorPolicy, phases: Callable[[BuildState], None]) -> None:
    """Run `phases` once, and again each time that a person wants it tried again; in the end, keep what shall be kept.

    Expected errors are in `state.end`; only bugs raise.
    """
    while True:
        with guard(state, policy):
            phases(state)
        answer = _ask_about_failure(state, policy)
        if answer not in (Answer.RETRY, Answer.SKIP):
            break
    _keep(state, policy, answer)
    _offer_to_go_on(state)


@contextmanager
def guard(state: BuildState, policy: ErrorPolicy) -> Iterator[None]:
    """Swallow expected errors into the state."""
    try:
        yield
    except BuildTimedOut as error:
        state.end.error = timed_out(state, error)
    except BuildCancelled as error:
        policy.canceling()
        state.end.error = error
    except AibemuError as error:
        if isinstance(error, PoweredOff):
            explain(state, error)
        state.end.error = error
    except OSError as error:
        if (known := host_error(error)) is None:
            raise
        state.end.error = known


def start_over(state: BuildState, plan_again: Callable[[], Planned], *, skip: bool) -> None:
    """Make ready for another attempt with the template as it is now. skip: without the step that failed.

    Raises what making a plan raises; nothing is changed then.
    """
    planned = plan_again()
    plan = planned.plan
    before = [step_json(step) for step in state.plan.steps]
    skipped = still_left_out(state.skipped, state.running if skip and state.running else None, before, plan.steps)
    state.beside.forget()
    state.fleet.release_all()
    state.again = True
    state.skipped = set(skipped)
    state.planned = state.choose(planned)
    state.end.forget()
    state.disk = None
    state.emit(
        Kind.RUN_RETRIED, steps=[step_json(step) for step in plan.steps],
        validators=[step_json(step) for step in plan.validators], skipped=sorted(state.skipped),
    )  # fmt: skip


def failed_role(state: BuildState) -> str | None:
    """The machine that failed at what a template's author wrote; None when nothing failed, or something else."""
    if isinstance(state.end.error, ValidationFailed) or state.end.validation_error is not None:
        return "validate"
    return "build" if isinstance(state.end.error, CustomizerFailed | GeneralizeFailed) else None


def timed_out(state: BuildState, error: BuildTimedOut) -> BuildTimedOut:
    """The end of a build's time, with how much there was and how to have more (facts: service 1.3)."""
    return BuildTimedOut(
        f"the build took longer than buildTimeoutInMinutes allows, {state.plan.timeout_seconds / 60:g} minutes: "
        f"{error.message}",
        hint="raise buildTimeoutInMinutes (at most 960; 0 means 240): it is for all phases, distribution included",
    )


def _ask_about_failure(state: BuildState, policy: ErrorPolicy) -> Answer | None:
    """What a person says to a failure that another attempt may mend; the state is ready for it then."""
    role = failed_role(state)
    if role is None or state.services.ask is None or policy.mode not in (OnErrorMode.ASK, OnErrorMode.SHELL):
        return None
    shell = policy.mode is OnErrorMode.SHELL
    why: tuple[str, ...] = ()
    while True:
        answer = None
        with guard(state, policy):
            answer = ask(state, _question(state, role, why, shell=shell))
        if answer not in (Answer.RETRY, Answer.SKIP):
            return answer
        try:
            start_over(state, policy.plan_again, skip=answer is Answer.SKIP)
            return answer
        except AibemuError as error:  # the template, as it is now, is no good: say so, and ask again
            state.emit(Kind.NOTICE, level="warning", message=f"it cannot be tried again yet: {error}")
            why, shell = (error.message, *error.details), False


def _question(state: BuildState, role: str, why: tuple[str, ...], *, shell: bool) -> Question:
    error = state.end.ended_by
    assert isinstance(error, AibemuError)
    choices = [Answer.RETRY, Answer.KEEP, Answer.GIVE_UP]
    if isinstance(error, CustomizerFailed):
        choices.insert(1, Answer.SKIP)
    return Question(
        title=error.message, details=why or tuple(filter(None, (error.hint,))), choices=tuple(choices),
        run=state.services.run.id, role=role, shell=shell, error=error,
    )  # fmt: skip


def _offer_to_go_on(state: BuildState) -> None:
    """Whatever ended it, a cancel too: nothing that was done is lost. In a dry run nothing was done."""
    if state.services.dry_run:
        return
    error, command = state.end.ended_by, f"aibemu resume {state.services.run.id}"
    if isinstance(error, AibemuError) and command not in error.commands:
        error.commands = (command, *error.commands)


def _keep(state: BuildState, policy: ErrorPolicy, answer: Answer | None) -> None:
    """errorHandling is about what the template's author wrote; a machine that never became ready is kept for who asked
    for it by name."""
    role = failed_role(state)
    if role is None and policy.mode is OnErrorMode.KEEP and isinstance(state.end.error, ProvisionFailed):
        role = state.fleet.unready
    if role is None or answer is Answer.GIVE_UP or policy.mode is OnErrorMode.CLEANUP:
        return
    said = policy.validation if role == "validate" else policy.customizer
    if OnError.ABORT is said or Answer.KEEP is answer or policy.mode is OnErrorMode.KEEP:
        state.fleet.keep(role)
