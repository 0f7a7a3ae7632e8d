"""The WindowsUpdate customizer: rounds, restarts between them, and their bounds."""

from __future__ import annotations

from typing import Any

import pytest

from aibemu.communicators import Stream
from aibemu.customizers import Outcome, StepSettings
from aibemu.customizers.windows.update import (
    CHECK_COMMAND,
    CHECK_WRAPPER,
    COMMAND,
    RESTART,
    ROUNDS,
    SCRIPT,
    WRAPPER,
    WindowsUpdate,
)
from aibemu.systems import load
from aibemu.testing.clock import FakeClock
from aibemu.testing.customizer import step_spec
from aibemu.testing.script import Script
from aibemu.testing.steps import ScriptedGuest

RESTARTS = {"match": "^shutdown", "reboot": True}
FOUND = "Found Windows update (2026-11-10; 700 MB): Cumulative Update (KB5070001)"


def guest_with(*rules: dict[str, Any]) -> ScriptedGuest:
    return ScriptedGuest(load("Windows"), Script.parse(list(rules)), FakeClock())


def apply(guest: ScriptedGuest, **options: Any) -> Outcome:
    return WindowsUpdate(step_spec("WindowsUpdate", **options), StepSettings()).apply(guest, ())


def uploads(guest: ScriptedGuest) -> list[tuple[str, str]]:
    """(path, text) of each file that was put there, in order."""
    done = [entry for entry in guest.communicator.transcript if entry["op"] == "upload"]
    return [(entry["destination"], entry["text"]) for entry in done]


def rounds(guest: ScriptedGuest) -> int:
    return sum(entry.get("command") == COMMAND for entry in guest.communicator.transcript)


def checked(**answer: Any) -> dict[str, Any]:
    return {"match": "^PowerShell .*pending-reboot-elevated.ps1$", **answer}


def answer(code: int, *lines: str, **more: Any) -> dict[str, Any]:
    return {"match": "^PowerShell .*update-elevated.ps1$", "exit": code, "stdout": list(lines), **more}


def test_three_files_are_put_there_once_and_removed_at_the_end() -> None:
    """As the plugin has it, which runs them again in each round; that they are removed is aibemu's."""
    guest = guest_with(answer(101, FOUND, times=2), answer(0), RESTARTS)
    assert apply(guest).error is None and rounds(guest) == 3
    assert [path for path, _ in uploads(guest)] == [WRAPPER, CHECK_WRAPPER, SCRIPT]
    assert all("Remove-Item -LiteralPath $log -Force" in text for _, text in uploads(guest)[:2])
    last = str(guest.communicator.transcript[-1]["command"])
    assert last.startswith("del ") and all(path.replace("/", "\\") in last for path in (WRAPPER, CHECK_WRAPPER, SCRIPT))


@pytest.mark.parametrize("code", [101, 2147942501])
def test_rounds_go_on_until_nothing_is_found(code: int) -> None:
    guest = guest_with(answer(code, FOUND, times=1), answer(0, "No Windows updates found"), RESTARTS)
    assert apply(guest).error is None
    assert rounds(guest) == 2
    assert guest.said == [
        "Uploading the Windows update elevated script...",
        "Uploading the Windows update check for reboot required elevated script...",
        "Uploading the Windows update script...", "Running Windows update...", "Restarting the machine...",
        "Waiting for machine to become available...", "Checking for pending restart...", "Restart complete",
        "Running Windows update...",
    ]  # fmt: skip
    assert guest.commands == [
        (COMMAND, None), (COMMAND, code), (RESTART, None), (RESTART, 0), (CHECK_COMMAND, None), (CHECK_COMMAND, 0),
        (COMMAND, None), (COMMAND, 0),
    ]  # fmt: skip
    assert guest.lines == [(Stream.STDOUT, FOUND), (Stream.STDOUT, "No Windows updates found")]


def test_it_runs_as_local_system_with_what_the_template_says() -> None:
    guest = guest_with()
    apply(guest, searchCriteria="IsInstalled=0 and Type='Software'", filters=["exclude:$_.Title -like '*Preview*'",
          "include:$true"], updateLimit=20)  # fmt: skip
    wrapper, check, script = (text for _, text in uploads(guest))
    assert "<UserId>SYSTEM</UserId>" in wrapper and "$logon = 5" in wrapper and "$heartbeat = 60" in wrapper
    assert f"-File {SCRIPT} &gt;" in wrapper and f"-File {SCRIPT} -OnlyCheckForRebootRequired &gt;" in check
    assert "$criteria = 'IsInstalled=0 and Type=''Software'''" in script
    assert "$wanted = @('exclude:$_.Title -like ''*Preview*''', 'include:$true')" in script
    assert "$limit = 20" in script and "@@" not in script


