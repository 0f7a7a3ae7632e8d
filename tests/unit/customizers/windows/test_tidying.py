"""What a step on Windows leaves is deleted, and that need not succeed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aibemu.clock import forever
from aibemu.communicators.winrm.trouble import WinrmFailed
from aibemu.customizers.windows.running import remove


def test_a_guest_that_takes_no_command_any_more_does_not_fail_a_step_that_ended_well() -> None:
    asked: list[str] = []

    def run(command: str, **_: object) -> None:
        asked.append(command)
        raise WinrmFailed("it has no room for another shell")

    guest: Any = SimpleNamespace(communicator=SimpleNamespace(run=run), deadline=forever())
    remove(guest, ["c:/Windows/Temp/script-1.ps1"])
    assert asked == [r'del /f /q "c:\Windows\Temp\script-1.ps1" >nul 2>&1']
