"""Scripts of a published Windows template, in the form that this repository may have: made here, with the names of the
published ones, and calling what they call. And the internet from which they download.

The published ones are used, unchanged, where PUBLISHED_SCRIPTS names a folder that has them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

NET = "https://download.microsoft.com/download/4/b/2/cd00d4ed-ebdd-49ee-8a33-eabc3d1030e3/NDP481-x86-x64-AllOS-ENU.exe"
NET_JAPANESE = (
    "https://download.microsoft.com/download/a/f/9/af9410a7-31c7-4a77-a7e0-1cd2e3320b37/ndp481-x86-x64-allos-jpn.exe"
)
RELEASES = "https://api.github.com/repos/PowerShell/PowerShell/releases/latest"
PACKAGE = "https://github.com/PowerShell/PowerShell/releases/download/v7.9.9/PowerShell-7.9.9-win-x64.msi"
# What the scripts download: installers that want a restart, and a package that brings a program.
WEB = {
    NET: b"MZ stand-in 3010", NET_JAPANESE: b"MZ stand-in 0",
    RELEASES: json.dumps({"assets": [
        {"name": "PowerShell-7.9.9-linux-x64.tar.gz", "browser_download_url": "https://nowhere.example"},
        {"name": "PowerShell-7.9.9-win-x64.msi", "browser_download_url": PACKAGE},
    ]}).encode(),
    PACKAGE: b"MSI stand-in\nprogram C:\\Program Files\\PS\\7\\pwsh.exe\npath C:\\Program Files\\PS\\7\n",
}  # fmt: skip
INSTALL = r"""
$file = Join-Path $env:TEMP '{name}'
(New-Object System.Net.WebClient).DownloadFile('{address}', $file)
$process = Start-Process -FilePath $file -ArgumentList ('Setup', '/passive', '/norestart') -Wait -PassThru
if ($process.ExitCode -notin 0, 3010) {{ exit $process.ExitCode }}
Write-Host "Installation successful: $($process.ExitCode)"
"""
MADE = {
    "common/Initialize-VM.ps1": r"""
Get-ScheduledTask -TaskName ServerManager | Disable-ScheduledTask
New-Item -Path HKLM:\System\CurrentControlSet\Control\Network -Name NewNetworkWindowOff -Force
""",
    "Windows2025/Install-NET481.ps1": INSTALL.format(name="NDP481-x86-x64-AllOS-ENU.exe", address=NET),
    "Windows2025/Install-NET481langpack.ps1": INSTALL.format(name="ndp481-x86-x64-allos-jpn.exe", address=NET_JAPANESE),
    "common/Install-PowerShellCore-GitHub.ps1": r"""
$ErrorActionPreference = 'Stop'
$headers = @{ 'User-Agent' = 'a test' }
$release = Invoke-RestMethod -Uri '@RELEASES@' -Headers $headers
$asset = $release.assets | Where-Object { $_.name -match '^PowerShell-.*-win-x64\.msi$' } | Select-Object -First 1
$package = Join-Path $env:TEMP $asset.name
Invoke-WebRequest -Uri $asset.browser_download_url -OutFile $package -Headers $headers -UseBasicParsing
$signature = Get-AuthenticodeSignature -FilePath $package
if ($signature.Status -ne 'Valid') { throw "not signed: $($signature.Status)" }
$process = Start-Process -FilePath 'msiexec.exe' -ArgumentList "/i `"$package`" /qn /norestart" -Wait -PassThru
if ($process.ExitCode -ne 0) { throw "msiexec: $($process.ExitCode)" }
$env:Path = [System.Environment]::GetEnvironmentVariable('Path', 'Machine')
if (-not (Get-Command pwsh -ErrorAction SilentlyContinue)) { throw 'pwsh command not found' }
Write-Host 'PowerShell installation completed successfully'
""".replace("@RELEASES@", RELEASES),
    "Windows2025/install-languagepack.ps1": r"""
$ErrorActionPreference = 'Stop'
$null = Get-InstalledLanguage -Language ja-JP -ErrorAction Stop
Set-WinUserLanguageList -LanguageList (New-WinUserLanguageList -Language ja-JP) -Force | Out-Null
Set-WinSystemLocale -SystemLocale ja-JP
Set-TimeZone -Name 'Tokyo Standard Time'
Copy-UserInternationalSettingsToSystem -WelcomeScreen $true -NewUser $true
Write-Host 'ja-JP has been configured'
""",
    "common/Finalize-VM.ps1": r"""
Dism.exe /online /Cleanup-Image /StartComponentCleanup /ResetBase
foreach ($folder in "$env:SystemRoot\Temp", $env:TEMP) {
    cmd /c "takeown /d Y /R /f $folder 2>&1" | Out-Null
    Remove-Item $folder -Recurse -Force -ErrorAction SilentlyContinue | Out-Null
}
Get-ScheduledTask -TaskName ServerManager | Enable-ScheduledTask
Remove-Item -Path HKLM:\System\CurrentControlSet\Control\Network\NewNetworkWindowOff -Force
Write-Host 'Setting local execution policy'
Get-ExecutionPolicy -List
""",
}


def script(name: str) -> bytes:
    """The content of one: as published if it is at hand, else the one made here."""
    published = os.environ.get("PUBLISHED_SCRIPTS", "")
    return (Path(published) / name).read_bytes() if published else MADE[name].encode()


def published() -> bool:
    """Whether the scripts are the published ones, whose checksums a template has."""
    return bool(os.environ.get("PUBLISHED_SCRIPTS"))
