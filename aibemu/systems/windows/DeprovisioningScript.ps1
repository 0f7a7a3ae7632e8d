# Put here by aibemu, as Azure VM Image Builder puts its own here. A customizer may replace it, or edit the line with
# Sysprep; it runs after the last customizer.
foreach ($service in 'RdAgent', 'WindowsAzureTelemetryService', 'WindowsAzureGuestAgent') {
    if (-not (Get-Service -Name $service -ErrorAction SilentlyContinue)) { continue }
    Write-Output ">>> Waiting for GA Service ($service) to start ..."
    while ((Get-Service -Name $service).Status -ne 'Running') { Start-Sleep -Seconds 5 }
}
if (Test-Path $Env:SystemRoot\system32\Sysprep\unattend.xml) {
    Write-Output '>>> Removing Sysprep\unattend.xml ...'
    Remove-Item $Env:SystemRoot\system32\Sysprep\unattend.xml -Force
}
if (Test-Path $Env:SystemRoot\Panther\unattend.xml) {
    Write-Output '>>> Removing Panther\unattend.xml ...'
    Remove-Item $Env:SystemRoot\Panther\unattend.xml -Force
}
Write-Output '>>> Sysprepping VM ...'
& $Env:SystemRoot\System32\Sysprep\Sysprep.exe /oobe /generalize /quiet /quit
while ($true) {
    $imageState = (Get-ItemProperty HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State).ImageState
    Write-Output $imageState
    if ($imageState -eq 'IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE') { break }
    Start-Sleep -Seconds 5
}
Write-Output '>>> Sysprep complete ...'
