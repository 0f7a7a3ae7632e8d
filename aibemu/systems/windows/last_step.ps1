# aibemu's, for the time of the deprovision script: what it would wait for without end, has one. Scripts wait by
# Start-Sleep, so that is where Sysprep is looked after. Lines that begin with the mark are for aibemu alone.
$aibemu = @{
    Mark = '@@MARK@@'
    Agents = 'RdAgent', 'WindowsAzureGuestAgent', 'WindowsAzureTelemetryService'
    # The commands that stand behind the functions below.
    Sleep = Get-Command -Name Start-Sleep
    Service = Get-Command -Name Get-Service
    # When each agent was first asked about, and whether it is there.
    Asked = @{}
    Present = @{}
    Began = Get-Date
    State = ''
    Seen = $false
    Gone = $null
}

# Azure's agents run on each machine of the service. Where one is missing, or does not start, whoever asks a second time
# waits for it, in vain.
function Get-Service {
    $piped = @($input)
    $asked = ''
    foreach ($word in @($args) + $piped) { if ($aibemu.Agents -contains "$word") { $asked += "$word" } }
    $single = $aibemu.Agents -contains $asked
    if ($single -and $aibemu.Asked.ContainsKey($asked)) {
        $waited = ((Get-Date) - $aibemu.Asked[$asked]).TotalSeconds
        if (-not $aibemu.Present[$asked] -or $waited -ge @@AGENT_SECONDS@@) {
            if ($aibemu.Present[$asked] -ne 'told') {
                [System.Console]::Out.WriteLine("$($aibemu.Mark) agent $asked")
                $aibemu.Present[$asked] = 'told'
                $aibemu.Asked[$asked] = [DateTime]::MinValue
            }
            $running = New-Object -TypeName PSObject -Property @{ Name = $asked; Status = 'Running' }
            Add-Member -InputObject $running -MemberType ScriptMethod -Name Refresh -Value { }
            Add-Member -InputObject $running -MemberType ScriptMethod -Name WaitForStatus -Value { }
            return $running
        }
    }
    $found = if ($piped) { $piped | & $aibemu.Service @args } else { & $aibemu.Service @args }
    if ($single -and $found.Status -ne 'Running' -and -not $aibemu.Asked.ContainsKey($asked)) {
        $aibemu.Asked[$asked] = Get-Date
        $aibemu.Present[$asked] = if ($found) { 'there' } else { '' }
    }
    $found
}

# Sysprep that ended, and left Windows not generalised, does not go on by itself: no script need wait for it.
function Watch-Sysprep {
    $key = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State'
    $state = "$((Get-ItemProperty -Path $key -ErrorAction SilentlyContinue).ImageState)"
    if ($state -ne $aibemu.State) {
        $aibemu.State = $state
        $seconds = [int]((Get-Date) - $aibemu.Began).TotalSeconds
        [System.Console]::Out.WriteLine("$($aibemu.Mark) state $seconds $state")
    }
    $log = Get-Item -Path "$Env:SystemRoot\System32\Sysprep\Panther\setupact.log" -ErrorAction SilentlyContinue
    if (Get-Process -Name 'Sysprep*' -ErrorAction SilentlyContinue) {
        $aibemu.Seen = $true
        $aibemu.Gone = $null
    } elseif ($state -eq '@@GENERALIZED@@' -or -not ($aibemu.Seen -or ($log -and $log.LastWriteTime -gt $aibemu.Began))) {
        $aibemu.Gone = $null
    } elseif (-not $aibemu.Gone) {
        $aibemu.Gone = Get-Date
    } elseif (((Get-Date) - $aibemu.Gone).TotalSeconds -ge @@GONE_SECONDS@@) {
        [System.Console]::Out.WriteLine("$($aibemu.Mark) over $state")
        [System.Environment]::Exit(1)
    }
}

function Start-Sleep {
    & $aibemu.Sleep @args
    Watch-Sysprep
}
