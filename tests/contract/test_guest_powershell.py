"""Guests of fixtures/guests with a real PowerShell: what a Windows machine owes to those who send it commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.guests.machine import Settings, WindowsMachine
from tests.guest_calls import call, powershell
from tests.judges import need_engine


@pytest.fixture(scope="module")
def machine() -> Iterator[WindowsMachine]:
    with WindowsMachine(need_engine(), Settings()) as made:
        yield made


def test_a_first_word_without_a_dash_is_the_command(machine: WindowsMachine) -> None:
    done = call(machine, "powershell -ExecutionPolicy bypass \"& { 'x'; exit 3010 }\"")
    assert (done.code, done.stdout, done.stderr) == (3010, "x\n", "")


def test_a_script_file_by_any_spelling_of_its_name(machine: WindowsMachine) -> None:
    machine.host(r"C:\Windows\Temp\Step.ps1").write_text('param($a) "got $a"; exit -1073741819\n')
    done = call(machine, r"powershell -NoProfile -File c:\windows\TEMP\step.PS1 7")
    assert (done.code, done.stdout) == (3221225477, "got 7\n")


def test_a_file_that_is_missing_is_what_5_1_says(machine: WindowsMachine) -> None:
    done = call(machine, r"powershell -File C:\nope.ps1")
    assert done.code == 4294770688
    assert "does not exist" in done.stderr


def test_net_calls_see_the_drive_as_cmdlets_do(machine: WindowsMachine) -> None:
    script = r"""
        Set-Content C:\Windows\Temp\A.txt 'one'
        [IO.File]::ReadAllText('c:\WINDOWS\temp\a.TXT').Trim()
        (Get-Item c:\windows\temp\a.txt).FullName
        [IO.Path]::Combine('C:\x', 'y')
        $env:programdata
    """
    assert call(machine, powershell(script)).stdout == "one\nC:\\windows\\temp\\a.txt\nC:\\x\\y\nC:\\ProgramData\n"
