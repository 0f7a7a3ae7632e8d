# What setup.ps1 and leave.ps1 both have: aibemu puts it into each of them.
$scripts = "$Env:SystemRoot\Setup\Scripts"
$ours = "$scripts\aibemu"
$hook = "$scripts\SetupComplete.cmd"
# The image's own one, until it is put back.
$kept = "$scripts\SetupComplete.aibemu-kept"
$log = "$Env:SystemRoot\Temp\aibemu-setup.log"
$lock = "$Env:SystemRoot\Temp\aibemu-setup.lock"
$notes = 'HKLM:\SOFTWARE\aibemu'
$task = 'aibemu-setup'
$rule = 'aibemu-winrm'
$listener = @{ Address = '*'; Transport = 'HTTPS' }
# Characters of a line that the host looks at.
$longest = 600

# A line to the first serial port, where the host reads it. The port may be another program's, or not there.
function Write-Serial([string]$Text) {
    $line = "[aibemu] $($Text -replace '\s+', ' ')"
    if ($line.Length -gt $longest) { $line = $line.Substring(0, $longest) }
    try {
        $port = New-Object -TypeName System.IO.Ports.SerialPort -ArgumentList 'COM1', 115200
        $port.WriteTimeout = 2000
        $port.Open()
        try { $port.Write("`r`n$line`r`n") } finally { $port.Close() }
    } catch {
        Write-Verbose "not written: $_"
    }
}

# Whether SetupComplete.cmd is ours.
function Test-Hook {
    (Get-Content -Path $hook -Raw) -match 'aibemu\\setup\.ps1'
}

# What setup.ps1 put into Windows' folders; the task goes last, for after a power cut it is what comes here again.
function Remove-Files {
    if (Test-Path -Path $kept) {
        Move-Item -Path $kept -Destination $hook -Force
    } elseif ((Test-Path -Path $hook) -and (Test-Hook)) {
        Remove-Item -Path $hook -Force
    }
    if (Test-Path -Path $ours) { Remove-Item -Path $ours -Recurse -Force }
    $null = & "$Env:SystemRoot\System32\schtasks.exe" /delete /f /tn $task
}
