"""What guests of fixtures/guests put in the place of what only Windows has: each once, by a script that uses it."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator

import pytest

from fixtures.guests.executor import Power
from fixtures.guests.installation import GENERALIZED
from fixtures.guests.machine import Settings, Update, WindowsMachine
from tests.guest_calls import PATIENCE, begin, call, powershell, until
from tests.judges import need_engine

UPDATES = (
    Update(title="Cumulative Update", kb="5070001", restart=True),
    Update(title="Driver", kb="5070002", failures=1, categories=("Drivers",)),
    Update(title="Optional Preview", kb="5070003", browse_only=True),
    Update(title="Old", kb="5060000", installed=True),
)


@pytest.fixture(scope="module")
def machine() -> Iterator[WindowsMachine]:
    settings = Settings(updates=UPDATES, noted=("Set-MpPreference",), azure=True, sysprep=[(0, GENERALIZED)])
    with WindowsMachine(need_engine(), settings) as made:
        yield made


def printed(machine: WindowsMachine, script: str) -> list[str]:
    """Lines that a script prints, which must not fail."""
    done = call(machine, powershell("$ErrorActionPreference = 'Stop'\n" + script, "-OutputFormat Text"))
    assert (done.code, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_paths(machine: WindowsMachine) -> None:
    assert printed(machine, r"""
        Join-Path C:\a\ \b; 'x' | Join-Path -ChildPath y
        [IO.Path]::GetFullPath('C:\a\..\b/c'); [System.IO.Path]::GetDirectoryName('C:\a\b'); [IO.Path]::GetTempPath()
        [IO.Path]::GetFileNameWithoutExtension('C:\a\b.msi'); [IO.Path]::IsPathRooted('C:\a')
        mkdir C:\made | Out-Null; (Get-Item c:\MADE).FullName; Set-Location C:\made; Set-Content rel 1
        Test-Path C:\Made\REL
        (ls C:\made).DirectoryName
        Compress-Archive C:\made\rel C:\z.zip; Expand-Archive c:\Z.zip C:\out; gc C:\out\rel
    """) == [
        r"C:\a\b", r"x\y", r"C:\b\c", r"C:\a", "C:\\Users\\packer\\AppData\\Local\\Temp\\", "b", "True", r"C:\MADE",
        "True", r"C:\made", "1",
    ]  # fmt: skip


def test_the_environment(machine: WindowsMachine) -> None:
    assert printed(machine, r"""
        $env:Path += ';C:\tools'; (Get-ChildItem env:PATH).Value -like '*;C:\tools'; $env:new = 1; $env:NEW
        Test-Path Env:\New
        $env:NEW = $null; Test-Path env:new
        (Get-ChildItem env:).Name -match 'GUEST|LD_PRELOAD|DOTNET'
        [Environment]::GetEnvironmentVariable('windir'); [Environment]::MachineName
        [Environment]::GetFolderPath('ProgramFiles')
        [Environment]::SetEnvironmentVariable('FOR_ALL', 'yes', 'Machine')
        [Environment]::GetEnvironmentVariable('for_all', 'Machine'); [Environment]::Is64BitOperatingSystem
        [Environment]::ExpandEnvironmentVariables('%SystemRoot%\x'); [System.Environment]::OSVersion.Version.Build
        ([Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()).IsInRole(
            [Security.Principal.WindowsBuiltInRole]::Administrator)
        [Runtime.InteropServices.Marshal]::ReleaseComObject((New-Object PSObject)); Get-ExecutionPolicy
    """) == [
        "True", "1", "True", "False", r"C:\Windows", "WINBOX", r"C:\Program Files", "yes", "True",
        r"C:\Windows\x", "17763",
        "True", "0", "Bypass",
    ]  # fmt: skip
    assert call(machine, "echo %for_all%").stdout == "yes\n"


def test_the_registry(machine: WindowsMachine) -> None:
    assert printed(machine, r"""
        $key = 'HKLM:\SOFTWARE\Policies\New\Deep'
        Test-Path $key; (New-Item $key -Force).Name
        New-ItemProperty $key -Name Number -Value 3 -PropertyType DWord | Out-Null
        Set-ItemProperty -Path $key.ToLower() -Name Text -Value 'a b'
        Set-ItemProperty $key -Name Big -Value 5 -Type QWord
        New-ItemProperty $key -Name Many -Value 'x', 'y' -PropertyType MultiString | Out-Null
        (Get-ItemProperty $key).Number; Get-ItemPropertyValue $key -Name TEXT; (Get-ItemProperty $key).Many.Count
        (Get-Item $key).Property -join ','; (Get-ChildItem HKLM:\SOFTWARE\Policies\New).PSChildName
        Remove-ItemProperty $key -Name Number; try { Get-ItemProperty $key -Name Number } catch { "$_" }
        cd HKLM:\SOFTWARE\Policies; Test-Path New\Deep; Remove-Item New -Recurse; Test-Path $key
        try { Get-Item $key } catch { $_.FullyQualifiedErrorId }
        [Microsoft.Win32.Registry]::SetValue('HKEY_CURRENT_USER\Software\Mine', 'a', 1)
        (Get-ItemProperty HKCU:\Software\Mine).a
        New-PSDrive -Name HKCR -PSProvider Registry -Root HKEY_CLASSES_ROOT | Out-Null
        Test-Path HKCR:\nope
    """) == [
        "False", r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\New\Deep", "3", "a b", "2", "Big,Many,Number,Text", "Deep",
        r"Property Number does not exist at path HKEY_LOCAL_MACHINE\SOFTWARE\Policies\New\Deep.", "True", "False",
        "PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand", "1", "False",
    ]  # fmt: skip


def test_programs_and_their_codes(machine: WindowsMachine) -> None:
    machine.host(r"C:\Windows\say.cmd").write_text("@echo batch %1\r\n@exit /b 4\r\n")
    assert printed(machine, r"""
        cmd /c exit 3010; $LASTEXITCODE; say x; $LASTEXITCODE; powershell -Command 'exit 70000'; $LASTEXITCODE
        (Start-Process cmd -ArgumentList '/c', 'exit 1641' -Wait -PassThru).ExitCode
        $files = @{ RedirectStandardOutput = 'C:\o.txt'; RedirectStandardError = 'C:\e.txt' }
        Start-Process cmd.exe -ArgumentList '/c echo err>&2& echo out' -Wait -NoNewWindow @files
        (gc C:\o.txt) + (gc C:\e.txt)
        try { Start-Process nosuch.exe } catch { $_.FullyQualifiedErrorId }
        try { nosuch } catch { $_.FullyQualifiedErrorId }
        (msiexec /i C:\nope.msi); $LASTEXITCODE
    """) == [
        "3010", "batch x", "4", "70000", "1641", "outerr",
        "InvalidOperationException,Microsoft.PowerShell.Commands.StartProcessCommand,Start-Process",
        "CommandNotFoundException", "1619",
    ]  # fmt: skip


def test_services_features_firewall_and_users(machine: WindowsMachine) -> None:
    assert printed(machine, r"""
        (Get-Service RdAgent).Status; (Get-Service 'w*').Name -join ','
        Start-Service wuauserv; net stop wuauserv | Out-Null; (Get-Service WUAUSERV).Status
        Set-Service Spooler -StartupType Disabled; Stop-Service Spooler; (Get-Service spooler).StartType
        try { Start-Service Spooler } catch { 'disabled' }; try { Get-Service nope } catch { $_.FullyQualifiedErrorId }
        Restart-Service W32Time; (New-Service Mine -BinaryPathName x).Status
        (Get-WindowsFeature Web-Server).Installed; (Install-WindowsFeature Web-Server -IncludeManagementTools).Success
        (Get-WindowsFeature Web-Server).InstallState; (Get-Service W3SVC).Status; Test-Path C:\inetpub\wwwroot
        (New-NetFirewallRule -DisplayName Web -LocalPort 80 -Protocol TCP).Action
        (Get-NetFirewallRule -DisplayName web).LocalPort
        try { Get-NetFirewallRule -Name nope } catch { 'no rule' }
        (Get-LocalUser packer).Enabled; try { Get-LocalUser nope } catch { "$_" }
        Set-MpPreference -DisableRealtimeMonitoring $true; try { Add-MpPreference -ExclusionPath x } catch { 'unknown' }
    """) == [
        "Running", "W32Time,WinDefend,WindowsAzureGuestAgent,WindowsAzureTelemetryService,WinRM,WSearch,wuauserv",
        "Stopped", "Disabled", "disabled",
        "NoServiceFoundForGivenName,Microsoft.PowerShell.Commands.GetServiceCommand,Get-Service",
        "Stopped", "False", "True", "Installed", "Running", "True", "Allow", "80", "no rule", "True",
        "User nope was not found.", "unknown",
    ]  # fmt: skip
    assert [json.loads(line)[0] for line in machine.noted()] == ["msiexec", "Set-MpPreference"]


def test_wmi(machine: WindowsMachine) -> None:
    assert printed(machine, r"""
        (Get-CimInstance Win32_OperatingSystem).Caption
        (Get-WmiObject -Query "select * from Win32_Service where Name='winrm'").State
        (gcim Win32_LogicalDisk -Filter "DeviceID='C:'").FileSystem; (gwmi Win32_ComputerSystem).Name
        (Get-CimInstance Win32_QuickFixEngineering).HotFixID; (Get-HotFix -Id KB5060000).Description
        try { Get-CimInstance Win32_Nope } catch { "$_" }
        $os = Get-WmiObject Win32_OperatingSystem
        $up = [DateTime]::Now - $os.ConvertToDateTime($os.LastBootUpTime)
        $up.TotalSeconds -gt 0 -and $up.TotalHours -lt 1
        $member = '[DllImport("kernel32.dll")] public static extern ulong GetTickCount64();'
        Add-Type -Namespace Own -Name Ticks -MemberDefinition $member
        [math]::Abs([Own.Ticks]::GetTickCount64() / 1000 - $up.TotalSeconds) -lt 30
    """) == [
        "Microsoft Windows Server 2019 Datacenter", "Running", "NTFS", "WINBOX", "KB5060000", "Update",
        'Invalid class "Win32_Nope"', "True", "True",
    ]  # fmt: skip


def test_tasks_by_cmdlets(machine: WindowsMachine) -> None:
    assert printed(machine, r"""
        $action = New-ScheduledTaskAction -Execute cmd.exe -Argument '/c whoami > C:\who.txt & exit 9'
        $principal = New-ScheduledTaskPrincipal -UserId SYSTEM -RunLevel Highest
        $trigger = New-ScheduledTaskTrigger -AtStartup
        (Register-ScheduledTask Own -Action $action -Principal $principal -Trigger $trigger).State
        (Get-ScheduledTaskInfo Own).LastTaskResult; Start-ScheduledTask Own
        while ((Get-ScheduledTask Own).State -ne 'Ready') { Start-Sleep -Milliseconds 50 }
        (Get-ScheduledTaskInfo Own).LastTaskResult; gc C:\who.txt
        (Disable-ScheduledTask Own).State; (Enable-ScheduledTask Own).State
        Unregister-ScheduledTask Own -Confirm:$false; try { Get-ScheduledTask Own } catch { 'gone' }
        try { Register-ScheduledTask Other -Action $action -User packer -Password wrong } catch {
            $_.Exception.HResult.ToString('x')
        }
    """) == ["Ready", "267011", "9", "nt authority\\system", "Disabled", "Ready", "gone", "8007052e"]  # fmt: skip


TASK_BY_COM = r"""
    $xml = '<?xml version="1.0" encoding="UTF-16"?>
        <Task xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task"><Principals><Principal id="Author">
        <UserId>{0}</UserId><LogonType>Password</LogonType></Principal></Principals><Actions><Exec>
        <Command>cmd</Command><Arguments>/c powershell -Command "{1}" > C:\com.txt 2>&amp;1</Arguments></Exec></Actions>
        </Task>'
    $env:OURS = 'not in the task'
    $service = New-Object -ComObject Schedule.Service; $service.Connect(); $folder = $service.GetFolder('\')
    $definition = $service.NewTask($null)
    $definition.XmlText = $xml -f 'SYSTEM', '$null -eq $env:OURS; whoami; $env:TEMP; exit 3010'
    $task = $folder.RegisterTaskDefinition('com', $definition, 6, 'SYSTEM', $null, 5, $null)
    $task.LastTaskResult; $task.Run($null) | Out-Null
    while ($task.State -ne 3) { Start-Sleep -Milliseconds 50 }
    $task.LastTaskResult; gc C:\com.txt
    try { $folder.RegisterTaskDefinition('no', $definition, 6, 'packer', 'wrong', 1, $null) } catch {
        $_.Exception.GetBaseException().HResult.ToString('x')
    }
    try { $folder.GetTask('no') } catch { $_.Exception.GetBaseException().HResult.ToString('x') }
    $definition.XmlText = ''; $action = $definition.Actions.Create(0); $action.Path = 'nosuch.exe'
    $own = $folder.RegisterTaskDefinition('mine', $definition, 6, 'WINBOX\packer', 'Stand-in-1', 1, $null)
    [void]$own.Run($null); while ($own.State -ne 3) { Start-Sleep -Milliseconds 50 }; $own.LastTaskResult
    $action.Path = 'ping.exe'; $action.Arguments = '-n 600 localhost'
    $long = $folder.RegisterTaskDefinition('mine', $definition, 6, 'SYSTEM', $null, 5, $null); [void]$long.Run($null)
    $long.State; $long.Stop(0); $long.State; $long.LastTaskResult
    $folder.DeleteTask('com', 0); $folder.GetTasks(0).Name
"""


def test_tasks_by_com(machine: WindowsMachine) -> None:
    assert printed(machine, TASK_BY_COM) == [
        "267011", "3010", "True", "nt authority\\system", r"C:\Windows\TEMP", "8007052e", "80070002",
        "2147942402", "4", "3", "267014", "mine", "ServerManager",
    ]  # fmt: skip


UPDATE_BY_COM = r"""
    $session = New-Object -ComObject Microsoft.Update.Session
    $found = $session.CreateUpdateSearcher().Search('IsInstalled=0 and BrowseOnly=0').Updates
    ($found | ForEach-Object Title) -join ','; $found[0].KBArticleIDs[0]
    $wanted = New-Object -ComObject Microsoft.Update.UpdateColl
    foreach ($update in $found) { [void]$update.AcceptEula(); [void]$wanted.Add($update) }
    $wanted.Count
    try {
        $downloader = $session.CreateUpdateDownloader(); $downloader.Updates = $wanted
        $downloader.Download().ResultCode
        $installer = $session.CreateUpdateInstaller(); $installer.Updates = $wanted; $result = $installer.Install()
        $result.ResultCode; $result.RebootRequired; $result.GetUpdateResult(1).ResultCode
        (New-Object -ComObject Microsoft.Update.SystemInfo).RebootRequired
    } catch { $_.Exception.GetBaseException().HResult.ToString('x') }
"""


def test_updates_are_found_by_all_and_installed_by_tasks_only(machine: WindowsMachine) -> None:
    searched = ["Cumulative Update,Driver", "5070001", "2"]
    assert printed(machine, UPDATE_BY_COM) == [*searched, "80070005"]
    machine.host(r"C:\Windows\Temp\update.ps1").write_text(UPDATE_BY_COM)
    command = r"cmd /c powershell -File C:\Windows\Temp\update.ps1 > C:\update.txt"
    assert printed(machine, rf"""
        schtasks /create /tn update /ru SYSTEM /tr '{command}' | Out-Null; Start-ScheduledTask update
        while ((Get-ScheduledTask update).State -eq 'Running') {{ Start-Sleep -Milliseconds 50 }}
        gc C:\update.txt; (Get-HotFix).HotFixID -join ','
        try {{ New-Object -ComObject Word.Application }} catch {{ $_.Exception.HResult.ToString('x') }}
    """) == [*searched, "2", "3", "True", "4", "True", "KB5070001,KB5060000", "80040154"]  # fmt: skip


def test_the_state_of_the_image(machine: WindowsMachine) -> None:
    assert printed(machine, r"""
        & C:\Windows\System32\Sysprep\sysprep.exe /oobe /generalize /quiet /quit
        $key = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State'
        while ((Get-ItemProperty $key).ImageState -eq 'IMAGE_STATE_COMPLETE') { Start-Sleep -Milliseconds 50 }
        (Get-ItemProperty $key).ImageState; shutdown /r /t 600
        Restart-Computer -Force *> $null; $LASTEXITCODE; shutdown /a
    """) == [GENERALIZED, "1190"]  # fmt: skip


def test_languages_and_regions_are_what_was_set(machine: WindowsMachine) -> None:
    assert printed(machine, r"""
        @(Get-InstalledLanguage).LanguageId; (Install-Language ja-JP -CopyToSettings).LanguageId
        (Get-InstalledLanguage).LanguageId -join ','; @(Get-InstalledLanguage -Language fr-FR).Count
        Uninstall-Language en-US; (Get-InstalledLanguage).LanguageId; Get-SystemPreferredUILanguage
        $list = New-WinUserLanguageList -Language ja-JP; $list[0].InputMethodTips.Add('0411:00000411')
        Set-WinUserLanguageList -LanguageList $list -Force; (Get-WinUserLanguageList)[0].LanguageTag
        Set-WinUILanguageOverride -Language de-DE; (Get-WinUILanguageOverride).Name
        Set-WinSystemLocale -SystemLocale de-DE; (Get-WinSystemLocale).Name
        Set-WinHomeLocation -GeoId 122; (Get-WinHomeLocation).GeoId; Set-Culture -CultureInfo ja-JP
        Copy-UserInternationalSettingsToSystem -WelcomeScreen $true -NewUser $true
        Set-TimeZone -Name 'Tokyo Standard Time'; (Get-TimeZone).Id
        try { Set-TimeZone -Id 'Tokio Time' } catch { $_.Exception.GetType().Name }
        try { Set-WinSystemLocale -SystemLocale jp_JP_x } catch { $_.Exception.GetType().Name }
    """) == [
        "en-US", "ja-JP", "en-US,ja-JP", "0", "ja-JP", "ja-JP", "ja-JP", "de-DE", "de-DE", "122", "Tokyo Standard Time",
        "TimeZoneNotFoundException", "ArgumentException",
    ]  # fmt: skip
    region = {"list": ["ja-JP"], "culture": "ja-JP", "welcome": ["ja-JP"], "newuser": ["ja-JP"], "locale": "de-DE"}
    assert region.items() <= machine.guest.read("region").items()


def test_an_execution_policy_is_set_and_does_not_count_in_a_step(machine: WindowsMachine) -> None:
    """The line of each step says Bypass: what a script sets beside it is done, and is an error all the same."""
    assert printed(
        machine,
        r"""
        try { Set-ExecutionPolicy RemoteSigned -Scope CurrentUser -Force } catch { $_.FullyQualifiedErrorId }
        Get-ExecutionPolicy; Set-ExecutionPolicy Undefined -Scope LocalMachine
        Set-ExecutionPolicy Bypass -Scope Process
        (Get-ExecutionPolicy -List).ExecutionPolicy -join ','
    """,
    ) == [
        "ExecutionPolicyOverride,Set-ExecutionPolicy", "Bypass", "Undefined,Undefined,Bypass,RemoteSigned,Undefined",
    ]  # fmt: skip


@pytest.mark.parametrize(("command", "kind"), [("Restart-Computer -Force", "restart"), ("Stop-Computer", "off")])
def test_power_by_cmdlets(machine: WindowsMachine, command: str, kind: Power) -> None:
    told: queue.Queue[Power] = queue.Queue()
    machine.on_power(lambda what, seconds: told.put(what))
    begin(machine, f"powershell -Command {command}")
    assert told.get(timeout=PATIENCE) == kind
    until(lambda: machine.guest.read("power") is None)
