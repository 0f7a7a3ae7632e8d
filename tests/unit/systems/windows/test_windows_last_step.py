"""The last step on Windows with a real PowerShell: it ends in bounded time whatever its script does, and says why."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.customizers import Outcome, StepSettings
from aibemu.errors import Expired
from aibemu.images.windows import GENERALIZED
from aibemu.systems.windows import deprovision
from aibemu.systems.windows.deprovision import DEPROVISION_PATH, default_file
from aibemu.systems.windows.system import WindowsSystem
from fixtures.guests.installation import COMPLETE
from fixtures.guests.machine import Settings, WindowsMachine
from fixtures.guests.registry import SETUP_STATE
from tests.judges import need_engine
from tests.windows_guest import WindowsGuest, guest_of

pytestmark = pytest.mark.timeout(600)
UNDEPLOYABLE = "IMAGE_STATE_UNDEPLOYABLE"
PANTHER = r"C:\Windows\System32\Sysprep\Panther"
TEMP = r"C:\Windows\Temp"
# As the service's documentation had it for years, and as it is in many templates.
OLDER = """while ((Get-Service RdAgent).Status -ne 'Running') { Start-Sleep -s 1 }
while ((Get-Service WindowsAzureGuestAgent).Status -ne 'Running') { Start-Sleep -s 1 }
"""
SYSPREP = r"""& $Env:SystemRoot\System32\Sysprep\Sysprep.exe /oobe /generalize /quiet /quit
while ($true) {
    $imageState = (Get-ItemProperty HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State).ImageState
    Write-Output $imageState
    if ($imageState -eq 'IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE') { break }
    Start-Sleep -s 1
}
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[WindowsMachine]:
    with WindowsMachine(need_engine(), Settings()) as made:
        yield made


