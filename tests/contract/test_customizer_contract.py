"""The built-in customizers against the contract that those of plugins pass."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aibemu.customizers import Customizer, StepSettings
from aibemu.customizers.file import File
from aibemu.customizers.shell import Shell
from aibemu.customizers.windows.powershell import PowerShell
from aibemu.customizers.windows.restart import WindowsRestart
from aibemu.customizers.windows.update import WindowsUpdate
from aibemu.testing.customizer import CustomizerContract, step_spec
from aibemu.testing.script import Rule


class TestShellInline(CustomizerContract):
    def new_step(self, settings: StepSettings) -> Customizer:
        return Shell(step_spec("Shell", inline=["echo one", "echo two"]), settings)


class TestShellScript(CustomizerContract):
    def new_step(self, settings: StepSettings) -> Customizer:
        return Shell(step_spec("Shell", scriptUri="https://example.com/setup.sh"), settings)


class TestFile(CustomizerContract):
    def new_step(self, settings: StepSettings) -> Customizer:
        return File(step_spec("File", sourceUri="index.html", destination="/tmp/index.html"), settings)


class TestPowerShellInline(CustomizerContract):
    def new_step(self, settings: StepSettings) -> Customizer:
        return PowerShell(step_spec("PowerShell", inline=["Get-Item C:/", "Get-Date"]), settings)


class TestPowerShellScriptAsSystem(CustomizerContract):
    def new_step(self, settings: StepSettings) -> Customizer:
        options = {"scriptUri": "https://example.com/setup.ps1", "runElevated": True, "runAsSystem": True}
        return PowerShell(step_spec("PowerShell", **options), settings)


class TestWindowsRestart(CustomizerContract):
    def new_step(self, settings: StepSettings) -> Customizer:
        return WindowsRestart(step_spec("WindowsRestart", restartCheckCommand="echo up"), settings)

    def answers(self) -> Sequence[Rule]:
        return (
            Rule(match=re.compile("shutdown"), reboot=True),
            Rule(match=re.compile("GetHostName"), stdout=("pkrvm restarted.",)),
        )


class TestWindowsUpdate(CustomizerContract):
    def new_step(self, settings: StepSettings) -> Customizer:
        return WindowsUpdate(step_spec("WindowsUpdate", filters=["include:$true"]), settings)
