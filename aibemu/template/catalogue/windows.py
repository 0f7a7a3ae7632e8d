"""What a Windows step does not do although it ends with 0, and what WindowsUpdate and WindowsRestart are told (facts:
provisioners 1.2, 1.4, 1.5; exit codes were read off a real PowerShell 7, as 5.1 cannot be had here)."""

from __future__ import annotations

import json

from aibemu.arm.diagnostics import Severity
from aibemu.template.catalogue.model import Example, Rule


def _steps(*steps: str) -> Example:
    return Example(text=f'{{ "properties": {{ "customize": [{", ".join(steps)}] }} }}', system="windows")


def _inline(*lines: str, name: str = "setup") -> str:
    return f'{{ "type": "PowerShell", "name": "{name}", "inline": {json.dumps(list(lines))} }}'


def _powershell(*lines: str) -> Example:
    return _steps(_inline(*lines))


def _update(member: str) -> Example:
    return _steps(f'{{ "type": "WindowsUpdate", "name": "update", {member} }}')


def _restart(member: str) -> Example:
    return _steps(f'{{ "type": "WindowsRestart", "name": "restart", "restartTimeout": "15m", {member} }}')


_STOP = "$ErrorActionPreference = 'Stop'"
_CLEAN = r"Remove-Item C:\Windows\Temp\* -Recurse -Force"
_WAIT = "while ((Get-Service RdAgent).Status -ne 'Running') { Start-Sleep -s 5 }"
_WAIT_IF_THERE = "while ((Get-Service RdAgent) -and ((Get-Service RdAgent).Status -ne 'Running')) { Start-Sleep -s 5 }"
_LAST = _inline(_STOP, "Get-Date", name="last")

