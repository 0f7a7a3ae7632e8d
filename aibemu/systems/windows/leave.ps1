# The last that aibemu runs in a guest, as a task of the system's, for it ends the connection: takes out what setup.ps1
# put in, and powers the machine off. What cannot be taken out is told on the first serial port, and ends nothing.
[CmdletBinding()]
# Seconds: whoever started this has left by then.
param([int]$Pause = 5)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$scripts = "$Env:SystemRoot\Setup\Scripts"
$notes = 'HKLM:\SOFTWARE\aibemu'
$listener = @{ Address = '*'; Transport = 'HTTPS' }

function Write-Line([string]$Text) {
    try {
        $port = New-Object -TypeName System.IO.Ports.SerialPort -ArgumentList 'COM1', 115200
        $port.WriteTimeout = 2000
        $port.Open()
        try { $port.Write("`r`n[aibemu] $($Text -replace '\s+', ' ')`r`n") } finally { $port.Close() }
    } catch {
        Write-Verbose "not written: $_"
    }
}

function Invoke-Step([string]$What, [scriptblock]$Do) {
    try { & $Do } catch { Write-Line "left behind: $What`: $($_.Exception.Message)" }
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

# The built-in administrator gets his name back; a user who was made for the build goes, with his profile.
function Remove-BuildUser($Known) {
    if ($Known.renamed) {
        Rename-LocalUser -Name $Known.user -NewName $Known.renamed
        return
    }
    $sid = "$((Get-LocalUser -Name $Known.user).SID)"
    if ($sid -like 'S-1-5-21-*-500') { return }
    Remove-LocalUser -Name $Known.user
    Invoke-Step 'the profile of the build user' {
        Get-CimInstance -ClassName Win32_UserProfile | Where-Object { $_.SID -eq $sid } | Remove-CimInstance
    }
}

Start-Sleep -Seconds $Pause
$known = Get-ItemProperty -Path $notes -ErrorAction SilentlyContinue
if ($known) {
    Invoke-Step 'the listener' { Reset-Listener $known }
    $notedNumbers = $known.PSObject.Properties | Where-Object { $_.Name -like 'number:*' -or $_.Name -like 'winrm:*' }
    foreach ($note in @($notedNumbers)) { Invoke-Step $note.Name { Reset-Number $note } }
    $certificate = "Cert:\LocalMachine\My\$($known.certificate)"
    Invoke-Step 'the certificate' { if (Test-Path -Path $certificate) { Remove-Item -Path $certificate -DeleteKey } }
    Invoke-Step 'the firewall rule' { Remove-NetFirewallRule -Name 'aibemu-winrm' }
    Invoke-Step 'the build user' { Remove-BuildUser $known }
    Invoke-Step 'its notes' { Remove-Item -Path $notes -Recurse -Force }
}
# Of answer files only aibemu's own: whoever gave Sysprep one wants it there.
$answers = Get-ChildItem -Path "$Env:SystemRoot\Panther" -Filter *.xml -Recurse -ErrorAction SilentlyContinue |
    Where-Object { (Get-Content -Path $_.FullName -Raw) -match 'aibemu\\setup\.ps1' }
$files = @("$scripts\aibemu", "$Env:SystemRoot\Temp\aibemu-setup.log", $PSCommandPath) + @($answers.FullName)
foreach ($file in $files) {
    Invoke-Step $file { if ($file -and (Test-Path -Path $file)) { Remove-Item -Path $file -Recurse -Force } }
}
foreach ($task in 'aibemu-setup', 'aibemu-leave') {
    $null = & "$Env:SystemRoot\System32\schtasks.exe" /delete /f /tn $task
}
Write-Line 'stage: left'
& "$Env:SystemRoot\System32\shutdown.exe" /s /f /t 0
