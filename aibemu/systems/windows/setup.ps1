# Lets aibemu into a Windows machine at its first boot: a user, WinRM over HTTPS, and the report that it is ready.
# It comes on a stick and on a CD, beside the answer file, which starts it (Specialize). It goes on when Windows' own
# setup is over: by SetupComplete.cmd (Complete), or by a task where Windows does not run that (Task). Each may run
# again. What it changes of the image, and leave.ps1 puts back, is noted in HKLM:\SOFTWARE\aibemu.
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)][ValidateSet('Specialize', 'Complete', 'Task')][string]$Stage,
    # Seconds: for the platform to answer; what the task leaves to SetupComplete.cmd once Windows' setup is over.
    [int]$Patience = 600,
    [int]$HeadStart = 60
)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
@@SHARED@@

# To the log, and to the host.
function Write-Line([string]$Text) {
    if ($Text -like 'stage: *') { $script:at = $Text }
    try {
        Add-Content -Path $log -Value ('{0:yyyy-MM-ddTHH:mm:ssZ} {1}' -f [DateTime]::UtcNow, $Text)
    } catch {
        Write-Verbose "not written: $_"
    }
    Write-Serial $Text
}

function Get-Note([string]$Name) {
    (Get-ItemProperty -Path $notes -ErrorAction SilentlyContinue).$Name
}

# Note how something was before it is changed the first time; an empty text: it was not there.
function Add-Note([string]$Name, [string]$Before) {
    if (-not (Test-Path -Path $notes)) { $null = New-Item -Path $notes -Force }
    if ($null -eq (Get-Note $Name)) { Set-ItemProperty -Path $notes -Name $Name -Value $Before }
}

function Set-Number([string]$Path, [string]$Name, [int]$Value) {
    if (-not (Test-Path -Path $Path)) { $null = New-Item -Path $Path -Force }
    Add-Note -Name "number:$Path!$Name" -Before "$((Get-ItemProperty -Path $Path).$Name)"
    $null = New-ItemProperty -Path $Path -Name $Name -Value $Value -PropertyType DWord -Force
}

# Before Windows has its name and users: what must be known early, and the way back here.
function Start-Specialize {
    $null = New-Item -ItemType Directory -Force -Path $ours
    Copy-Item -Path "$PSScriptRoot\*" -Destination $ours -Recurse -Force
    if ((Test-Path -Path $hook) -and -not (Test-Hook)) { Copy-Item -Path $hook -Destination $kept -Force }
    Copy-Item -Path "$ours\SetupComplete.cmd" -Destination $hook -Force
    # The machine's clock is UTC, whatever time zone the image has. A disk that encrypts itself cannot be generalised.
    Set-Number 'HKLM:\SYSTEM\CurrentControlSet\Control\TimeZoneInformation' 'RealTimeIsUniversal' 1
    Set-Number 'HKLM:\SYSTEM\CurrentControlSet\Control\BitLocker' 'PreventDeviceEncryption' 1
    $run = "powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -File $ours\setup.ps1 -Stage Task"
    $null = & "$Env:SystemRoot\System32\schtasks.exe" /create /f /tn $task /sc onstart /ru SYSTEM /rl HIGHEST /tr $run
    if ($LASTEXITCODE) { Write-Line "no task as a safety net: schtasks ended with $LASTEXITCODE" }
    Write-Line 'stage: files'
}

# The task starts while Windows sets itself up: wait for the end of that, and leave the work to SetupComplete.cmd.
function Wait-Setup {
    $waited = [System.Diagnostics.Stopwatch]::StartNew()
    # Emulated, Windows takes hours for it; the host ends a machine that takes too long.
    while ($waited.Elapsed.TotalHours -lt 24) {
        $state = Get-ItemProperty -Path 'HKLM:\SYSTEM\Setup' -ErrorAction SilentlyContinue
        if (-not $state.SystemSetupInProgress -and -not $state.OOBEInProgress) { break }
        Start-Sleep -Seconds 5
    }
    Start-Sleep -Seconds $HeadStart
}

# Not by Invoke-WebRequest, which is slow and looks for a proxy.
function Send-Request([string]$Method, [string]$Url, [string]$Body) {
    $request = [System.Net.WebRequest]::Create($Url)
    $request.Proxy = $null
    $request.Timeout = 10000
    $request.Method = $Method
    $request.Headers.Add('x-ms-version', '2012-11-30')
    if ($Body) {
        $bytes = [System.Text.Encoding]::UTF8.GetBytes($Body)
        $request.ContentType = 'text/xml; charset=utf-8'
        $request.ContentLength = $bytes.Length
        $stream = $request.GetRequestStream()
        try { $stream.Write($bytes, 0, $bytes.Length) } finally { $stream.Close() }
    }
    $reply = $request.GetResponse()
    try {
        $reader = New-Object -TypeName System.IO.StreamReader -ArgumentList $reply.GetResponseStream()
        @{ Text = $reader.ReadToEnd(); Date = $reply.Headers['Date'] }
    } finally {
        $reply.Close()
    }
}

