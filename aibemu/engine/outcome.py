"""How a run ended, in the service's words: runState, runSubState and message (facts: service 2, 4.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aibemu.distributors import Artifact
from aibemu.errors import AibemuError, BuildCancelled, BuildTimedOut, DistributeFailed, error_record
from aibemu.events import RunState, RunSubState
from aibemu.plan.model import Plan

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
# aibemu's own: the service has no dry runs.
NOTHING_DONE = "Dry run: no machine was started, no step was run, and nothing was written."


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """lastRunStatus at the end; error is the JSON form of aibemu's own error, or None."""

    state: str
    sub_state: str
    message: str
    error: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A target that could not be written; the others still are (facts: service 2, PartiallySucceeded)."""

    index: int
    name: str
    error: AibemuError


@dataclass(slots=True, kw_only=True)
class Ending:
    """What the phases left to say of a build when it is over."""

    # What ended the phases.
    error: BaseException | None = None
    # A failed validation after which distribution went on.
    validation_error: AibemuError | None = None
    # The targets that were written, and those that could not be.
    artifacts: list[Artifact] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    # How far it came.
    sub_state: RunSubState | None = None
    # How it ended in the service's words, once that is known.
    conclusion: Conclusion | None = None

    @property
    def ended_by(self) -> BaseException | None:
        """What the run failed of. A failed validation always fails it, also when a target failed after it (facts:
        service 2); only what stopped the run as a whole (cancel, timeout, a bug) counts for more.
        """
        if self.validation_error is not None and (self.error is None or isinstance(self.error, DistributeFailed)):
            return self.validation_error
        return self.error

    def forget(self) -> None:
        """Another attempt begins."""
        self.error = self.validation_error = None
        self.artifacts.clear()
        self.failures.clear()


def conclude(end: Ending, plan: Plan, *, run: str, log_id: str, dry: bool = False) -> Conclusion:
    """Fold what happened into the service's terminal state. run, log_id: the ids of the run and its log. dry: nothing
    was run, and so nothing succeeded."""
    error = end.ended_by
    sub_state = end.sub_state.value if end.sub_state else ""
    state, message = RunState.FAILED, ""
    if error is None and dry:
        return Conclusion(state=RunState.DRY_RUN.value, sub_state="", message=NOTHING_DONE, error=None)
    if error is None:
        return Conclusion(state=RunState.SUCCEEDED.value, sub_state="", message="", error=None)
    if isinstance(error, KeyboardInterrupt):  # a second Ctrl-C: no bug, and no failure of the build
        error = BuildCancelled("interrupted twice", commands=() if dry else [f"aibemu resume {run}"])
    if isinstance(error, BuildCancelled):
        state = RunState.CANCELED
    elif isinstance(error, BuildTimedOut):
        message = TIMED_OUT
    elif isinstance(error, DistributeFailed):
        state = RunState.PARTIALLY_SUCCEEDED if end.artifacts else RunState.FAILED
        message = distribute_message(end.failures, len(plan.targets))
    else:
        message = build_failed_message(error, plan.staging_group, run, log_id)
    return Conclusion(state=state.value, sub_state=sub_state, message=message, error=error_record(error))


def build_failed_message(error: BaseException, staging_group: str, run: str, log_id: str) -> str:
    """The 2024 wording; the log's place is the service's own form, over the local staging group."""
    log = (
        f"{staging_group}/providers/Microsoft.Storage/storageAccounts/{storage_account(log_id)}"
        f"/blobServices/default/containers/packerlogs/{run}/customization.log"
    )
    if isinstance(error, AibemuError) and error.code == "TIMEOUT_TOO_SHORT":
        return TIMEOUT_TOO_SHORT
    return (
        f"During the image build a failure has occurred. Packer build logs are at location {log}. Please navigate to "
        "this location using portal or other tools to download logs for identifying which build/customization step "
        "failed. "
        f"Use this operationId {log_id} to search packer logs. For more troubleshooting steps go to "
        f"{TROUBLESHOOTING}."
    )


def storage_account(log_id: str) -> str:
    """The staging storage account's name: 24 lower-case characters (facts: service 1.10), stable for a run."""
    return log_id.replace("-", "")[:24]


def distribute_message(failures: Sequence[Failure], targets: int) -> str:
    """`Failed in distributing 1 images out of total 2: {[Error 0] [Distribute 0] ...}`."""
    parts = " ".join(
        f"[Error {number}] [Distribute {failure.index}] {failure.error.message}"
        for number, failure in enumerate(failures)
    )
    return f"Failed in distributing {len(failures)} images out of total {targets}: {{{parts}}}"
