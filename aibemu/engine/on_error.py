"""errorHandling: what becomes of the machines when a phase fails (facts: service 2).

`cleanup` (the default) destroys them; `abort` leaves the one that failed running and says how to get in. The run is
Failed either way. No phase knows about this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aibemu.errors import (
    AibemuError,
    BuildCancelled,
    BuildTimedOut,
    CustomizerFailed,
    GeneralizeFailed,
    ValidationFailed,
    host_error,
)
from aibemu.template.model import OnError

if TYPE_CHECKING:
    from aibemu.engine.context import RunContext


@dataclass(frozen=True, slots=True, kw_only=True)
class OnErrorPolicy:
    """One answer for customizers, one for validators. canceling: called when a cancel has ended the phases, for a short
    build may be over before the watcher of cancels has looked.
    """

    customizer: OnError = OnError.CLEANUP
    validation: OnError = OnError.CLEANUP
    canceling: Callable[[], None] = lambda: None

    @contextmanager
    def guard(self, ctx: RunContext) -> Iterator[None]:
        """Swallow expected errors into the context, keeping what shall be kept."""
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
        if isinstance(ctx.error, CustomizerFailed | GeneralizeFailed) and self.customizer is OnError.ABORT:
            ctx.keep("build")
        failed_validation = isinstance(ctx.error, ValidationFailed) or ctx.validation_error is not None
        if failed_validation and self.validation is OnError.ABORT:
            ctx.keep("validate")


def timed_out(ctx: RunContext, error: BuildTimedOut) -> BuildTimedOut:
    """The end of a build's time, with how much there was and how to have more (facts: service 1.3)."""
    return BuildTimedOut(
        f"the build took longer than buildTimeoutInMinutes allows, {ctx.plan.timeout_seconds / 60:g} minutes: "
        f"{error.message}",
        hint="raise buildTimeoutInMinutes (at most 960; 0 means 240): it is for all phases, distribution included",
    )
