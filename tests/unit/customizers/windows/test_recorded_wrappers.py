"""Packer's two ways of running inline PowerShell, against what a real PowerShell was seen to do with them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aibemu.customizers import StepSettings
from aibemu.customizers.windows.names import Names
from aibemu.customizers.windows.powershell import PowerShell
from aibemu.customizers.windows.script import Script, inner_command
from aibemu.customizers.windows.texts import assignments, text
from aibemu.customizers.windows.update import WindowsUpdate
from aibemu.systems import load
from aibemu.testing.clock import FakeClock
from aibemu.testing.customizer import step_spec
from aibemu.testing.script import Script as GuestScript
from aibemu.testing.steps import ScriptedGuest
from tests import judges
from tests.public_data import POWERSHELL

RECORDED: dict[str, Any] = json.loads((POWERSHELL / "wrappers.json").read_text(encoding="utf-8"))
CASES: dict[str, Any] = {case["id"]: case for case in RECORDED["cases"]}
FILTERS: dict[str, Any] = json.loads((POWERSHELL / "filters.json").read_text(encoding="utf-8"))


def test_the_command_line_is_the_one_that_was_recorded() -> None:
    names = Names(script="<DIR>/script.ps1", environment="<DIR>/env.ps1", elevated="", task="")
    line = inner_command(Script(names=names, content=b""))
    assert line == f'powershell -executionpolicy bypass "{RECORDED["old_block"]}"'


def test_the_newer_wrapper_is_the_one_that_was_recorded() -> None:
    preamble = assignments(
        {"FOO": 'it\'s $5 "q" `tick`', "PACKER_BUILDER_TYPE": "azure-arm", "PACKER_BUILD_NAME": "img"}
    )
    assert preamble == RECORDED["preamble"]
    assert text("wrapper", {"ENVIRONMENT": preamble, "SCRIPT": "SCRIPT"}) == RECORDED["new_wrapper"]


@pytest.mark.parametrize("generation", ["old", "new"])
def test_a_step_fails_where_the_recorded_code_is_not_0(generation: str) -> None:
    """What ends with 0 and did nothing passes, as in the service: that is what `validate` is for."""
    wrong: list[Any] = []
    for case in CASES.values():
        run = case["runs"][generation]
        rule = {"match": "^powershell -executionpolicy", "exit": run["windows_exit_code"], "times": 1,
                "stdout": run["stdout"].splitlines(), "stderr": run["stderr"].splitlines()}  # fmt: skip
        guest = ScriptedGuest(load("Windows"), GuestScript.parse([rule]), FakeClock())
        step = PowerShell(
            step_spec("PowerShell", inline=[case["script"]]),
            StepSettings(powershell_wrapper=generation),
        )  # fmt: skip
        outcome = step.apply(guest, ())
        if bool(outcome.error) != (run["windows_exit_code"] != 0) or outcome.exit_code != run["windows_exit_code"]:
            wrong.append((case["id"], outcome))
        if [line for _, line in guest.lines] != [*run["stdout"].splitlines(), *run["stderr"].splitlines()]:
            wrong.append((case["id"], guest.lines))
    assert wrong == []
    assert len(CASES) > 30


# The rules that surprise most, for either generation.
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("syntax-brace", 0, 1), ("requires-version-high", 0, 1), ("missing-command", 0, 1), ("return", 7, 0),
        ("throw-after-native-7", 1, 7), ("param-default", 0, 1), ("exit-4294967295", 0, 0),
        ("exit-0x80070005", 2147942405, 2147942405), ("write-error", 0, 0),
    ],
)  # fmt: skip
def test_the_sample_holds_what_surprises(name: str, old: int, new: int) -> None:
    runs = CASES[name]["runs"]
    assert (runs["old"]["windows_exit_code"], runs["new"]["windows_exit_code"]) == (old, new)


CHOOSE = r"""
param([string]$Part, [string]$Data)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$all = Get-Content -Raw $Data | ConvertFrom-Json
$answers = foreach ($case in $all.cases) {
    try {
        $wanted = @($case.filters)
        . $Part
        $selected = @(for ($n = 0; $n -lt $all.updates.Count; $n++) { if (Test-Included $all.updates[$n]) { $n } })
        @{ id = $case.id; selected = $selected }
    } catch { @{ id = $case.id; selected = $null } }
}
[Console]::Out.WriteLine((ConvertTo-Json @($answers) -Depth 4 -Compress))
"""


@pytest.mark.timeout(300)
def test_filters_choose_what_they_were_seen_to_choose(tmp_path: Path) -> None:
    """The part of the round's own script, run for all the recorded lists."""
    if (program := judges.pwsh()) is None:
        pytest.skip("there is no PowerShell here")
    script = WindowsUpdate(step_spec("WindowsUpdate"), StepSettings()).script().decode("utf-8-sig")
    _, begin, rest = script.partition("# The first expression that is true")
    part = begin + rest.partition("function Find-Updates")[0]
    (tmp_path / "part.ps1").write_text(part, encoding="utf-8-sig")
    (tmp_path / "choose.ps1").write_text(CHOOSE, encoding="utf-8-sig")
    done = subprocess.run(
        [program, "-NoProfile", "-File", tmp_path / "choose.ps1", tmp_path / "part.ps1", POWERSHELL / "filters.json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    answers = {answer["id"]: answer["selected"] for answer in json.loads(done.stdout)}
    assert answers == {case["id"]: None if case["fails"] else case["selected"] for case in FILTERS["cases"]}
