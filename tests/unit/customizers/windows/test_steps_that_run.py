"""Steps whose PowerShell really runs: a machine of fixtures/guests, without a server before it.

Each call of PowerShell takes a second or more: what matters here are exit codes, elevation and what is left behind.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aibemu.customizers import Outcome, StepSettings
from aibemu.customizers.file import File
from aibemu.customizers.windows.elevated import SYSTEM, task_script, wrapper_command
from aibemu.customizers.windows.names import fresh_names
from aibemu.customizers.windows.powershell import PowerShell
from aibemu.customizers.windows.restart import WindowsRestart
from aibemu.customizers.windows.update import WindowsUpdate
from aibemu.systems.windows.system import WindowsSystem
from aibemu.testing.customizer import step_spec
from fixtures.guests.machine import Settings, Update, WindowsMachine
from tests.judges import need_engine
from tests.public_data import POWERSHELL
from tests.windows_guest import WindowsGuest, guest_of

pytestmark = pytest.mark.timeout(600)
CASES = {case["id"]: case for case in json.loads((POWERSHELL / "wrappers.json").read_text(encoding="utf-8"))["cases"]}
UPDATES = (
    Update(title="Cumulative Update (KB5070001)", kb="5070001", restart=True),
    Update(title="Driver (KB5070002)", kb="5070002"),
)


@pytest.fixture(scope="module")
def machine() -> Iterator[WindowsMachine]:
    with WindowsMachine(need_engine(), Settings(updates=UPDATES, starting=0.3)) as made:
        yield made


@pytest.fixture
def guest(machine: WindowsMachine, tmp_path: Path) -> WindowsGuest:
    return guest_of(machine, tmp_path)


def settings(**values: Any) -> StepSettings:
    return StepSettings(rng=random.Random(), **values)


def run(guest: WindowsGuest, *lines: str, wrapper: str = "old", **options: Any) -> Outcome:
    step = PowerShell(step_spec("PowerShell", inline=list(lines), **options), settings(powershell_wrapper=wrapper))
    return step.apply(guest, ())


@pytest.mark.parametrize(
    ("wrapper", "names"),
    [
        ("old", ["syntax-brace", "throw-after-native-7", "return", "exit-0x80070005"]),
        ("new", ["missing-command", "throw-after-native-7", "return"]),
    ],
)
def test_recorded_scripts_end_with_the_recorded_codes(guest: WindowsGuest, wrapper: str, names: list[str]) -> None:
    codes = {}
    for name in names:
        script = CASES[name]["script"].replace("/bin/sh -c 'exit 7'", "cmd /c exit 7")
        codes[name] = run(guest, script, wrapper=wrapper).exit_code
    assert codes == {name: CASES[name]["runs"][wrapper]["windows_exit_code"] for name in names}


def test_errors_with_code_0_are_told_and_nothing_is_left(machine: WindowsMachine, guest: WindowsGuest) -> None:
    before = {path.name for path in machine.host("C:\\Windows\\Temp").iterdir()}
    outcome = run(guest, "Get-Item C:\\nope", "$env:PACKER_BUILD_NAME")
    assert outcome.error is None and outcome.warnings[0].startswith(
        "1 error written (the first: Get-Item : Cannot find"
    )
    assert "azure-arm" in guest.text
    assert {path.name for path in machine.host("C:\\Windows\\Temp").iterdir()} == before


def test_local_system_runs_it_and_its_code_arrives(machine: WindowsMachine, guest: WindowsGuest) -> None:
    before = {path.name for path in machine.host("C:\\Windows\\Temp").iterdir()}
    outcome = run(
        guest, "whoami", "Write-Host gr\u00fc\u00dfe", "[Console]::Error.WriteLine('aside')", "cmd /c exit 3010",
        runElevated=True, runAsSystem=True, validExitCodes=[3010],
    )  # fmt: skip
    assert (outcome.error, outcome.exit_code) == (None, 3010)
    assert [line for _, line in guest.lines] == ["nt authority\\system", "gr\u00fc\u00dfe", "aside"]
    assert {path.name for path in machine.host("C:\\Windows\\Temp").iterdir()} == before


@pytest.mark.parametrize("options", [{}, {"runElevated": True, "runAsSystem": True}], ids=["user", "system"])
def test_nothing_is_left_of_a_script_that_restarts_the_machine(
    machine: WindowsMachine, guest: WindowsGuest, options: dict[str, Any]
) -> None:
    """Its files, its task and the task's log; what others have put there with such names stays."""
    foreign = machine.host("C:\\Windows\\Temp") / "script-of-somebody.ps1"
    foreign.write_text("mine")
    before = {path.name for path in machine.host("C:\\Windows\\Temp").iterdir()}
    outcome = run(guest, "Restart-Computer -Force", "Start-Sleep 60", **options)
    assert outcome.rebooted and outcome.error is None
    assert {path.name for path in machine.host("C:\\Windows\\Temp").iterdir()} == before
    assert not list((machine.guest.state / "tasks").glob("packer-*"))
    foreign.unlink()


