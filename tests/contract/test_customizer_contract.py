"""The built-in customizers against the contract that those of plugins pass."""

from __future__ import annotations

from aibemu.customizers import Customizer, StepSettings
from aibemu.customizers.file import File
from aibemu.customizers.shell import Shell
from aibemu.testing.customizer import CustomizerContract, step_spec


class TestShellInline(CustomizerContract):
    def new_step(self, settings: StepSettings) -> Customizer:
        return Shell(step_spec("Shell", inline=["echo one", "echo two"]), settings)


class TestShellScript(CustomizerContract):
    def new_step(self, settings: StepSettings) -> Customizer:
        return Shell(step_spec("Shell", scriptUri="https://example.com/setup.sh"), settings)


class TestFile(CustomizerContract):
    def new_step(self, settings: StepSettings) -> Customizer:
        return File(step_spec("File", sourceUri="index.html", destination="/tmp/index.html"), settings)
