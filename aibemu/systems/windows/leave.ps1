# The last that aibemu runs in a guest, as a task of the system's, for it ends the connection: takes out what setup.ps1
# put in, and powers the machine off, whatever happens. What cannot be taken out is told on the first serial port, and
# noted for the host, which looks at the disk once the machine is off.
[CmdletBinding()]
# Seconds: whoever started this has left by then.
param([int]$Pause = 5)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
@@SHARED@@
# Seconds that Windows may take to let go of a user's profile.
$patience = 30
$left = $false

function Invoke-Step([string]$What, [scriptblock]$Do) {
    try {
        & $Do
    } catch {
        $script:left = $true
        Write-Serial "left behind: $What`: $($_.Exception.Message)"
        if (Test-Path -Path $notes) {
            $why = "$($_.Exception.Message)"
            Set-ItemProperty -Path $notes -Name "left:$What" -Value $why -ErrorAction SilentlyContinue
        }
    }
}

# Numbers of the registry, and of WinRM, as they were.
function Reset-Number($Note) {
    $kind, $place = $Note.Name -split ':', 2
    $at, $name = $place -split '!', 2
    if ($kind -eq 'winrm' -and $Note.Value) {
        $null = Set-WSManInstance -ResourceURI $at -ValueSet @{ $name = $Note.Value }
    } elseif ($kind -eq 'number' -and $Note.Value) {
        $null = New-ItemProperty -Path $at -Name $name -Value ([int]$Note.Value) -PropertyType DWord -Force
    } elseif ($kind -eq 'number') {
        Remove-ItemProperty -Path $at -Name $name
    }
}

function Reset-Listener($Known) {
    Remove-WSManInstance -ResourceURI winrm/config/Listener -SelectorSet $listener
    if ($Known.listener) {
        $thumbprint, $name = $Known.listener -split ' ', 2
        $values = @{ Hostname = "$name"; CertificateThumbprint = $thumbprint }
        $null = New-WSManInstance -ResourceURI winrm/config/Listener -SelectorSet $listener -ValueSet $values
    }
}

function Remove-Certificate($Known) {
    $certificate = "Cert:\LocalMachine\My\$($Known.certificate)"
    # DeleteKey is a parameter of the provider of certificates alone.
    $whole = @{ Path = $certificate; DeleteKey = $true }
    if ($Known.certificate -and (Test-Path -Path $certificate)) { Remove-Item @whole }
}

# The built-in administrator gets his name back; a user who was made for the build goes, with his profile.
function Remove-BuildUser($Known) {
    if ($Known.renamed) {
        Rename-LocalUser -Name $Known.user -NewName $Known.renamed
        return
    }
    $sid = "$((Get-LocalUser -Name $Known.user).SID)"
    if ($sid -like 'S-1-5-21-*-500') { return }
    Remove-LocalUser -Name $Known.user
    Invoke-Step 'the profile of the build user' { Remove-Profile $sid }
}

function Remove-Profile([string]$Sid) {
    $waited = [System.Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        $userProfile = Get-CimInstance -ClassName Win32_UserProfile | Where-Object { $_.SID -eq $Sid }
        if (-not $userProfile) { return }
        if (-not $userProfile.Loaded -or $waited.Elapsed.TotalSeconds -gt $patience) { break }
        Start-Sleep -Seconds 2
    }
    Remove-CimInstance -InputObject $userProfile
}

# Of answer files only aibemu's own: whoever gave Sysprep one wants it there.
function Remove-Answers {
    $panther = "$Env:SystemRoot\Panther"
    foreach ($file in Get-ChildItem -Path $panther -Filter *.xml -Recurse -File -ErrorAction SilentlyContinue) {
        if ((Get-Content -LiteralPath $file.FullName -Raw) -match 'aibemu\\setup\.ps1') {
            Remove-Item -LiteralPath $file.FullName -Force
        }
    }
}

function Remove-All($Known) {
    Invoke-Step 'the listener' { Reset-Listener $Known }
    $numbers = $Known.PSObject.Properties | Where-Object { $_.Name -like 'number:*' -or $_.Name -like 'winrm:*' }
    foreach ($note in @($numbers)) { Invoke-Step $note.Name { Reset-Number $note } }
    Invoke-Step 'the certificate' { Remove-Certificate $Known }
    Invoke-Step 'the firewall rule' {
        if (Get-NetFirewallRule -Name $rule -ErrorAction SilentlyContinue) { Remove-NetFirewallRule -Name $rule }
    }
    Invoke-Step 'the build user' { Remove-BuildUser $Known }
}

try {
    Start-Sleep -Seconds $Pause
    $known = Get-ItemProperty -Path $notes -ErrorAction SilentlyContinue
    if ($known) { Remove-All $known }
    Invoke-Step 'the files of the setup' { Remove-Files }
    Invoke-Step 'the answer file' { Remove-Answers }
    foreach ($file in $log, $lock, $PSCommandPath) {
        Invoke-Step $file { if (Test-Path -Path $file) { Remove-Item -Path $file -Force } }
    }
    # They stay for the host where something did.
    if ($known -and -not $left) { Invoke-Step 'the notes' { Remove-Item -Path $notes -Recurse -Force } }
    $null = & "$Env:SystemRoot\System32\schtasks.exe" /delete /f /tn 'aibemu-leave'
    Write-Serial 'stage: left'
} finally {
    & "$Env:SystemRoot\System32\shutdown.exe" /s /f /t 0
}