def test_a_task_goes_on_when_nobody_says_how_busy_the_machine_is(guest: WindowsGuest) -> None:
    """And nothing of an earlier run of the same task is taken for its own."""
    names = fresh_names(random.Random())
    guest.communicator.write(
        b"of an earlier run\n" * 1000, f"C:/Windows/Temp/{names.task}.out", deadline=guest.deadline
    )
    wrapper = task_script(
        names, 'powershell -Command "Start-Sleep 3; exit 7"', user=SYSTEM, deadline=guest.deadline, mark="MARK",
        heartbeat=1,
    )  # fmt: skip
    busy = b"\xef\xbb\xbffunction Get-CimInstance { throw 'busy' }\n" + wrapper.removeprefix(b"\xef\xbb\xbf")
    guest.communicator.write(busy, names.elevated, deadline=guest.deadline)
    status = guest.communicator.run(wrapper_command(names), deadline=guest.deadline, on_line=guest.on_line)
    assert (status.code, guest.lines) == (7, [])


def test_a_wrong_password_ends_the_step_at_once_with_the_reason(machine: WindowsMachine, guest: WindowsGuest) -> None:
    """Packer's own wrapper polls for ever then."""
    password = guest.credentials.password_file
    assert password is not None
    password.write_text("another")
    outcome = run(guest, "whoami", runElevated=True)
    assert str(outcome.error).startswith("the elevated step was not run to its end: The user name or password")
    assert guest.lines == []


def test_the_build_user_runs_it_elevated(guest: WindowsGuest) -> None:
    assert run(guest, "whoami", "exit 7", runElevated=True).exit_code == 7
    assert guest.text == "winbox\\packer"


def test_updates_are_installed_by_rounds_and_a_restart(machine: WindowsMachine, guest: WindowsGuest) -> None:
    before = {path.name for path in machine.host("C:\\Windows\\Temp").iterdir()}
    step = WindowsUpdate(
        step_spec("WindowsUpdate", filters=["exclude:$_.Title -like 'Driver*'", "include:$true"]), settings()
    )
    assert step.apply(guest, ()).error is None
    text = guest.text
    for words in (
        "Found Windows update (2026-01-13; 0.95 MB): Cumulative Update (KB5070001)",
        "Skipped (filter) Windows update (2026-01-13; 0.95 MB): Driver (KB5070002)",
        "Downloading Windows updates (1 updates; 0.95 MB)...", "Downloading Windows update 1 of 1",
        "Installed Cumulative Update (KB5070001)", "No Windows updates found",
    ):  # fmt: skip
        assert words in text
    assert guest.said.count("Restart complete") == 1
    assert {path.name for path in machine.host("C:\\Windows\\Temp").iterdir()} == before


def test_a_filter_with_a_property_that_updates_do_not_have_fails_the_step(guest: WindowsGuest) -> None:
    step = WindowsUpdate(step_spec("WindowsUpdate", filters=["include:$_.Titel"]), settings())
    outcome = step.apply(guest, ())
    assert outcome.exit_code == 1 and "ERROR: " in guest.text and "filters" in str(outcome.hint)


def test_a_restart_is_seen_by_the_boot_time(guest: WindowsGuest) -> None:
    assert WindowsRestart(step_spec("WindowsRestart"), settings()).apply(guest, ()).error is None
    assert guest.text == "WINBOX restarted."


def test_a_file_goes_where_its_folder_is(machine: WindowsMachine, guest: WindowsGuest, tmp_path: Path) -> None:
    source = tmp_path / "page.html"
    source.write_bytes(b"x")

    def put(destination: str) -> Outcome:
        return File(step_spec("File", sourceUri="page.html", destination=destination), settings()).apply(
            guest, [source]
        )

    assert put("C:/Windows/Temp/").error is None
    assert machine.host("C:\\Windows\\Temp\\page.html").read_bytes() == b"x"
    assert put(r"C:\nowhere\page.html").error == r"Upload failed: the folder C:\nowhere does not exist"
    assert put(r"C:\Windows\Temp").error == r"Upload failed: C:\Windows\Temp is a folder"


def test_a_person_gets_the_code_of_what_was_asked(guest: WindowsGuest) -> None:
    system = WindowsSystem()
    for words, code in ((["cmd /c exit 5"], 5), (["Get-Item C:\\nope"], 1), (["cmd", "/c", "exit", "3"], 3)):
        assert guest.communicator.run(system.command(words, as_root=False), deadline=guest.deadline).code == code
    assert guest.communicator.output(system.command(["'a b'"], as_root=False), deadline=guest.deadline)[1] == "a b\n"
    assert system.host_name(guest.communicator, guest.deadline) == "WINBOX"


def test_the_last_step_generalises_the_machine(machine: WindowsMachine, guest: WindowsGuest) -> None:
    system = WindowsSystem()
    system.after_boot(guest.communicator, guest.deadline)
    step = system.deprovision(settings())
    assert step.apply(guest, ()).error is None
    text = guest.text
    assert (
        text.index("# Put here by aibemu") < text.index(">>> Sysprepping VM ...") < text.index(">>> Sysprep complete")
    )
    assert "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE" in text


def test_a_script_that_was_deleted_fails_the_last_step(tmp_path: Path) -> None:
    with WindowsMachine(need_engine(), Settings()) as machine:
        guest = guest_of(machine, tmp_path)
        outcome = WindowsSystem().deprovision(settings()).apply(guest, ())
    assert r"C:\DeprovisioningScript.ps1 is gone" in str(outcome.error)
    assert "a customizer deleted it" in str(outcome.hint)
    assert r"Deprovisioning script [c:\DeprovisioningScript.ps1] could not be found." in guest.text
    assert "aibemu: the image is not generalised" in guest.text
