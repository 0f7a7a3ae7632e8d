"""Reported cases about PowerShell scripts, with the right outcome of each, and their twins."""

from __future__ import annotations

import pytest

from tests.unit.template.scripts.test_script_rules import inline, judged, template

STOP = "$ErrorActionPreference = 'Stop'"


def ids(line: str) -> list[str]:
    return [id_ for id_, _ in inline(STOP, line, kind="PowerShell")]


def careless(*lines: str) -> bool:
    found = judged(template({"type": "PowerShell", "name": "s", "inline": list(lines)}))
    return "W47" in {one.id for one, _ in found}


@pytest.mark.parametrize(
    "lines",
    [
        (
            "New-Item C:\\temp -ItemType Directory -ErrorAction SilentlyContinue",
            "Expand-Archive C:\\temp\\a.zip C:\\app",
        ),
        ("$ErrorActionPreference = 'SilentlyContinue'", "dir"),
        ('$ErrorActionPreference="Continue"', "dir"),
        ("Remove-Item C:\\x -EA 0", "dir"),
        ("# $ErrorActionPreference = 'Stop'", "dir"),
        ("<# throw #>", "dir"),
        ("dir", "exit 0"),
        ("dir", "exit"),
    ],
)
def test_what_passes_over_an_error_is_no_handling(lines: tuple[str, ...]) -> None:
    assert careless(*lines)


@pytest.mark.parametrize(
    "lines",
    [
        (STOP, "dir"),
        ('$global:ErrorActionPreference = "Stop"', "dir"),
        ("$ErrorActionPreference = [System.Management.Automation.ActionPreference]::Stop", "dir"),
        ("Set-Variable ErrorActionPreference Stop", "$ErrorActionPreference='stop'"),
        ("$PSDefaultParameterValues['*:ErrorAction'] = 'Stop'", "dir"),
        ("Copy-Item a b -ErrorAction Stop",),
        ("Copy-Item a b -EA:Stop",),
        ("setup.exe /q", "if ($LASTEXITCODE -ne 0) { throw 'no' }"),
        ("setup.exe /q", "exit $LASTEXITCODE"),
        ("if (-not (Test-Path C:\\app)) { exit 1 }",),
        ("if (-not $?) { Write-Host bad }",),
    ],
)
def test_what_is_handling(lines: tuple[str, ...]) -> None:
    assert not careless(*lines)


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("$AdminPassword = 'hunter2secret'", "hunter2"),
        ('$env:DB_PASSWORD = "hunter2secret"', "hunter2"),
        ("[string]$Password = 'hunter2secret'", "hunter2"),
        ("net user admin hunter2secret /add", "hunter2"),
        ("net.exe user admin 'hunter2secret' /add", "hunter2"),
        ("ConvertTo-SecureString 'hunter2secret' -AsPlainText -Force", "hunter2"),
        ("$s = ConvertTo-SecureString -AsPlainText -Force -String 'hunter2secret'", "hunter2"),
        ("Set-ItemProperty HKLM:\\x -Name DefaultPassword -Value 'hunter2secret'", "hunter2"),
        ("cmdkey /add:host /user:u /pass:hunter2secret", "hunter2"),
        ("Invoke-Setup -AdminPassword 'hunter2secret'", "hunter2"),
    ],
)
def test_secrets(line: str, secret: str) -> None:
    found = [(one, rest) for one, rest in judged(template({"type": "PowerShell", "inline": [STOP, line]}))]
    assert [one.id for one, _ in found] == ["W45"]
    assert found[0][1].startswith(secret)
    assert secret not in found[0][0].message + (found[0][0].hint or "")