# Try until it works, or the time is over: then with the last reason.
function Invoke-Patiently([scriptblock]$Try, [int]$Seconds) {
    $waited = [System.Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        try {
            return & $Try
        } catch {
            if ($waited.Elapsed.TotalSeconds -gt $Seconds) { throw }
            Write-Verbose "again: $_"
        }
        Start-Sleep -Seconds 3
    }
}

# Who this machine is to the platform; and the platform's time, for its own may be off by a time zone, or by years.
function Get-GoalState([string]$Url, [int]$Seconds) {
    $reply = Invoke-Patiently { Send-Request 'GET' ($Url -replace 'comp=health', 'comp=goalstate') '' } $Seconds
    if ($reply.Date) {
        $now = [DateTime]::Parse($reply.Date, [Globalization.CultureInfo]::InvariantCulture)
        if ([Math]::Abs(($now - (Get-Date)).TotalSeconds) -gt 120) { $null = Set-Date -Date $now }
    }
    ([xml]$reply.Text).GoalState
}

function Send-Health($GoalState, [string]$Url, [string]$Health) {
    $container = $GoalState.Container
    $instance = [System.Security.SecurityElement]::Escape($container.RoleInstanceList.RoleInstance.InstanceId)
    $report = '<?xml version="1.0" encoding="utf-8"?><Health>' +
        "<GoalStateIncarnation>$($GoalState.Incarnation)</GoalStateIncarnation>" +
        "<Container><ContainerId>$($container.ContainerId)</ContainerId><RoleInstanceList><Role>" +
        "<InstanceId>$instance</InstanceId><Health>$Health</Health></Role></RoleInstanceList></Container></Health>"
    $null = Send-Request 'POST' $Url $report
}

function Get-Secret([string]$Text) {
    (New-Object -TypeName System.Net.NetworkCredential -ArgumentList '', $Text).SecurePassword
}

# The user of the answer file, or the built-in administrator by the build user's name, as in Azure.
function Set-BuildUser($Settings) {
    Add-Note -Name 'user' -Before $Settings.user
    $password = Get-Secret $Settings.password
    if (-not (Get-LocalUser -Name $Settings.user -ErrorAction SilentlyContinue)) {
        $builtIn = Get-LocalUser | Where-Object { "$($_.SID)" -like 'S-1-5-21-*-500' }
        if (-not $builtIn) { throw "there is neither a user $($Settings.user) nor a built-in administrator" }
        Add-Note -Name 'renamed' -Before $builtIn.Name
        Rename-LocalUser -Name $builtIn.Name -NewName $Settings.user
    }
    Set-LocalUser -Name $Settings.user -Password $password
    Enable-LocalUser -Name $Settings.user
    try {
        Add-LocalGroupMember -SID 'S-1-5-32-544' -Member $Settings.user
    } catch {
        if ($_.FullyQualifiedErrorId -notlike 'MemberExists*') { throw }
    }
}

function Set-Certificate($Settings) {
    Add-Note -Name 'certificate' -Before $Settings.certificateThumbprint
    $password = Get-Secret $Settings.certificatePassword
    $file = "$PSScriptRoot\winrm.pfx"
    $null = Import-PfxCertificate -FilePath $file -CertStoreLocation Cert:\LocalMachine\My -Password $password
}

# A number of WinRM's, raised when it is lower. One that a policy sets can neither be read so nor changed: it stays.
function Set-AtLeast([string]$Of, [string]$Name, [int]$Value) {
    try {
        $before = (Get-WSManInstance -ResourceURI $Of).$Name
        if ([long]$before -ge $Value) { return }
        Add-Note -Name "winrm:$Of!$Name" -Before "$before"
        $null = Set-WSManInstance -ResourceURI $Of -ValueSet @{ $Name = $Value }
    } catch {
        Write-Line "as it was: $Name of $Of`: $($_.Exception.Message)"
    }
}

