Write-Host script
