# Runs a command as a scheduled task and prints what it writes to its log, as it is written. Ends with the command's code.
# A line that begins with the mark says why there is no such code.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$mark = '@@MARK@@'
$name = '@@TASK@@'
$user = '@@USER@@'
$logon = @@LOGON@@
$heartbeat = @@HEARTBEAT@@
$log = Join-Path $env:SystemRoot 'Temp\@@TASK@@.out'
$definition = @'
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>Packer elevated task</Description></RegistrationInfo>
  <Principals>
    <Principal id="Author">
      <UserId>@@XML_USER@@</UserId>@@XML_LOGON@@
      <RunLevel>HighestAvailable</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <AllowHardTerminate>true</AllowHardTerminate>
    <StartWhenAvailable>false</StartWhenAvailable>
    <RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable>
    <IdleSettings><StopOnIdleEnd>false</StopOnIdleEnd><RestartOnIdle>false</RestartOnIdle></IdleSettings>
    <AllowStartOnDemand>true</AllowStartOnDemand>
    <Enabled>true</Enabled>
    <Hidden>false</Hidden>
    <RunOnlyIfIdle>false</RunOnlyIfIdle>
    <WakeToRun>false</WakeToRun>
    <ExecutionTimeLimit>@@LIMIT@@</ExecutionTimeLimit>
    <Priority>4</Priority>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>cmd</Command>
      <Arguments>/c @@XML_COMMAND@@</Arguments>
    </Exec>
  </Actions>
</Task>
'@

# What the log has that was not printed yet. Its text is UTF-8 or the console's code page; lines are printed whole.
$utf8 = New-Object System.Text.UTF8Encoding $false, $true
$oem = [System.Text.Encoding]::GetEncoding([System.Globalization.CultureInfo]::CurrentCulture.TextInfo.OEMCodePage)
$pending = New-Object System.IO.MemoryStream
$buffer = New-Object byte[] 65536
$stream = $null

function Write-Pending {
    $bytes = $pending.ToArray()
    $pending.SetLength(0)
    try { $text = $utf8.GetString($bytes) } catch { $text = $oem.GetString($bytes) }
    [System.Console]::Out.Write($text)
    [System.Console]::Out.Flush()
}

function Show-Log([bool]$Ended) {
    if ($null -eq $script:stream) {
        if (-not (Test-Path -LiteralPath $log)) { return }
        $script:stream = [System.IO.File]::Open($log, 'Open', 'Read', 'ReadWrite, Delete')
    }
    while (($count = $script:stream.Read($buffer, 0, $buffer.Length)) -gt 0) {
        $last = [System.Array]::LastIndexOf($buffer, [byte]10, $count - 1, $count)
        $pending.Write($buffer, 0, $last + 1)
        if ($last -ge 0) { Write-Pending }
        $pending.Write($buffer, $last + 1, $count - $last - 1)
    }
    if ($Ended -and $pending.Length -gt 0) {
        Write-Pending
        [System.Console]::Out.WriteLine()
    }
}

function Show-Load {
    $cpu = (Get-CimInstance -ClassName Win32_Processor | Measure-Object -Property LoadPercentage -Average).Average
    $system = Get-CimInstance -ClassName Win32_OperatingSystem
    $memory = 100 - 100 * $system.FreePhysicalMemory / $system.TotalVisibleMemorySize
    [System.Console]::Out.WriteLine(
        ('Waiting for operation to complete (system performance: {0:0}% cpu; {1:0}% memory)...' -f $cpu, $memory))
}

function Wait-Task {
    $waited = [System.Diagnostics.Stopwatch]::StartNew()
    $quiet = [System.Diagnostics.Stopwatch]::StartNew()
    $begun = $false
    while ($true) {
        # Asked before the log is read: of a task that was over by then, the log is whole.
        $state = $task.State
        $result = $task.LastTaskResult
        Show-Log $false
        if ($state -eq 4) { $begun = $true }
        # 3: ready. 267011: it has never run; 267009: it runs.
        elseif ($state -eq 3 -and $result -ne 267009 -and ($begun -or $result -ne 267011)) { return $result }
        elseif (-not $begun -and $waited.Elapsed.TotalSeconds -gt @@START_SECONDS@@) {
            throw "it did not start within @@START_SECONDS@@ seconds (state $state, last result $result)"
        }
        if ($heartbeat -gt 0 -and $quiet.Elapsed.TotalSeconds -ge $heartbeat) {
            $quiet.Restart()
            # WMI may not answer while updates are installed; the task goes on all the same.
            try { Show-Load } catch { $null = $_ }
        }
        Start-Sleep -Milliseconds 100
    }
}

$folder = $null
$result = 1
try {
    $password = $null
    if ($logon -eq 1) { $password = [System.Console]::In.ReadLine() }
    $service = New-Object -ComObject 'Schedule.Service'
    $service.Connect()
    $new = $service.NewTask(0)
    $new.XmlText = $definition
    $folder = $service.GetFolder('\')
    # A restart may have ended an earlier run of this very task: its result and its log are not this one's.
    try { $folder.DeleteTask("\$name", 0) } catch { $null = $_ }
    Remove-Item -LiteralPath $log -Force -ErrorAction SilentlyContinue
    $null = $folder.RegisterTaskDefinition($name, $new, 6, $user, $password, $logon, $null)
    $task = $folder.GetTask("\$name")
    $null = $task.Run($null)
    $result = Wait-Task
    Show-Log $true
} catch {
    [System.Console]::Out.WriteLine("$mark $($_.Exception.GetBaseException().Message)")
} finally {
    if ($null -ne $stream) { $stream.Dispose() }
    try { $folder.DeleteTask("\$name", 0) } catch { $null = $_ }
    Remove-Item -LiteralPath @@LEFT@@ -Force -ErrorAction SilentlyContinue
}
# The code as the 32 bits that it is: beyond them `exit` would make it 0.
if ($result -gt 2147483647) { $result = $result - 4294967296 }
exit [int]$result