@pytest.mark.parametrize(
    "line",
    [
        "$Password = $env:PASSWORD",
        '$Password = "$(Get-Secret x)"',
        "$Password = Get-Secret 'admin-password'",
        "$PasswordFile = 'C:\\secrets\\x.txt'",
        "$password = ''",
        "net user admin /active:no",
        "net user admin $Password /add",
        "net user /domain",
        "ConvertTo-SecureString $plain -AsPlainText -Force",
        "Write-Host 'password: unknown'",
        "$secretName = 'admin-password'",
        "$pwd = 'C:\\a b\\c'",
        "New-LocalUser admin -NoPassword",
        "$Password = '<password>'",
    ],
)
def test_no_secrets(line: str) -> None:
    assert ids(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "cmd /c shutdown /r /t 0",
        "cmd.exe /c 'shutdown -r -t 5'",
        "Install-WindowsFeature Hyper-V -Restart",
        "Add-WindowsFeature Web-Server -Restart",
        "Rename-Computer -NewName x -Restart",
        "Add-Computer -DomainName x -Restart",
        "Install-WindowsUpdate -AcceptAll -AutoReboot",
        "& shutdown.exe /r /t 0",
        "Start-Process shutdown.exe -ArgumentList '/r /t 0'",
        "Start-Process -FilePath shutdown -ArgumentList '/r','/t','0'",
        "iex 'shutdown /r /t 0'",
        "C:\\Windows\\System32\\shutdown.exe -r -f -t 0",
        "msiexec /i x.msi /qn /forcerestart",
        "if ($true) { Restart-Computer -Force }",
    ],
)
def test_restarts(line: str) -> None:
    assert ids(line) == ["W35"]


@pytest.mark.parametrize(
    "line",
    [
        "cmd /c shutdown /a",
        "Install-WindowsFeature Hyper-V",
        "Install-WindowsFeature Hyper-V -Restart:$false",
        "Rename-Computer -NewName x",
        "Enable-WindowsOptionalFeature -Online -FeatureName x -NoRestart",
        "msiexec /i x.msi /qn /norestart",
        "Restart-Service spooler",
        "Restart-Computer -WhatIf",
        "Restart-Computer -ComputerName other",
        "cmd /c echo shutdown",
        "Write-Host 'shutdown /r'",
    ],
)
def test_no_restarts(line: str) -> None:
    assert ids(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "Restart-Service WinRM -Force",
        "Restart-Service -Name 'winrm'",
        "Get-Service WinRM; Stop-Service -Name WinRM",
        "net stop winrm",
        'net.exe stop "Windows Remote Management (WS-Management)"',
        "cmd /c net stop winrm",
        "sc.exe stop WinRM",
        "sc.exe config winrm start= disabled",
        "Set-Service WinRM -StartupType Disabled",
        "Set-Service WinRM -Status Stopped",
        "Remove-NetFirewallRule -DisplayGroup 'Windows Remote Management'",
        "netsh advfirewall firewall delete rule name='WinRM HTTPS'",
        "Remove-Item WSMan:\\localhost\\Listener\\* -Recurse",
        "Disable-NetAdapter -Name Ethernet",
    ],
)
def test_winrm_is_lost(line: str) -> None:
    assert ids(line) == ["W39"]


@pytest.mark.parametrize(
    "line",
    [
        "Start-Service WinRM",
        "net start winrm",
        "net stop spooler",
        "sc.exe query winrm",
        "Set-Service WinRM -StartupType Automatic",
        "Set-Item WSMan:\\localhost\\Service\\Auth\\Basic $true",
        "netsh advfirewall firewall add rule name=x dir=in action=allow",
        "winrm quickconfig -q",
        "Remove-NetFirewallRule -DisplayName 'app'",
    ],
)
def test_winrm_stays(line: str) -> None:
    assert ids(line) == []


def test_what_stands_around_awkward_text_is_judged() -> None:
    """tree-sitter's grammar of PowerShell lost these; ours reads them."""
    assert ids("Remove-Item $Env:SystemRoot\\x -Force; Restart-Computer -Force") == ["W35"]
    assert ids("choco feature enable -n=allowGlobalConfirmation; Restart-Computer -Force") == ["W35"]
