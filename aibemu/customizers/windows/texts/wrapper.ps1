if (Test-Path variable:global:ProgressPreference){set-variable -name variable:global:ProgressPreference -value 'SilentlyContinue'};
$exitCode = 0
try {
@@ENVIRONMENT@@
@@SCRIPT@@
$exitCode = 0
} catch {
Write-Error "An error occurred: $_"
$exitCode = 1
}
if ((Test-Path variable:global:LASTEXITCODE) -and $null -ne $global:LASTEXITCODE -and $global:LASTEXITCODE -ne 0) { $exitCode = $global:LASTEXITCODE }
exit $exitCode
