"""errorHandling: what becomes of the machines when a phase fails (facts: service 2).

`cleanup` (the default) destroys them; `abort` leaves the one that failed running and says how to get in. The run is
Failed either way. No phase knows about this.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aibemu.errors import AibemuError, CustomizerFailed, GeneralizeFailed, ValidationFailed
from aibemu.template.model import OnError

if TYPE_CHECKING:
    from aibemu.engine.context import RunContext


@dataclass(frozen=True, slots=True, kw_only=True)
class OnErrorPolicy:
    """One answer for customizers, one for validators."""

    customizer: OnError = OnError.CLEANUP
    validation: OnError = OnError.CLEANUP

    @contextmanager
    def guard(self, ctx: RunContext) -> Iterator[None]:
        """Swallow expected errors into the context, keeping what shall be kept."""
        try:
            yield
        except AibemuError as error:
            ctx.error = error
        if isinstance(ctx.error, CustomizerFailed | GeneralizeFailed) and self.customizer is OnError.ABORT:
            ctx.keep("build")
        failed_validation = isinstance(ctx.error, ValidationFailed) or ctx.validation_error is not None
        if failed_validation and self.validation is OnError.ABORT:
            ctx.keep("validate")