RULES: tuple[Rule, ...] = (
    Rule(
        id="W63",
        level=Severity.WARNING,
        title="PowerShell that cannot be read",
        why="PowerShell reads all of a script before it runs any of it. When it cannot, it prints an error, and as "
        "Packer until 1.12 starts it, which is what the service's logs show, the step ends with 0: nothing was done, "
        "and the build goes on. Said also of what only PowerShell 7 knows (`&&`, `??`, `? :`): guests have 5.1. Where "
        "`pwsh` is installed its parser is asked too; without it a part of the mistakes is found. A note with this "
        "number names a script that was not checked, or not to its end, and says why.",
        fix="Mend the place that is named; the cause, such as a quote or a brace, may stand before it.",
        bad=_powershell(_STOP, "Write-Output 'it's done'"),
        good=_powershell(_STOP, "Write-Output 'it''s done'"),
    ),
    Rule(
        id="W64",
        level=Severity.WARNING,
        title="#Requires that a Windows guest does not fulfil",
        why="Then PowerShell runs nothing of the script, and with the older wrapper the step ends with 0. Windows has "
        "PowerShell 5.1, edition Desktop. Of a module it is said only when the source is Microsoft's own image of "
        "Windows and no step before mentions the module.",
        fix="Remove the line, or install the module in a step before.",
        bad=_powershell("#Requires -Version 7.0", _STOP),
        good=_powershell("#Requires -Version 5.1", _STOP),
    ),
    Rule(
        id="W65",
        level=Severity.WARNING,
        title="return under the newer wrapper",
        why="With the setting powershell_wrapper `new` inline text is in the middle of a script, as Packer since 1.14 "
        "has it. `return` leaves that script before it looks at $LASTEXITCODE: the step ends with 0 whatever a program "
        "returned before. With `old` it does not.",
        fix="Write `exit 0`, or `exit $LASTEXITCODE`.",
        bad=_powershell(_STOP, "setup.exe /quiet", "if (Test-Path C:\\app) { return }"),
        good=_powershell(_STOP, "setup.exe /quiet", "if (Test-Path C:\\app) { exit $LASTEXITCODE }"),
    ),
    Rule(
        id="W66",
        level=Severity.WARNING,
        title="param or using under the newer wrapper",
        why="`param(...)` with its attributes, `using`, and a script's own `begin {}`, `process {}` and `end {}` must "
        "begin a script. With the setting powershell_wrapper `new` inline text does not, and the step fails; with "
        "`old` it works.",
        fix="Put the script into a file, for scriptUri; or set variables in place of parameters.",
        bad=_powershell("param($Path = 'C:\\app')", _STOP),
        good=_powershell(_STOP, "$Path = 'C:\\app'"),
    ),
    Rule(
        id="W67",
        level=Severity.NOTE,
        title="a table as the last output",
        why="PowerShell waits a moment for more lines before it prints a table of new objects, and the step's `exit` "
        "does not wait for it: the log has an empty line in its place. Nothing else is lost.",
        fix="End the line with `| Format-Table` or `| Out-String`.",
        bad=_powershell(_STOP, "Get-Service | Select-Object Name, Status"),
        good=_powershell(_STOP, "Get-Service | Select-Object Name, Status | Format-Table"),
    ),
    Rule(
        id="W68",
        level=Severity.NOTE,
        title="letters beyond ASCII without a byte-order mark",
        why="Windows PowerShell reads a script without a mark as ANSI: `ö` becomes `Ã¶` in texts, paths and values. A "
        "dash or a curly quote of UTF-8 then holds a byte that ends a string, and the script cannot be read at all: "
        "that is a warning. aibemu writes the mark for inline text, the service does not (inferred from Packer's "
        "source), so that the mistake is not seen here. A script from scriptUri stays byte for byte, in both.",
        fix="Save the file as UTF-8 with a byte-order mark; inline, write `[char]0x00F6`.",
        bad=_powershell(_STOP, "Write-Output 'Größe'"),
        good=_powershell(_STOP, "Write-Output 'Size'"),
    ),
    Rule(
        id="W69",
        level=Severity.WARNING,
        title="a registry path that is none",
        why="`HKLM\\Software` is the path of reg.exe. For PowerShell's commands it is a file in the current folder: "
        "the value is not set, or an error is printed and passed over. Drives there are for HKLM: and HKCU: only.",
        fix="Write `HKLM:\\Software`; for other hives `Registry::HKEY_USERS\\...`.",
        bad=_powershell(_STOP, "New-Item -Path HKLM\\Software\\Contoso"),
        good=_powershell(_STOP, "New-Item -Path HKLM:\\Software\\Contoso"),
    ),
    Rule(
        id="W87",
        level=Severity.WARNING,
        title=r"C:\Windows\Temp is emptied",
        why="The service keeps there what a step needs while it runs: its script, its variables, and for an elevated "
        "step the file that its output is read from. Files that other steps put there are gone too (seen with public "
        "scripts). aibemu copies each script just before it runs it.",
        fix="Delete by name what you put there, or do it in the last customizer.",
        bad=_steps(_inline(_STOP, _CLEAN), _LAST),
        good=_steps(_inline(_STOP, _CLEAN.replace("*", "app")), _LAST),
    ),
    Rule(
        id="E88",
        level=Severity.ERROR,
        title="a filter of WindowsUpdate that fails",
        why="A filter is a condition in PowerShell about one update, `$_`. When it cannot be read, names a property "
        "that an update does not have, or a command that does not exist, the search ends with an error and nothing is "
        "installed (a real PowerShell was asked).",
        fix="Mend the condition, such as `exclude:$_.Title -like '*Preview*'`.",
        bad=_update('"filters": ["exclude:$_.Titel -like \'*Preview*\'", "include:$true"]'),
        good=_update('"filters": ["exclude:$_.Title -like \'*Preview*\'", "include:$true"]'),
    ),
    Rule(
        id="W89",
        level=Severity.WARNING,
        title="a filter of WindowsUpdate that does something else than it says",
        why="The first filter that fits an update decides, and what none fits is not installed: `exclude:` alone "
        "installs nothing. An action that is not exactly `include` or `exclude` excludes. KBArticleIDs are numbers "
        "without KB (a real PowerShell was asked).",
        fix="End the list with `include:$true`, and write each filter as `include:CONDITION` or `exclude:CONDITION`.",
        bad=_update('"filters": ["exclude:$_.Title -like \'*Preview*\'"]'),
        good=_update('"filters": ["exclude:$_.Title -like \'*Preview*\'", "include:$true"]'),
    ),
    Rule(
        id="W90",
        level=Severity.WARNING,
        title="a restartCommand that does not restart, or PowerShell for cmd",
        why="restartCommand and restartCheckCommand are run by cmd, which has no commands such as Restart-Computer. A "
        "`shutdown` without /r, or with a delay longer than restartTimeout, ends with 'Timeout waiting for machine to "
        "restart.', or the build goes on without a restart.",
        fix='Leave it out: the default is `shutdown /r /f /t 0 /c "packer restart"`.',
        bad=_restart('"restartCommand": "Restart-Computer -Force"'),
        good=_restart('"restartCommand": "shutdown /r /f /t 5"'),
    ),
    Rule(
        id="W91",
        level=Severity.WARNING,
        title="searchCriteria that Windows Update cannot read",
        why="They are FIELD=VALUE joined by `and` and `or`, as IUpdateSearcher documents them. Others are refused at "
        "each try, and the search is tried again and again.",
        fix="Write them like `BrowseOnly=0 and IsInstalled=0`.",
        bad=_update('"searchCriteria": "IsInstalled -eq 0"'),
        good=_update('"searchCriteria": "IsInstalled=0"'),
    ),
    Rule(
        id="W92",
        level=Severity.WARNING,
        title="waiting for Azure's agents without asking whether they are there",
        why="Older published deprovision scripts loop until RdAgent and WindowsAzureGuestAgent are Running. Where "
        "these services are not installed, as on most images outside of Azure, the loop never ends. In the last step "
        "aibemu answers the second question that they run, and says so; in any other step it hangs until the build's "
        "time is over.",
        fix="Ask first: `while ((Get-Service RdAgent) -and ((Get-Service RdAgent).Status -ne 'Running'))`.",
        bad=_steps(_inline(_STOP, _WAIT)),
        good=_steps(_inline(_STOP, _WAIT_IF_THERE)),
    ),
    Rule(
        id="W93",
        level=Severity.WARNING,
        title="an exit code that no script ends with",
        why="Windows' exit codes are 32 bits without a sign: `exit -1` arrives as 4294967295, and Packer compares the "
        "numbers, so that -1 in validExitCodes allows nothing.",
        fix="Write the code without a sign: 4294967295 for -1.",
        bad=_steps(_inline(_STOP, "exit -1", name="setup").replace(" }", ', "validExitCodes": [0, -1] }')),
        good=_steps(_inline(_STOP, "exit -1", name="setup").replace(" }", ', "validExitCodes": [0, 4294967295] }')),
    ),
)
