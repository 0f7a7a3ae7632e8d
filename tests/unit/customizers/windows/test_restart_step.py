"""The WindowsRestart customizer: proof of the restart, and how each way to fail is told."""

from __future__ import annotations

from typing import Any

import pytest

from aibemu.clock import CancelToken
from aibemu.communicators import Stream
from aibemu.customizers import Outcome, StepSettings
from aibemu.customizers.windows.restart import WindowsRestart
from aibemu.errors import BuildCancelled
from aibemu.systems import load
from aibemu.testing.clock import FakeClock
from aibemu.testing.customizer import step_spec
from aibemu.testing.script import Script
from aibemu.testing.steps import ScriptedGuest

RESTARTS = {"match": "^shutdown", "reboot": True}
UP = {"match": "GetHostName", "stdout": ["vm restarted."]}


def guest_with(*rules: dict[str, Any], cancel: CancelToken | None = None) -> ScriptedGuest:
    return ScriptedGuest(load("Windows"), Script.parse(list(rules)), FakeClock(), cancel)


def apply(guest: ScriptedGuest, **options: Any) -> Outcome:
    return WindowsRestart(step_spec("WindowsRestart", **options), StepSettings()).apply(guest, ())


def commands(guest: ScriptedGuest) -> list[str]:
    return [str(entry["command"]) for entry in guest.communicator.transcript]


def test_a_restart_ends_when_powershell_answers() -> None:
    guest = guest_with(RESTARTS, {"match": "GetHostName", "times": 2}, UP)
    outcome = apply(guest)
    assert (outcome.error, outcome.exit_code, outcome.warnings) == (None, 0, ())
    assert guest.lines == [(Stream.STDOUT, "vm restarted.")]
    assert guest.said == ["Waiting for machine to restart...", "Machine successfully restarted, moving on"]
    assert len(commands(guest)) == 4


@pytest.mark.parametrize("code", [0, 1115, 1190])
def test_a_restart_that_is_on_its_way_is_waited_for(code: int) -> None:
    assert apply(guest_with({**RESTARTS, "exit": code}, UP)).error is None


def test_a_command_that_the_restart_cuts_off_has_restarted_the_machine() -> None:
    assert apply(guest_with({**RESTARTS, "disconnect": True}, UP)).error is None


def test_another_code_ends_the_step_at_once() -> None:
    guest = guest_with({"match": "^shutdown", "exit": 5})
    outcome = apply(guest)
    assert (outcome.exit_code, outcome.error) == (5, "Restart script exited with non-zero exit status: 5")
    assert len(commands(guest)) == 1


def test_a_machine_that_never_went_down_is_told_from_one_that_hangs() -> None:
    outcome = apply(guest_with(), restartCommand="echo no", restartTimeout="2m")
    assert str(outcome.error).startswith("Timeout waiting for machine to restart.")
    assert "never went down in 2m" in str(outcome.error) and "restartCommand" in str(outcome.hint)
    hangs = apply(guest_with({"match": "^shutdown", "poweroff": True}))
    assert "did not answer again within 5m" in str(hangs.error)


def test_the_check_runs_until_it_has_run_and_its_code_is_only_told() -> None:
    guest = guest_with(RESTARTS, {"match": "^test", "disconnect": True, "times": 1},
                       {"match": "^test", "exit": 1, "stdout": ["not yet"]}, UP)  # fmt: skip
    outcome = apply(guest, restartCheckCommand="test it")
    assert outcome.error is None
    assert "restartCheckCommand ended with 1" in outcome.warnings[0]
    assert commands(guest).count("test it") == 2 and (Stream.STDOUT, "not yet") in guest.lines


def test_a_machine_that_is_up_without_powershell_ends_with_the_time() -> None:
    outcome = apply(guest_with(RESTARTS), restartTimeout="90s")
    assert "PowerShell did not answer within 90s" in str(outcome.error)


def test_a_duration_that_is_none_is_told_before_anything_runs() -> None:
    guest = guest_with()
    assert "restartTimeout 'soon' is not a duration" in str(apply(guest, restartTimeout="soon").error)
    assert commands(guest) == []


def test_a_cancel_ends_the_wait() -> None:
    cancel = CancelToken()
    guest = guest_with(RESTARTS, cancel=cancel)
    guest.say = lambda text: cancel.cancel("enough")  # type: ignore[method-assign]
    with pytest.raises(BuildCancelled, match="enough"):
        apply(guest)


def test_what_comes_after_the_restart_is_done_again_on_a_disk_of_that_time() -> None:
    """The check too: the quick start of Azure has it write a file."""
    guest = guest_with(
        {"match": "^echo back", "disconnect": True, "times": 1}, {"match": "GetHostName", "times": 1}, UP
    )
    step = WindowsRestart(step_spec("WindowsRestart", restartCheckCommand="echo back> C:\\back.txt"), StepSettings())
    outcome = step.after_restart(guest)
    assert outcome.error is None and not [one for one in commands(guest) if one.startswith("shutdown")]
    assert commands(guest).count("echo back> C:\\back.txt") == 2 and guest.lines[-1] == (Stream.STDOUT, "vm restarted.")
    silent = WindowsRestart(step_spec("WindowsRestart", restartTimeout="90s"), StepSettings())
    assert "PowerShell did not answer within 90s" in str(silent.after_restart(guest_with()).error)
