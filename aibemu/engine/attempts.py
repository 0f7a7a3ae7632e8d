"""What becomes of a failure: errorHandling (facts: service 2), and what the person at the terminal wants.

errorHandling: `cleanup` (the default) destroys the machines; `abort` leaves the one that failed running and says how to
get in. The run is Failed either way. Before that a person may be asked, and have it tried again. No phase knows about
any of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aibemu.engine.asking import Answer, OnErrorMode, Question
from aibemu.errors import (
    AibemuError,
    BuildCancelled,
    BuildTimedOut,
    CustomizerFailed,
    GeneralizeFailed,
    ValidationFailed,
    host_error,
)
from aibemu.events import Kind
from aibemu.template.model import OnError

if TYPE_CHECKING:
    from aibemu.engine.state import RunContext


@dataclass(frozen=True, slots=True, kw_only=True)
class OnErrorPolicy:
    """One answer for customizers, one for validators; mode: what was asked for besides. canceling: called when a cancel
    has ended the phases, for a short build may be over before the watcher of cancels has looked.
    """

    customizer: OnError = OnError.CLEANUP
    validation: OnError = OnError.CLEANUP
    mode: OnErrorMode = OnErrorMode.TEMPLATE
    canceling: Callable[[], None] = lambda: None

    def attempts(self, ctx: RunContext) -> Iterator[None]:
        """Once; and once more each time that somebody wants it tried again. In the end, keep what shall be kept."""
        answer = None
        while True:
            yield
            answer = self._ask(ctx)
            if answer not in (Answer.RETRY, Answer.SKIP):
                break
        self._keep(ctx, answer)

    @contextmanager
    def guard(self, ctx: RunContext) -> Iterator[None]:
        """Swallow expected errors into the context."""
        try:
            yield
        except BuildTimedOut as error:
            ctx.error = timed_out(ctx, error)
        except BuildCancelled as error:
            self.canceling()
            ctx.error = error
        except AibemuError as error:
            ctx.error = error
        except OSError as error:
            if (known := host_error(error)) is None:
                raise
            ctx.error = known

    def _ask(self, ctx: RunContext) -> Answer | None:
        """What a person says to a failure that another attempt may mend; the context is ready for it then."""
        role = failed_role(ctx)
        if role is None or ctx.services.ask is None or self.mode not in (OnErrorMode.ASK, OnErrorMode.SHELL):
            return None
        shell = self.mode is OnErrorMode.SHELL
        why: tuple[str, ...] = ()
        while True:
            answer = None
            with self.guard(ctx):
                answer = ctx.ask(_question(ctx, role, why, shell=shell))
            if answer not in (Answer.RETRY, Answer.SKIP):
                return answer
            try:
                ctx.start_over(skip=answer is Answer.SKIP)
                return answer
            except AibemuError as error:  # the template, as it is now, is no good: say so, and ask again
                ctx.emit(Kind.NOTICE, level="warning", message=f"it cannot be tried again yet: {error}")
                why, shell = (error.message, *error.details), False

    def _keep(self, ctx: RunContext, answer: Answer | None) -> None:
        role = failed_role(ctx)
        if role is None or answer is Answer.GIVE_UP or self.mode is OnErrorMode.CLEANUP:
            return
        said = self.validation if role == "validate" else self.customizer
        if OnError.ABORT is said or Answer.KEEP is answer or self.mode is OnErrorMode.KEEP:
            ctx.keep(role)


def failed_role(ctx: RunContext) -> str | None:
    """The machine that failed at what a template's author wrote; None when nothing failed, or something else."""
    if isinstance(ctx.error, ValidationFailed) or ctx.validation_error is not None:
        return "validate"
    return "build" if isinstance(ctx.error, CustomizerFailed | GeneralizeFailed) else None


def _question(ctx: RunContext, role: str, why: tuple[str, ...], *, shell: bool) -> Question:
    error = ctx.ended_by
    assert isinstance(error, AibemuError)
    choices = [Answer.RETRY, Answer.KEEP, Answer.GIVE_UP]
    if isinstance(error, CustomizerFailed):
        choices.insert(1, Answer.SKIP)
    return Question(
        title=error.message, details=why or tuple(filter(None, (error.hint,))), choices=tuple(choices),
        run=ctx.services.run.id, role=role, shell=shell,
    )  # fmt: skip


def timed_out(ctx: RunContext, error: BuildTimedOut) -> BuildTimedOut:
    """The end of a build's time, with how much there was and how to have more (facts: service 1.3)."""
    return BuildTimedOut(
        f"the build took longer than buildTimeoutInMinutes allows, {ctx.plan.timeout_seconds / 60:g} minutes: "
        f"{error.message}",
        hint="raise buildTimeoutInMinutes (at most 960; 0 means 240): it is for all phases, distribution included",
    )