# HTTPS by that certificate alone: no quickconfig, which wants a private network, and no listener over HTTP.
function Set-Listener($Settings) {
    Set-Number 'HKLM:\SYSTEM\CurrentControlSet\Services\WinRM' 'Start' 2
    Set-Number 'HKLM:\SYSTEM\CurrentControlSet\Services\WinRM' 'DelayedAutostart' 0
    Set-Service -Name WinRM -StartupType Automatic
    Start-Service -Name WinRM
    $there = @(Get-WSManInstance -ResourceURI winrm/config/Listener -Enumerate -ErrorAction SilentlyContinue) |
        Where-Object { $_.Transport -eq 'HTTPS' -and $_.Address -eq '*' }
    if ($there.CertificateThumbprint -ne $Settings.certificateThumbprint) {
        if ($there) {
            Add-Note -Name 'listener' -Before "$($there.CertificateThumbprint) $($there.Hostname)"
            Remove-WSManInstance -ResourceURI winrm/config/Listener -SelectorSet $listener
        }
        $values = @{ Hostname = 'aibemu'; CertificateThumbprint = $Settings.certificateThumbprint }
        $null = New-WSManInstance -ResourceURI winrm/config/Listener -SelectorSet $listener -ValueSet $values
    }
    Set-AtLeast 'winrm/config' 'MaxTimeoutms' 1800000
    Set-AtLeast 'winrm/config/winrs' 'MaxMemoryPerShellMB' 1024
}

# For every profile: at the first boot the network is not known to be private, and may never be. Windows' services may
# still be starting; one that is switched off lets everything in.
function Open-Port {
    $firewall = Get-Service -Name MpsSvc
    if ($firewall.Status -ne 'Running' -and $firewall.StartType -ne 'Automatic') { return }
    if (-not (Get-NetFirewallRule -Name $rule -ErrorAction SilentlyContinue)) {
        $null = New-NetFirewallRule -Name $rule -DisplayName $rule -Direction Inbound -Action Allow -Protocol TCP `
            -LocalPort 5986 -Profile Any
    }
}

# Nobody waits for it any more, and what stays now leave.ps1 takes out.
function Complete-Setup {
    try { Remove-Files } catch { Write-Line "not removed yet: $($_.Exception.Message)" }
}

function Start-Setup($Settings) {
    Write-Line 'stage: user'
    # At the end of a first boot the account of the answer file may come a moment later.
    Invoke-Patiently { Set-BuildUser $Settings } 120
    Write-Line 'stage: certificate'
    Set-Certificate $Settings
    Write-Line 'stage: listener'
    Invoke-Patiently { Set-Listener $Settings } 120
    Write-Line 'stage: firewall'
    Invoke-Patiently { Open-Port } 120
    # Without it only the built-in administrator has all his rights over the network.
    Set-Number 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System' 'LocalAccountTokenFilterPolicy' 1
    Write-Line 'stage: network'
    $script:goalState = Get-GoalState $Settings.readyUrl $Patience
    Write-Line 'stage: report'
    Invoke-Patiently { Send-Health $goalState $Settings.readyUrl '<State>Ready</State>' } $Patience
    Add-Note -Name 'ready' -Before 'yes'
    Complete-Setup
    Write-Line 'stage: ready'
}

$at = ''
$goalState = $null
try {
    if ($Stage -eq 'Specialize') {
        Write-Line 'stage: specialize'
        Start-Specialize
        exit 0
    }
    if ($Stage -eq 'Task') { Wait-Setup }
    try {
        # Nobody else can open it as long as this process lives.
        $alone = New-Object -TypeName System.IO.FileStream -ArgumentList $lock, 'OpenOrCreate', 'ReadWrite', 'None'
    } catch {
        Write-Verbose "another one is at it: $_"
        exit 0
    }
    if (Get-Note 'ready') {
        # The machine lost its power before all was removed.
        Complete-Setup
        exit 0
    }
    $settings = Get-Content -Path "$PSScriptRoot\settings.json" -Raw | ConvertFrom-Json
    Start-Setup $settings
    $alone.Close()
    Remove-Item -Path $lock -Force -ErrorAction SilentlyContinue
} catch {
    $line = $_.InvocationInfo.ScriptLineNumber
    $why = "$($at -replace 'stage: '): $($_.InvocationInfo.MyCommand): $($_.Exception.Message) (setup.ps1, line $line)"
    Write-Line "failed: $why"
    try {
        if (-not $goalState) { $goalState = Get-GoalState $settings.readyUrl 20 }
        $said = [System.Security.SecurityElement]::Escape("aibemu's setup in the guest failed: $why")
        $health = '<State>NotReady</State><Details><SubStatus>ProvisioningFailed</SubStatus>' +
            "<Description>$said</Description></Details>"
        Send-Health $goalState $settings.readyUrl $health
    } catch {
        Write-Line "not reported: $($_.Exception.Message)"
    }
    exit 1
}
