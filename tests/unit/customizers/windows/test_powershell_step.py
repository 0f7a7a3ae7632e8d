"""The PowerShell customizer: what it tells a guest, in which order, and how it ends. The guest follows a script."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from aibemu.communicators import Credentials, Stream
from aibemu.customizers import Outcome, StepSettings
from aibemu.customizers.windows.powershell import PowerShell
from aibemu.customizers.windows.restart import WindowsRestart
from aibemu.systems import load
from aibemu.testing.clock import FakeClock
from aibemu.testing.customizer import step_spec
from aibemu.testing.script import Script
from aibemu.testing.steps import ScriptedGuest
from tests.public_data import PACKER_WINDOWS

BOM = "\ufeff"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
CAPTURED: dict[str, Any] = json.loads(PACKER_WINDOWS.read_text())
RUNS = {"match": "^powershell -executionpolicy"}


def settings(**values: Any) -> StepSettings:
    return StepSettings(rng=random.Random(1), log_id="log", **values)


def guest_with(*rules: dict[str, Any], password: Path | None = None) -> ScriptedGuest:
    return ScriptedGuest(
        load("Windows"), Script.parse(list(rules)), FakeClock(),
        credentials=Credentials(user="packer", password_file=password),
    )  # fmt: skip


def apply(guest: ScriptedGuest, options: dict[str, Any], *files: Path, **given: Any) -> Outcome:
    return PowerShell(step_spec("PowerShell", **options), settings(**given)).apply(guest, files)


def told(guest: ScriptedGuest) -> list[Any]:
    """What the guest was told, as the captures have it."""
    found: list[Any] = []
    for entry in guest.communicator.transcript:
        if entry["op"] == "upload":
            found.append(["write", _name(entry["destination"]), entry["text"].removeprefix(BOM)])
        elif entry["command"].startswith("del "):
            paths = re.findall('"([^"]+)"', entry["command"])
            found.append(["remove", [_name(path.replace("\\", "/")) for path in paths]])
        else:
            found.append(["run", _name(entry["command"])])
    return found


def _name(text: str) -> str:
    return UUID.sub("UUID", text)


@pytest.mark.parametrize("name", ["powershell-inline", "powershell-elevated"])
def test_a_step_tells_the_guest_what_packer_tells_it(name: str) -> None:
    captured = CAPTURED[name]
    guest = guest_with()
    assert apply(guest, captured["step"]).error is None
    expected = captured["told"]
    ours = told(guest)
    assert [entry[:2] for entry in ours] == [entry[:2] for entry in expected]
    assert [mine for mine, its in zip(ours, expected, strict=True) if len(its) > 2 and its[2] and mine != its] == []


def test_the_task_is_packers_but_for_the_end_of_its_time() -> None:
    captured = CAPTURED["powershell-elevated"]
    guest = guest_with()
    apply(guest, captured["step"])
    wrapper = str(guest.communicator.transcript[1]["text"])
    xml = wrapper.partition("@'\n")[2].partition("\n'@")[0]
    root = ElementTree.fromstring(xml.partition("?>")[2])
    texts = {element.tag.rpartition("}")[2]: (element.text or "") for element in root.iter()}
    task = captured["task"]
    assert (texts["Command"], _name(texts["Arguments"])) == (task["command"], task["arguments"])
    assert {name: texts[name] for name in task if name in texts} == {
        name: value for name, value in task.items() if name in texts
    }
    assert texts["UserId"] == "SYSTEM" and "LogonType" not in texts
    assert "$logon = 5" in wrapper


def test_the_restart_is_packers() -> None:
    guest = guest_with({"match": "^shutdown", "reboot": True}, {"match": "GetHostName", "stdout": ["vm restarted."]})
    assert WindowsRestart(step_spec("WindowsRestart"), settings()).apply(guest, ()).error is None
    assert told(guest)[:1] == CAPTURED["windows-restart"]["told"]


def test_every_file_that_is_made_here_has_a_byte_order_mark() -> None:
    guest = guest_with()
    apply(guest, {"inline": ["Write-Host \u00e4"], "runElevated": True, "runAsSystem": True})
    files = [entry for entry in guest.communicator.transcript if entry["op"] == "upload"]
    assert len(files) == 3 and all(entry["text"].startswith(BOM) for entry in files)
    assert files[2]["text"] == f"{BOM}Write-Host \u00e4\n"


@pytest.mark.parametrize(
    "content", [b"Write-Host '\xe4'\r\n", b"\xef\xbb\xbfGet-Date\r\n", "Get-Date\n".encode("utf-16"), b""]
)  # fmt: skip
def test_a_script_that_was_downloaded_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    """With its byte order mark and its line ends: the checksum of the template is that of these bytes."""
    script = tmp_path / "x.ps1"
    script.write_bytes(content)
    guest = guest_with()
    step = PowerShell(step_spec("PowerShell", scriptUri="x.ps1", sha256Checksum="0" * 64), settings())
    assert [(need.uri, need.sha256) for need in step.needs()] == [("x.ps1", "0" * 64)]
    assert step.apply(guest, [script]).error is None
    assert guest.communicator.files[step.names.script] == script.read_bytes()


def test_the_newer_wrapper_is_around_inline_lines_only(tmp_path: Path) -> None:
    guest = guest_with()
    apply(guest, {"inline": ["one", "two"]}, powershell_wrapper="new")
    upload, run, _ = guest.communicator.transcript
    assert re.search(r"try \{\n\$env:PACKER_BUILDER_TYPE=.*; \none\ntwo\n\$exitCode = 0\n\} catch", upload["text"])
    assert run["command"] == f"powershell -executionpolicy bypass -file {upload['destination']}"
    script = tmp_path / "x.ps1"
    script.write_bytes(b"one")
    guest = guest_with()
    apply(guest, {"scriptUri": "x.ps1"}, script, powershell_wrapper="new")
    assert "exit $LastExitCode" in guest.communicator.transcript[2]["command"]


@pytest.mark.parametrize(
    ("code", "valid", "error"),
    [
        (0, None, None),
        (3, None, "Script exited with non-zero exit status: 3. Allowed exit codes are: [0]"),
        (3010, [0, 3010], None),
        (1, [0, 3010], "Script exited with non-zero exit status: 1. Allowed exit codes are: [0 3010]"),
        (0, [5], "Script exited with non-zero exit status: 0. Allowed exit codes are: [5]"),
        (3221225477, None, "Script exited with non-zero exit status: 3221225477. Allowed exit codes are: [0]"),
        (3221225477, [3221225477], None),
        (4294967295, [4294967295], None),
        (2147942405, [2147942405], None),
        (4294967295, [-1], "Script exited with non-zero exit status: 4294967295. Allowed exit codes are: [-1]"),
    ],
)
def test_valid_exit_codes_decide(code: int, valid: list[int] | None, error: str | None) -> None:
    guest = guest_with({**RUNS, "exit": code})
    outcome = apply(guest, {"inline": ["x"], **({"validExitCodes": valid} if valid else {})})
    assert (outcome.error, outcome.exit_code) == (error, code)
    # What a failed script leaves stays for whoever looks, as with Packer.
    assert any("del /f" in str(entry.get("command")) for entry in guest.communicator.transcript) == (error is None)


def test_an_installer_that_wants_a_restart_gets_a_hint() -> None:
    outcome = apply(guest_with({**RUNS, "exit": 3010}), {"inline": ["x"]})
    assert "validExitCodes [0, 3010]" in str(outcome.hint) and "WindowsRestart" in str(outcome.hint)


NORMAL_VIEW = [
    "Get-Item : Cannot find path 'C:\\nope' because it does not exist.", "At C:\\Windows\\Temp\\s.ps1:2 char:1",
    "+ Get-Item C:\\nope", "+ ~~~~~~~~~~~~~~~~",
    "    + CategoryInfo          : ObjectNotFound: (C:\\nope:String) [Get-Item], ItemNotFoundException",
    "    + FullyQualifiedErrorId : PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand",
]  # fmt: skip


@pytest.mark.parametrize("stream", ["stderr", "stdout"])
def test_errors_with_exit_code_0_are_a_warning(stream: str) -> None:
    """An elevated step has both streams in one."""
    outcome = apply(guest_with({**RUNS, stream: NORMAL_VIEW * 2}), {"inline": ["x"]})
    (warning,) = outcome.warnings
    assert warning.startswith("2 errors written (the first: Get-Item : Cannot find path 'C:\\nope'")
    assert "$ErrorActionPreference = 'Stop'" in warning


def test_inline_text_may_be_longer_than_a_command_line() -> None:
    """It goes into a file; the line that runs it stays below the 8191 characters that cmd takes."""
    for options in ({}, {"runElevated": True, "runAsSystem": True}):
        guest = guest_with()
        assert apply(guest, {"inline": ["#" * 20_000, "x"], **options}).error is None
        written = [entry["text"] for entry in guest.communicator.transcript if entry["op"] == "upload"]
        assert written[-1] == f"{BOM}{'#' * 20_000}\nx\n"
        assert max(len(entry.get("command", "")) for entry in guest.communicator.transcript) < 1000


def test_what_programs_write_to_standard_error_is_no_error() -> None:
    assert apply(guest_with({**RUNS, "stderr": ["cloning..."]}), {"inline": ["x"]}).warnings == ()


def test_a_lost_connection_is_16001_and_not_run_again() -> None:
    guest = guest_with({**RUNS, "disconnect": True})
    outcome = apply(guest, {"inline": ["x"]})
    assert outcome.exit_code == 16001
    assert "16001" in str(outcome.error) and "did not reboot" in str(outcome.error)
    assert [entry[0] for entry in told(guest)] == ["write", "write", "run"]


@pytest.mark.parametrize(("accept", "fails"), [("accept", False), ("fail", True)])
def test_a_script_that_reboots_the_machine_follows_the_setting(accept: str, fails: bool) -> None:
    guest = guest_with({**RUNS, "disconnect": True, "reboot": True})
    outcome = apply(guest, {"inline": ["Restart-Computer"]}, reboot_in_shell=accept)
    assert bool(outcome.error) == fails and outcome.rebooted != fails
    assert fails or "WindowsRestart" in outcome.warnings[0]


def test_what_an_elevated_script_left_that_restarted_the_machine_is_removed() -> None:
    """By nobody else: its wrapper was ended with the machine."""
    guest = guest_with({"match": "^powershell .*elevated", "disconnect": True, "reboot": True, "times": 1})
    assert apply(guest, {"inline": ["x"], "runElevated": True, "runAsSystem": True}).rebooted
    last = guest.communicator.transcript[-1]["command"]
    for name in ("packer-ps-env-vars", "packer-elevated-shell", "script"):
        assert re.search(rf'^del /f /q .*"[cC]:\\Windows\\Temp\\{name}-[\w-]{{36}}\.ps1"', last)
    assert re.search(r'"%SYSTEMROOT%\\Temp\\(packer-[\w-]{36})\.out" >nul 2>&1 & schtasks /delete /f /tn \1 >nul', last)


def test_a_restart_while_files_are_removed_is_waited_for() -> None:
    """A script that ends before the machine goes down, by `shutdown /r /t 1`."""
    guest = guest_with({"match": "^del ", "disconnect": True, "reboot": True, "times": 1})
    assert apply(guest, {"inline": ["shutdown /r /t 1"]}).error is None
    removed = [entry["command"] for entry in guest.communicator.transcript if entry["op"] == "run"][-2:]
    assert removed[0] == removed[1] and removed[0].startswith("del ")


def test_files_are_written_again_after_a_restart_that_a_step_before_began() -> None:
    guest = guest_with({"match": "^upload:", "disconnect": True, "reboot": True, "times": 1})
    assert apply(guest, {"inline": ["x"]}).error is None
    assert [entry[0] for entry in told(guest)] == ["write", "write", "write", "run", "remove"]


def test_the_password_goes_in_by_standard_input_and_is_in_no_file(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("Secret-1")
    guest = guest_with(password=password)
    assert apply(guest, {"inline": ["x"], "runElevated": True}).error is None
    files = [entry["text"] for entry in guest.communicator.transcript if entry["op"] == "upload"]
    assert not any("Secret-1" in text for text in files)
    assert "$logon = 1" in files[1] and "<UserId>packer</UserId><LogonType>Password</LogonType>" in files[1]
    (run,) = [entry for entry in guest.communicator.transcript if entry["op"] == "run" and entry["stdin"]]
    assert run["stdin"] == "Secret-1\n"


def test_run_as_system_alone_is_nothing() -> None:
    guest = guest_with()
    apply(guest, {"inline": ["x"], "runAsSystem": True})
    assert not any("elevated" in str(entry) for entry in guest.communicator.transcript)


def test_a_task_that_did_not_run_is_told_with_its_reason() -> None:
    step = PowerShell(step_spec("PowerShell", inline=["x"], runElevated=True, runAsSystem=True), settings())
    guest = guest_with()
    mark: list[str] = []
    original = guest.communicator.run

    def run(command: str, **given: Any) -> Any:
        if "packer-elevated" in command:
            text = guest.communicator.files[step.names.elevated].decode()
            mark.append(re.findall(r"AIBEMU-TASK-[0-9a-f]+", text)[0])
            given["on_line"](Stream.STDOUT, f"{mark[0]} Access is denied.")
        return original(command, **given)

    guest.communicator.run = run  # type: ignore[method-assign]
    outcome = step.apply(guest, ())
    assert outcome.error == "the elevated step was not run to its end: Access is denied."
    assert mark and not any(mark[0] in line for _, line in guest.lines)


def test_the_log_of_a_build_names_the_lines() -> None:
    said = PowerShell(step_spec("PowerShell", inline=["one"]), settings()).describe()
    assert said.lines == ("one",) and said.local_name.startswith("/tmp/powershell-provisioner")
