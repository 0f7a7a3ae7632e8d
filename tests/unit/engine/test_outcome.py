"""lastRunStatus at the end, in the service's words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aibemu.engine.outcome import TIMED_OUT, Conclusion, Ending, Failure, conclude
from aibemu.engine.phases.provision import TimeoutTooShort
from aibemu.errors import (
    AibemuError,
    BuildCancelled,
    BuildTimedOut,
    CustomizerFailed,
    DistributeFailed,
    ValidationFailed,
)
from aibemu.events import RunSubState

LOG_ID = "7111a125-0000-4000-8000-000000000000"


def ended(error: AibemuError | None, sub_state: RunSubState | None = None, **more: Any) -> Conclusion:
    plan: Any = SimpleNamespace(staging_group="/subscriptions/s/resourceGroups/IT_rg_t_1", targets=(1, 2))
    return conclude(Ending(error=error, sub_state=sub_state, **more), plan, run="3f2c9a1b", log_id=LOG_ID)


def test_success_has_no_message_and_no_sub_state() -> None:
    end = ended(None, RunSubState.DISTRIBUTING)
    assert (end.state, end.sub_state, end.message, end.error) == ("Succeeded", "", "", None)


def test_customizer_failure_reads_like_the_services() -> None:
    end = ended(CustomizerFailed("x"), RunSubState.CUSTOMIZING)
    assert (end.state, end.sub_state) == ("Failed", "Customizing")
    assert end.message == (
        "During the image build a failure has occurred. Packer build logs are at location "
        "/subscriptions/s/resourceGroups/IT_rg_t_1/providers/Microsoft.Storage/storageAccounts/"
        "7111a1250000400080000000/blobServices/default/containers/packerlogs/3f2c9a1b/customization.log. "
        "Please navigate to this location using portal or other tools to download logs for "
        "identifying which build/customization step failed. Use this "
        f"operationId {LOG_ID} to search packer logs. For more troubleshooting steps go to "
        "https://aka.ms/azvmimagebuilderts."
    )


def test_timeout_cancel_and_short_timeout() -> None:
    assert ended(BuildTimedOut("x")).message == TIMED_OUT
    assert ended(BuildCancelled("x"), RunSubState.BUILDING).state == "Canceled"
    assert "client_jwt will expire within 5 minutes" in ended(TimeoutTooShort("x")).message


def test_some_targets_written_is_partial_success_none_is_failure() -> None:
    failures = [Failure(index=1, name="b", error=DistributeFailed("disk full"))]
    partly = ended(DistributeFailed("x"), failures=failures, artifacts=[object()])
    assert partly.state == "PartiallySucceeded"
    assert partly.message == "Failed in distributing 1 images out of total 2: {[Error 0] [Distribute 1] disk full}"
    assert ended(DistributeFailed("x"), failures=failures).state == "Failed"


def test_failed_validation_fails_the_run_even_when_distributed() -> None:
    assert ended(None, validation_error=ValidationFailed("v"), artifacts=[object()]).state == "Failed"
    both = ended(DistributeFailed("d"), validation_error=ValidationFailed("v"), artifacts=[object()])
    assert both.state == "Failed"
