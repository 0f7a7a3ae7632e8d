# Prints what PSScriptAnalyzer's rules for compatible commands, types and syntax find in the files of a folder.
param([string]$Module, [string]$Target, [string]$Folder)
$ErrorActionPreference = 'Stop'
Import-Module $Module
$rules = @{
    PSUseCompatibleCommands = @{ Enable = $true; TargetProfiles = @($Target) }
    PSUseCompatibleTypes    = @{ Enable = $true; TargetProfiles = @($Target) }
    PSUseCompatibleSyntax   = @{ Enable = $true; TargetVersions = @('5.1') }
}
Invoke-ScriptAnalyzer -Path $Folder -Recurse -IncludeRule @($rules.Keys) -Settings @{ Rules = $rules } |
    ForEach-Object { [Console]::Out.WriteLine("$($_.ScriptName):$($_.Line): $($_.RuleName): $($_.Message)") }
[Console]::Out.WriteLine('analyzed')