@pytest.fixture
def guest(machine: WindowsMachine, tmp_path: Path) -> WindowsGuest:
    """A machine as it is before its last step."""
    machine.registry.set(SETUP_STATE, "ImageState", COMPLETE)
    machine.guest.write("sysprep", [(0.1, UNDEPLOYABLE), (0.5, GENERALIZED)])
    for folder in (PANTHER, TEMP):
        for file in machine.host(folder).iterdir():
            file.unlink()
    return guest_of(machine, tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for is a second or two."""
    monkeypatch.setattr(deprovision, "AGENT_SECONDS", 2)
    monkeypatch.setattr(deprovision, "GONE_SECONDS", 2)


def last_step(guest: WindowsGuest, script: str | None, *, timeout: float = 1800.0) -> Outcome:
    file = guest.communicator.machine.host(DEPROVISION_PATH)
    if script is None:
        file.unlink(missing_ok=True)
    else:
        file.write_text(script, encoding="utf-8-sig")
    step = WindowsSystem().deprovision(StepSettings(rng=random.Random(), sysprep_timeout=timeout))
    return step.apply(guest, ())


def log(machine: WindowsMachine, name: str, text: str) -> None:
    machine.host(rf"{PANTHER}\{name}.log").write_text(text, encoding="utf-8")


def test_the_default_script_generalises_and_the_states_are_told(machine: WindowsMachine, guest: WindowsGuest) -> None:
    outcome = last_step(guest, default_file().decode("utf-8-sig"))
    assert outcome.error is None and outcome.warnings == (), guest.text
    assert any(f"ImageState is {GENERALIZED} after" in text for text in guest.said)
    assert "AIBEMU-LAST" not in guest.text
    assert list(machine.host(TEMP).iterdir()) == [], "nothing of ours is left"


def test_an_older_script_that_waits_for_agents_ends_and_is_told(guest: WindowsGuest) -> None:
    outcome = last_step(guest, OLDER + SYSPREP)
    assert outcome.error is None, guest.text
    assert len(outcome.warnings) == 1
    assert "waits for RdAgent and WindowsAzureGuestAgent" in outcome.warnings[0]


def test_agents_that_are_there_and_never_run_are_not_waited_for_without_end(
    machine: WindowsMachine, guest: WindowsGuest, quick: None
) -> None:
    services = machine.guest.read("services")
    stopped = {"DisplayName": "RdAgent", "Status": "Stopped", "StartType": "Disabled"}
    machine.guest.write("services", {**services, "RdAgent": stopped})
    try:
        outcome = last_step(guest, OLDER.splitlines()[0] + "\n" + SYSPREP)
    finally:
        machine.guest.write("services", services)
    assert outcome.error is None and "waits for RdAgent" in outcome.warnings[0], guest.text


def test_other_services_are_asked_for_as_ever(guest: WindowsGuest) -> None:
    asks = (
        "(Get-Service WinRM).Status; 'W32Time' | Get-Service | ForEach-Object { $_.Name }; "
        "(Get-Service -Name WinRM, W32Time).Count; @(Get-Service -Name W*).Count -gt 3; "
        "Get-Service Nobody -ErrorAction SilentlyContinue; 'asked'\n"
    )
    assert last_step(guest, asks + SYSPREP).error is None, guest.text
    assert "Running\nW32Time\n2\nTrue\nasked\n" in guest.text


APPX = (
    "2026-11-30 04:00:00, Error SYSPRP Package Microsoft.WidgetsPlatformRuntime_1.6.9.0_x64__8wekyb3d8bbwe was "
    "installed for a user, but not provisioned for all users. This package will not function properly in the sysprep "
    "image.\n2026-11-30 04:00:00, Error SYSPRP Failed to remove apps for the current user: 0x80073cf2.\n"
)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (COMPLETE, "Sysprep never began"), (UNDEPLOYABLE, "Sysprep began and did not finish"),
        ("IMAGE_STATE_SPECIALIZE_RESEAL_TO_OOBE", "in the midst of setting itself up"),
    ],
)  # fmt: skip
def test_a_sysprep_that_has_ended_in_a_wrong_state_is_not_waited_for(
    machine: WindowsMachine, guest: WindowsGuest, quick: None, state: str, why: str
) -> None:
    machine.guest.write("sysprep", [(0.0, state)])
    outcome = last_step(guest, f"Set-Content {PANTHER}\\setupact.log 'it began'\n{SYSPREP}")
    assert outcome.error and why in outcome.error and outcome.exit_code == 1, guest.text
    assert any(f"Sysprep has ended, and ImageState is {state}" in text for text in guest.said)
    assert guest.kept["setupact.log"] == "it began"


def test_its_log_says_why_and_is_kept(machine: WindowsMachine, guest: WindowsGuest, quick: None) -> None:
    machine.guest.write("sysprep", [])
    log(machine, "setuperr", APPX)
    outcome = last_step(guest, f"Set-Content {PANTHER}\\setupact.log 'it began'\n{SYSPREP}")
    assert outcome.error and "Microsoft.WidgetsPlatformRuntime_1.6.9.0_x64__8wekyb3d8bbwe" in outcome.error
    assert "Get-AppxPackage -AllUsers -Name Microsoft.WidgetsPlatformRuntime |" in str(outcome.hint)
    assert "0x80073cf2" in guest.kept["setuperr.log"] and "0x80073cf2" in guest.text
    assert outcome.details == ("saved: setupact.log", "saved: setuperr.log")


def test_a_script_that_returns_0_and_did_nothing(guest: WindowsGuest) -> None:
    outcome = last_step(guest, "Write-Output 'all is done'\nexit 0\n")
    assert outcome.exit_code == 1 and outcome.error and "Sysprep never began" in outcome.error
    assert f"aibemu: the image is not generalised: ImageState is {COMPLETE}" in guest.text


def test_a_script_that_was_deleted(guest: WindowsGuest) -> None:
    outcome = last_step(guest, None)
    assert outcome.error and f"{DEPROVISION_PATH} is gone" in outcome.error and "W40" in str(outcome.hint)


def test_a_script_that_never_ends_has_a_time_of_its_own(
    machine: WindowsMachine, guest: WindowsGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection keeps the time: that the deadline ends a command is proven with it."""
    machine.registry.set(SETUP_STATE, "ImageState", UNDEPLOYABLE)
    log(machine, "setupact", "2026-11-30 04:00:00, Info SYSPRP waiting for a restart: updates are pending\n")
    ends: list[float] = []

    def too_long(command: str, *, deadline: object, **_: object) -> object:
        ends.append(deadline.remaining())  # type: ignore[attr-defined]
        raise Expired("took too long")

    monkeypatch.setattr(guest.communicator, "run", too_long)
    guest.deadline = replace(guest.deadline, slowness=2.0)
    outcome = last_step(guest, "while ($true) { }", timeout=600.0)
    assert 1100 < ends[0] <= 1200, "scaled by how slow the host is"
    assert outcome.error and outcome.error.startswith("it did not end within 20 minutes: updates or installations wait")
    assert outcome.exit_code is None and "WindowsRestart" in str(outcome.hint) and guest.kept["setupact.log"]


@pytest.mark.parametrize("last", ["shutdown /r /f /t 0", "shutdown /s /f /t 0"])
def test_a_script_that_restarts_the_machine_or_switches_it_off_is_left_to_the_engine(tmp_path: Path, last: str) -> None:
    with WindowsMachine(need_engine(), Settings()) as machine:
        outcome = last_step(guest_of(machine, tmp_path), f"{last}\nStart-Sleep -s 60\n")
    assert outcome.lost and outcome.error and "/quit" in str(outcome.hint)
