"""What the script of WindowsUpdate does when something goes wrong, and where each of its waits ends.

A real PowerShell runs it; Windows Update is played by objects that are written down here.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from aibemu.customizers.windows.texts import text
from tests import judges

pytestmark = pytest.mark.timeout(300)
AFTER = "$ProgressPreference = 'SilentlyContinue'\n"
# $offered, $search, $download and $install are what a test says.
PLAYED = r"""
function Start-Sleep { }
function New-Object {
    param([string]$ComObject, [Parameter(Position = 0)][string]$TypeName, $Property)
    switch ($ComObject) {
        '' { return Microsoft.PowerShell.Utility\New-Object $TypeName -Property $Property }
        'Microsoft.Update.SystemInfo' { return [pscustomobject]@{ RebootRequired = $false } }
        'Microsoft.Update.UpdateColl' { return , [Collections.ArrayList]::new() }
    }
    Get-Played @{ ClientApplicationID = ''; Updates = $null } @{
        CreateUpdateSearcher = { Get-Played @{} @{ Search = { param($criteria) & $search } } }
        CreateUpdateDownloader = { Get-Played @{ Updates = $null } @{ Download = { & $download $this.Updates[0] } } }
        CreateUpdateInstaller = { Get-Played @{ Updates = $null } @{ Install = { & $install $this.Updates } } }
    }
}
function Get-Played($values, $methods) {
    $made = [pscustomobject]$values
    foreach ($name in $methods.Keys) {
        $made.PSObject.Methods.Add([Management.Automation.PSScriptMethod]::new($name, $methods[$name]))
    }
    $made
}
function Get-Offered($title, $asks = $false) {
    Get-Played @{
        Title = $title; LastDeploymentChangeTime = [datetime]'2026-01-13'; MaxDownloadSize = 1000000
        EulaAccepted = $false; IsDownloaded = $false
        InstallationBehavior = [pscustomobject]@{ CanRequestUserInput = $asks } } @{
        AcceptEula = { [Console]::Out.WriteLine("accepted: $($this.Title)") } }
}
function Get-Found($code) { [pscustomobject]@{ ResultCode = $code; Updates = [Collections.ArrayList]@($offered) } }
$offered = @(Get-Offered One $true; Get-Offered Two; Get-Offered Three; Get-Offered Four)
$search = { Get-Found 2 }
$download = { [pscustomobject]@{ ResultCode = 2 } }
$install = { Get-Played @{} @{ GetUpdateResult = { param($index) [pscustomobject]@{ ResultCode = 2; HResult = 0 } } } }
"""
WORDS = "(2026-01-13; 0.95 MB)"


def run(tmp_path: Path, says: str, **values: object) -> tuple[int, list[str]]:
    """Exit code and lines of one round."""
    if (program := judges.pwsh()) is None:
        pytest.skip("there is no PowerShell here")
    given = {"CRITERIA": "'IsInstalled=0'", "FILTERS": "'include:$true'", "LIMIT": 1000, "SEARCH_SECONDS": 0,
             "INSTALLER_SECONDS": 600, "QUIET_SECONDS": 0, **values}  # fmt: skip
    before, after, rest = text("updates", given).partition(AFTER)
    file = tmp_path / "updates.ps1"
    file.write_text(f"{before}{after}{PLAYED}{says}\n{rest}", encoding="utf-8-sig")
    done = subprocess.run([program, "-NoProfile", "-File", file], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_each_update_is_told_and_a_round_has_a_limit(tmp_path: Path) -> None:
    """One asks for input, the next cannot be downloaded, the third is not installed."""
    says = """
    $download = { param($update) [pscustomobject]@{ ResultCode = $(if ($update.Title -eq 'Two') { 4 } else { 2 }) } }
    $install = { Get-Played @{} @{ GetUpdateResult = { param($index)
        [pscustomobject]@{ ResultCode = 2 + 2 * $index; HResult = -2145124318 } } } }"""
    assert run(tmp_path, says, LIMIT=3) == (101, [
        "Searching for Windows updates...", "WARNING: this update may ask for input, and nobody answers: One",
        f"Found Windows update {WORDS}: One", "accepted: One", f"Found Windows update {WORDS}: Two", "accepted: Two",
        f"Found Windows update {WORDS}: Three", "accepted: Three",
        "The limit of 3 updates for a round is reached: the others come in the next one",
        "Downloading Windows updates (3 updates; 2.86 MB)...", f"Downloading Windows update 1 of 3 {WORDS}: One",
        f"Downloading Windows update 2 of 3 {WORDS}: Two", "WARNING: the download failed (result code 4): Two",
        f"Downloading Windows update 3 of 3 {WORDS}: Three", "Installing Windows updates...", "Installed One",
        "WARNING: not installed (4, 0x80240022): Three", "Waiting for the Windows Modules Installer to exit...",
    ])  # fmt: skip


def test_nothing_to_install_after_all_downloads_failed(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "$download = { throw 'no network' }", FILTERS="'include:$_.Title -eq ''Two'''")
    assert (code, lines[-1]) == (1, "ERROR: none of the updates could be downloaded")
    assert any(line.startswith("WARNING: the download failed (") and "no network" in line for line in lines)


@pytest.mark.parametrize(
    ("search", "error"),
    [
        ("throw 'Exception from HRESULT: 0x80240032'", "the search criteria are not understood"),
        ("throw 'Exception from HRESULT: 0x8024402C'", "the search for updates has failed for 0 seconds: .*0x8024402C"),
        ("Get-Found 4", "the search for updates has failed for 0 seconds: result code 4"),
    ],
)
def test_a_search_that_fails_has_an_end(tmp_path: Path, search: str, error: str) -> None:
    code, lines = run(tmp_path, f"$search = {{ {search} }}")
    assert code == 1 and re.match(f"ERROR: {error}", lines[-1]), lines


def test_a_search_is_tried_again(tmp_path: Path) -> None:
    says = "$script:tries = 0; $search = { $script:tries++; Get-Found $(if ($script:tries -lt 3) { 4 } else { 2 }) }"
    code, lines = run(tmp_path, says, SEARCH_SECONDS=600, FILTERS="'include:$false'")
    assert code == 0 and lines.count("Search for Windows updates failed: result code 4; trying again...") == 2
    assert lines[-1] == "No Windows updates found"


def test_an_installer_that_never_ends_and_one_that_fails_restart_the_machine(tmp_path: Path) -> None:
    says = "function Get-Process { 'TiWorker' }; $install = { throw '0x80240016' }"
    code, lines = run(tmp_path, says, INSTALLER_SECONDS=0, QUIET_SECONDS=15)
    assert code == 101 and "0x80240016" in lines[-3] and lines[-3].startswith("WARNING: the installation failed: ")
    assert lines[-1] == "WARNING: TiWorker still runs after 0 seconds; the machine restarts all the same"