def test_the_defaults_are_the_services() -> None:
    guest = guest_with()
    apply(guest, updateLimit=0)
    script = guest.communicator.files[SCRIPT].decode()
    assert "$criteria = 'BrowseOnly=0 and IsInstalled=0'" in script
    assert "$wanted = @('include:$true')" in script and "$limit = 1000" in script


def test_another_code_ends_the_step_with_a_hint() -> None:
    guest = guest_with(answer(1, "ERROR: The property 'Titel' cannot be found on this object."))
    outcome = apply(guest)
    assert outcome.error == "Windows update script exited with non-zero exit status: 1"
    assert "filters" in str(outcome.hint) and rounds(guest) == 1


def test_the_same_updates_again_and_again_end_the_step() -> None:
    guest = guest_with(answer(101, FOUND), RESTARTS)
    outcome = apply(guest)
    assert "3 rounds in a row found the same 1 update" in str(outcome.error) and "KB5070001" in str(outcome.error)
    assert rounds(guest) == 3 and "exclude:" in str(outcome.hint)


def test_restarts_without_end_have_one() -> None:
    guest = guest_with(answer(101), RESTARTS)
    assert f"wanted {ROUNDS} restarts" in str(apply(guest).error)
    assert rounds(guest) == ROUNDS


def test_a_machine_that_does_not_restart_ends_the_step() -> None:
    guest = guest_with(answer(101, FOUND), {"match": "^shutdown", "exit": 5})
    assert apply(guest).error == "Restart script exited with non-zero exit status: 5"
    assert "never went down" in str(apply(guest_with(answer(101, FOUND))).error)


def test_a_lost_connection_is_a_restart_or_an_error() -> None:
    guest = guest_with(answer(0, disconnect=True, reboot=True, times=1), answer(0))
    assert apply(guest).error is None and rounds(guest) == 2
    guest = guest_with(answer(0, disconnect=True))
    assert "did not reboot" in str(apply(guest).error) and rounds(guest) == 1


def test_another_restart_may_be_wanted_before_the_next_round() -> None:
    """The plugin restarts again then, and so does aibemu; no round is run in between."""
    check = checked(exit=101, times=2)
    guest = guest_with(answer(101, FOUND, times=1), check, RESTARTS)
    assert apply(guest).error is None and rounds(guest) == 2
    assert guest.said.count("Restarting the machine...") == 3 and guest.said.count("Restart complete") == 1
    assert [code for command, code in guest.commands if command == CHECK_COMMAND and code is not None] == [101, 101, 0]


def test_restarts_that_stay_pending_have_an_end() -> None:
    guest = guest_with(answer(101), checked(exit=101), RESTARTS)
    assert f"wanted {ROUNDS} restarts" in str(apply(guest).error)
    assert guest.said.count("Restarting the machine...") == ROUNDS and rounds(guest) == 1


def test_a_check_that_fails_ends_the_step() -> None:
    guest = guest_with(answer(101), checked(exit=1), RESTARTS)
    assert apply(guest).error == "Windows update script exited with non-zero exit status: 1"
    guest = guest_with(answer(101), checked(disconnect=True), RESTARTS)
    assert "whether another restart is pending, and the machine did not reboot" in str(apply(guest).error)


def test_a_lost_connection_is_told_the_log_as_packers_code() -> None:
    guest = guest_with(answer(0, disconnect=True))
    apply(guest)
    assert guest.commands == [(COMMAND, None), (COMMAND, 16001)]


def test_after_its_last_restart_it_has_only_its_scripts_to_remove() -> None:
    guest = guest_with()
    step = WindowsUpdate(step_spec("WindowsUpdate"), StepSettings())
    assert step.after_restart(guest).error is None
    (removal,) = [str(entry["command"]) for entry in guest.communicator.transcript]
    assert removal.count(".ps1") >= 3 and "packer-windows-update-elevated.ps1" in removal.replace("\\", "/")
