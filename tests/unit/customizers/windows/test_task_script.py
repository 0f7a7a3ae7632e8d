"""A scheduled task that does not do what it is to do ends its step, with the reason: Packer's wrapper polls for ever.

A real PowerShell runs the wrapper; the task scheduler is played by objects that are written down here. Tasks that run,
and a wrong password: test_steps_that_run.py.
"""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.customizers.windows import elevated
from aibemu.customizers.windows.elevated import SYSTEM, task_script
from aibemu.customizers.windows.names import fresh_names
from aibemu.testing.clock import FakeClock
from tests import judges

pytestmark = pytest.mark.timeout(300)
# $register, $get and $queued are what a test says.
PLAYED = r"""
$env:SystemRoot = [IO.Path]::GetTempPath()
function New-Object {
    param([string]$ComObject, [Parameter(Position = 0)][string]$TypeName, [Parameter(Position = 1)]$ArgumentList)
    if (-not $ComObject) { return Microsoft.PowerShell.Utility\New-Object @PSBoundParameters }
    $folder = Get-Played @{ RegisterTaskDefinition = $register; GetTask = $get; DeleteTask = { } }
    Get-Played @{ Connect = { }; NewTask = { @{ XmlText = '' } }; GetFolder = { $folder }.GetNewClosure() }
}
function Get-Played($methods) {
    $made = [pscustomobject]@{}
    foreach ($name in $methods.Keys) {
        $made.PSObject.Methods.Add([Management.Automation.PSScriptMethod]::new($name, $methods[$name]))
    }
    $made
}
$register = { }
$queued = 2
$get = {
    $task = Get-Played @{ Run = { } }
    $task | Add-Member State $queued
    $task | Add-Member LastTaskResult 267011 -PassThru
}
"""


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ("$register = { throw 'Access is denied.' }", "Access is denied."),
        ("$get = { throw 'The system cannot find the file specified.' }", "The system cannot find the file specified."),
        ("", r"it did not start within 0 seconds \(state 2, last result 267011\)"),
        ("$queued = 1", r"it did not start within 0 seconds \(state 1, last result 267011\)"),
    ],
    ids=["not registered", "gone", "queued", "disabled"],
)
def test_it_ends_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, why: str) -> None:
    if (program := judges.pwsh()) is None:
        pytest.skip("there is no PowerShell here")
    monkeypatch.setattr(elevated, "START_SECONDS", 0)
    names = fresh_names(random.Random())
    script = task_script(names, "whoami", user=SYSTEM, deadline=forever(FakeClock()), mark="MARK", stays=True)
    file = tmp_path / "wrapper.ps1"
    file.write_text(f"{PLAYED}{says}\n{script.decode('utf-8-sig')}", encoding="utf-8-sig")
    done = subprocess.run([program, "-NoProfile", "-File", file], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and re.fullmatch(f"MARK {why}\n", done.stdout), (done.stdout, done.stderr)
