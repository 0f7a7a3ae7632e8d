"""How a run ended, in the service's words: runState, runSubState and message (facts: service 2, 4.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aibemu.errors import AibemuError, BuildCancelled, BuildTimedOut, DistributeFailed
from aibemu.events import RunState

if TYPE_CHECKING:
    from aibemu.engine.context import RunContext

TROUBLESHOOTING = "https://aka.ms/azvmimagebuilderts"
TIMED_OUT = (
    "Failed while waiting for packerizer: Timeout waiting for microservice to complete: 'context deadline exceeded'"
)
# What the service says at run time when buildTimeoutInMinutes is 1 to 5 (facts: service 3).
TIMEOUT_TOO_SHORT = (
    'Failed to prepare build: "azure-arm"\n\n'
    "1 error(s) occurred:\n\n"
    "* client_jwt will expire within 5 minutes, please use a JWT that is valid for at least 5 minutes"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """lastRunStatus at the end; error is the JSON form of aibemu's own error, or None."""

    state: str
    sub_state: str
    message: str
    error: dict[str, Any] | None


def conclude(ctx: RunContext) -> Conclusion:
    """Fold what happened into the service's terminal state."""
    error = ctx.ended_by
    sub_state = ctx.sub_state.value if ctx.sub_state else ""
    if isinstance(error, BuildCancelled):
        return Conclusion(state=RunState.CANCELED.value, sub_state=sub_state, message="", error=error_json(error))
    if isinstance(error, BuildTimedOut):
        return Conclusion(state=RunState.FAILED.value, sub_state=sub_state, message=TIMED_OUT, error=error_json(error))
    if isinstance(error, DistributeFailed):
        some = bool(ctx.artifacts)
        state = RunState.PARTIALLY_SUCCEEDED if some else RunState.FAILED
        return Conclusion(
            state=state.value, sub_state=sub_state, message=distribute_message(ctx), error=error_json(error)
        )
    if error is not None:
        return Conclusion(
            state=RunState.FAILED.value, sub_state=sub_state, message=build_failed_message(ctx), error=error_json(error)
        )
    return Conclusion(state=RunState.SUCCEEDED.value, sub_state="", message="", error=None)


def build_failed_message(ctx: RunContext) -> str:
    """The 2024 wording; the log's place is the service's own form, over the local staging group."""
    log = (
        f"{ctx.plan.staging_group}/providers/Microsoft.Storage/storageAccounts/{storage_account(ctx.ports.log_id)}"
        f"/blobServices/default/containers/packerlogs/{ctx.ports.run.id}/customization.log"
    )
    if isinstance(ctx.error, AibemuError) and ctx.error.code == "TIMEOUT_TOO_SHORT":
        return TIMEOUT_TOO_SHORT
    return (
        f"During the image build a failure has occurred. Packer build logs are at location {log}. Please navigate to "
        "this location using portal or other tools to download logs for identifying which build/customization step "
        "failed. "
        f"Use this operationId {ctx.ports.log_id} to search packer logs. For more troubleshooting steps go to "
        f"{TROUBLESHOOTING}."
    )


def storage_account(log_id: str) -> str:
    """The staging storage account's name: 24 lower-case characters (facts: service 1.10), stable for a run."""
    return log_id.replace("-", "")[:24]


def distribute_message(ctx: RunContext) -> str:
    """`Failed in distributing 1 images out of total 2: {[Error 0] [Distribute 0] ...}`."""
    parts = " ".join(
        f"[Error {number}] [Distribute {failure.index}] {failure.error.message}"
        for number, failure in enumerate(ctx.failures)
    )
    return f"Failed in distributing {len(ctx.failures)} images out of total {len(ctx.plan.targets)}: {{{parts}}}"


def error_json(error: BaseException) -> dict[str, Any]:
    """An error as events carry it."""
    if isinstance(error, AibemuError):
        return {
            "code": error.code, "message": error.message, "hint": error.hint, "details": list(error.details),
            "span": str(error.span) if error.span else None, "commands": list(error.commands),
        }  # fmt: skip
    return {
        "code": "INTERNAL", "message": f"{type(error).__name__}: {error}", "hint": "this is a bug in aibemu",
        "details": [], "span": None, "commands": [],
    }  # fmt: skip
