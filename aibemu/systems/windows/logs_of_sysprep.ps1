$ProgressPreference = 'SilentlyContinue'
$key = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State'
[System.Console]::Out.WriteLine("state $((Get-ItemProperty -Path $key).ImageState)")
foreach ($name in 'setuperr', 'setupact') {
    $file = "$Env:SystemRoot\System32\Sysprep\Panther\$name.log"
    if (-not (Test-Path -Path $file)) { continue }
    [System.Console]::Out.WriteLine("file $name")
    foreach ($line in Get-Content -Path $file -Tail 400) { [System.Console]::Out.WriteLine("line $line") }
}
