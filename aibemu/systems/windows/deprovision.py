"""The Windows deprovision script: put into place first, overwritten by who wants to, printed and run last.

Order and texts: facts, service 4.5 and 5; windows 6. In the service a script that is not there, or does nothing, ends
with 0, and the image comes up nowhere. Here the step fails when Windows itself says that it is not generalised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aibemu.customizers import Description, Guest, Need, Outcome, StepSettings
from aibemu.customizers.windows.names import fresh_names
from aibemu.customizers.windows.script import Script, inline_content, run_script
from aibemu.customizers.windows.texts import packaged, with_mark

DEPROVISION_PATH = r"C:\DeprovisioningScript.ps1"
# The line that people look for in the script and replace, for instance to add /mode:vm.
SYSPREP = "Sysprep.exe /oobe /generalize /quiet /quit"
GENERALIZED = "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE"
# AIB's own words, as its log shows them.
SHOWN = (
    r"if( TEST-PATH c:\DeprovisioningScript.ps1 ){cat c:\DeprovisioningScript.ps1} else "
    r'{echo "Deprovisioning script [c:\DeprovisioningScript.ps1] could not be found. Image build may fail or the VM '
    "created from the Image may not boot. Please make sure the deprovisioning script is not accidentally deleted by a "
    'Customizer in the Template."}'
)
RUN = r"c:\DeprovisioningScript.ps1"
NOT_GENERALIZED = "aibemu: the image is not generalised: ImageState is"
# Ours, after the service's lines.
_PROOF = rf"""$code = $LASTEXITCODE
$state = (Get-ItemProperty HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State).ImageState
if ($state -ne '{GENERALIZED}') {{ [System.Console]::Error.WriteLine("{NOT_GENERALIZED} $state"); exit 1 }}
exit $code"""
FAILED = (
    f"its output is above; a customizer may have removed or replaced {DEPROVISION_PATH}, or Sysprep failed: "
    r"C:\Windows\System32\Sysprep\Panther\setuperr.log in the guest says why"
)


def default_script() -> str:
    """The script that is put into place."""
    return packaged("aibemu.systems.windows", "DeprovisioningScript.ps1")


def default_file() -> bytes:
    """The same as a file of the guest."""
    return with_mark(default_script().replace("\n", "\r\n"))


class Deprovision:
    """The hidden last step."""

    kind = "PowerShell"

    def __init__(self, settings: StepSettings) -> None:
        self.settings = settings
        self.local_name = f"/tmp/powershell-provisioner{settings.rng.randrange(10**8, 10**10)}"
        # Never Packer's newer wrapper: `exit` in the script would end the proof too.
        content = inline_content((SHOWN, RUN, _PROOF), wrapped=False)
        self.script = Script(names=fresh_names(settings.rng), content=content)

    def needs(self) -> Sequence[Need]:
        return ()

    def describe(self) -> Description:
        return Description(
            local_name=self.local_name, remote=self.script.names.script, command=self.script.command,
            lines=(SHOWN, RUN),
        )  # fmt: skip

    def inputs(self) -> object:
        return {"deprovision": default_script()}

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome:
        outcome = run_script(guest, self.script, self.settings, last=True)
        return replace(outcome, hint=FAILED) if outcome.error else outcome
