"""The next build starts from the disk of a Windows guest as it was at a restart: what was before is not run again."""

from __future__ import annotations

import json

from tests.scenarios.windows.workshop import Workshop, template

ONCE = 'Add-Content C:\\first.txt "once on $env:COMPUTERNAME"'
FAILING = ["Write-Output 'it starts'", "throw 'no such package'"]
MENDED = [
    "if ((Get-Content C:\\first.txt).Count -ne 1) { throw 'the first step ran again' }",
    "if ((Get-Content C:\\back.txt) -ne 'it is back') { throw 'what comes after the restart did not run' }",
    "if ((Get-Content C:\\first.txt) -ne \"once on $env:COMPUTERNAME\") { throw 'the machine has another name' }",
    "if (Test-Path C:\\last.txt) { throw 'a step after the restart is on its disk' }",
    "Set-Content C:\\last.txt 'made after the restart'",
    "Write-Output 'all is as it was left'",
]


def _template(last: list[str]) -> dict[str, object]:
    return template([
        {"type": "PowerShell", "name": "First", "inline": [ONCE, "Write-Output 'the first says this'"]},
        {"type": "WindowsRestart", "name": "Restart", "restartCheckCommand": "echo it is back>> C:\\back.txt"},
        {"type": "PowerShell", "name": "Last", "inline": last},
    ])  # fmt: skip


def _restored(windows: Workshop) -> list[tuple[str, bool]]:
    """What the newest run started from, and whether that has memory."""
    events = [event for event in windows.run.events() if event.kind.value == "machine.restored"]
    return [(event.fields["label"], event.fields["memory"]) for event in events]


def test_a_build_starts_from_the_disk_as_it_was_at_the_last_restart(windows: Workshop) -> None:
    windows.write("windows.json", _template(FAILING))
    said = windows.aibemu("run", "windows.json", exit=1)
    assert "later builds can start there" in said and _restored(windows) == []

    windows.write("windows.json", _template(MENDED))
    plan = windows.aibemu("plan", "windows.json", "--driver", "stand-in")
    assert "from the restart after Restart: boots the disk as it was then" in plan
    (layer,) = json.loads(windows.aibemu("cache", "list", "--output", "json"))["data"]["layers"]
    assert (layer["label"], layer["memory"]) == ("Restart", False)
    said = windows.aibemu("run", "windows.json")
    assert _restored(windows) == [("Restart", False)] and "booted from the disk of layer" in said
    assert windows.statuses() == {"First": "cached", "Restart": "cached", "Last": "ok", "deprovision script": "ok"}
    assert "the first says this" in windows.aibemu("logs", "--step", "First"), "what it said when it ran"
    assert windows.left() == []
