@rem Put here by aibemu, as Azure puts its own here; setup.ps1 puts the image's own one back. One line that ends with exit: cmd would read on in that one.
@powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "%~dp0aibemu\setup.ps1" -Stage Complete & (if exist "%SystemRoot%\OEM\SetupComplete2.cmd" call "%SystemRoot%\OEM\SetupComplete2.cmd") & exit
