# One round of updates: 0 when there is nothing more to install, 101 when the machine is to restart before the next round,
# 1 when a round is of no use. OnlyCheckForRebootRequired: nothing is searched for or installed.
param([switch]$OnlyCheckForRebootRequired)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$criteria = @@CRITERIA@@
$wanted = @(@@FILTERS@@)
$limit = @@LIMIT@@

# Straight to the console: `exit` loses what the formatter still holds.
function Show-Text([string]$Text) {
    [System.Console]::Out.WriteLine($Text)
}

trap {
    Show-Text "ERROR: $_"
    exit 1
}

function Test-RestartPending {
    if ((New-Object -ComObject 'Microsoft.Update.SystemInfo').RebootRequired) { return $true }
    $key = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\PackagesPending'
    return (Test-Path $key) -and @(Get-ChildItem $key).Count -gt 0
}

function Wait-ModulesInstaller {
    Show-Text 'Waiting for the Windows Modules Installer to exit...'
    $all = [System.Diagnostics.Stopwatch]::StartNew()
    $quiet = [System.Diagnostics.Stopwatch]::StartNew()
    while ($quiet.Elapsed.TotalSeconds -lt @@QUIET_SECONDS@@) {
        if ($all.Elapsed.TotalSeconds -gt @@INSTALLER_SECONDS@@) {
            Show-Text 'WARNING: TiWorker still runs after @@INSTALLER_SECONDS@@ seconds; the machine restarts all the same'
            return
        }
        if (Get-Process -Name 'TiWorker' -ErrorAction SilentlyContinue) { $quiet.Restart() }
        Start-Sleep -Milliseconds 500
    }
}

# The first expression that is true of an update decides; an update that none is true of is not installed.
$filters = @(foreach ($filter in $wanted) {
    $action, $expression = $filter -split ':', 2
    New-Object PSObject -Property @{ Action = $action; Expression = [ScriptBlock]::Create($expression) }
})

function Test-Included($Update) {
    foreach ($filter in $filters) {
        if ($Update | Where-Object $filter.Expression) { return $filter.Action -eq 'include' }
    }
    return $false
}

function Find-Updates($Searcher) {
    $waited = [System.Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        try {
            $found = $Searcher.Search($criteria)
            if ($found.ResultCode -eq 2) { return $found }
            $why = "result code $($found.ResultCode)"
        } catch {
            $why = "$($_.Exception.Message)".Trim()
            # WU_E_INVALID_CRITERIA: it will not be understood the next time either.
            if ($why -match '0x80240032') { throw "the search criteria are not understood: $criteria" }
        }
        if ($waited.Elapsed.TotalSeconds -gt @@SEARCH_SECONDS@@) {
            throw "the search for updates has failed for @@SEARCH_SECONDS@@ seconds: $why"
        }
        Show-Text "Search for Windows updates failed: $why; trying again..."
        Start-Sleep -Seconds 5
    }
}

function Get-Words($Update) {
    '({0:yyyy-MM-dd}; {1:0.##} MB): {2}' -f $Update.LastDeploymentChangeTime, ($Update.MaxDownloadSize / 1MB), $Update.Title
}

function Save-Update($Session, $Update, $Number, $Of) {
    if ($Update.IsDownloaded) { return $true }
    Show-Text "Downloading Windows update $Number of $Of $(Get-Words $Update)"
    $downloader = $Session.CreateUpdateDownloader()
    $downloader.Updates = New-Object -ComObject 'Microsoft.Update.UpdateColl'
    $null = $downloader.Updates.Add($Update)
    try {
        $code = $downloader.Download().ResultCode
        if ($code -eq 2 -or $code -eq 3) { return $true }
        $why = "result code $code"
    } catch { $why = "$($_.Exception.Message)".Trim() }
    Show-Text "WARNING: the download failed ($why): $($Update.Title)"
    return $false
}

if (Test-RestartPending) {
    Wait-ModulesInstaller
    exit 101
}
if ($OnlyCheckForRebootRequired) {
    Show-Text "$([System.Environment]::MachineName) restarted."
    exit 0
}
$session = New-Object -ComObject 'Microsoft.Update.Session'
$session.ClientApplicationID = 'aibemu'
Show-Text 'Searching for Windows updates...'
$found = Find-Updates $session.CreateUpdateSearcher()
$chosen = New-Object -ComObject 'Microsoft.Update.UpdateColl'
$titles = @{}
$bytes = 0
for ($index = 0; $index -lt $found.Updates.Count; $index++) {
    $update = $found.Updates.Item($index)
    if ($titles.ContainsKey($update.Title)) { continue }
    if (-not (Test-Included $update)) {
        Show-Text "Skipped (filter) Windows update $(Get-Words $update)"
        continue
    }
    if ($chosen.Count -ge $limit) {
        Show-Text "The limit of $limit updates for a round is reached: the others come in the next one"
        break
    }
    if ($update.InstallationBehavior.CanRequestUserInput) {
        Show-Text "WARNING: this update may ask for input, and nobody answers: $($update.Title)"
    }
    Show-Text "Found Windows update $(Get-Words $update)"
    if (-not $update.EulaAccepted) { $null = $update.AcceptEula() }
    $titles[$update.Title] = $true
    $bytes += $update.MaxDownloadSize
    $null = $chosen.Add($update)
}
if ($chosen.Count -eq 0) {
    Show-Text 'No Windows updates found'
    exit 0
}
Show-Text ('Downloading Windows updates ({0} updates; {1:0.##} MB)...' -f $chosen.Count, ($bytes / 1MB))
$ready = New-Object -ComObject 'Microsoft.Update.UpdateColl'
for ($index = 0; $index -lt $chosen.Count; $index++) {
    if (Save-Update $session $chosen.Item($index) ($index + 1) $chosen.Count) { $null = $ready.Add($chosen.Item($index)) }
}
if ($ready.Count -eq 0) { throw 'none of the updates could be downloaded' }
Show-Text 'Installing Windows updates...'
$installer = $session.CreateUpdateInstaller()
$installer.Updates = $ready
try {
    $done = $installer.Install()
    for ($index = 0; $index -lt $ready.Count; $index++) {
        $one = $done.GetUpdateResult($index)
        $words = if ($one.ResultCode -eq 2) { 'Installed' } else { 'WARNING: not installed ({0}, 0x{1:X8}):' -f $one.ResultCode, $one.HResult }
        Show-Text "$words $($ready.Item($index).Title)"
    }
} catch {
    Show-Text "WARNING: the installation failed: $("$($_.Exception.Message)".Trim())"
}
Wait-ModulesInstaller
exit 101
