@rem Put here by aibemu, as Azure puts its own here; setup.ps1 removes it. One line, for this file is gone by its end.
@powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "%~dp0aibemu\setup.ps1" -Stage Complete & if exist "%SystemRoot%\OEM\SetupComplete2.cmd" call "%SystemRoot%\OEM\SetupComplete2.cmd"
