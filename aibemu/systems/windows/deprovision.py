"""The Windows deprovision script: put into place first, overwritten by who wants to, printed and run last.

Order and texts: facts, service 4.5 and 5; windows 6. In the service a script that is not there, or does nothing, ends
with 0, and the image comes up nowhere; one that waits for what never comes ends with the build's time. Here the step
fails when Windows itself says that it is not generalised, says why, and has a time of its own (sysprep_timeout).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.communicators import OnLine, Stream, cut_of, unfinished_of
from aibemu.customizers import (
    PACKER_ENVIRONMENT,
    Description,
    Guest,
    Need,
    Outcome,
    StepSettings,
    ended_badly,
)
from aibemu.customizers.windows.names import fresh_names
from aibemu.customizers.windows.running import DISCONNECTED, put, remove
from aibemu.customizers.windows.script import Script, inline_content
from aibemu.customizers.windows.texts import assignments, filled, packaged, with_mark
from aibemu.errors import Expired
from aibemu.images.windows import GENERALIZED
from aibemu.systems.windows.sysprep import cause, fetch_logs

DEPROVISION_PATH = r"C:\DeprovisioningScript.ps1"
# The line that people look for in the script and replace, for instance to add /mode:vm.
SYSPREP = "Sysprep.exe /oobe /generalize /quiet /quit"
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
# Seconds, before scaling: how long an agent that is there is waited for; how long a Sysprep must be gone to be over.
AGENT_SECONDS, GONE_SECONDS = 300, 60
_LOST = "the connection was lost while the script ran"
_LOST_HINT = (
    "the script must leave the machine on, and WinRM alone: Sysprep.exe with /quit, no /shutdown, no /reboot, no "
    "restart of its own"
)
_DELETED = f"{DEPROVISION_PATH} is gone"
_DELETED_HINT = r"a customizer deleted it, for instance by Remove-Item C:\* (W40): leave it where it is"
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

    def would(self) -> Sequence[str]:
        minutes = self.settings.sysprep_timeout / 60
        return [f"run as the build user: {line}" for line in (SHOWN, RUN)] + [
            f"wait at most {minutes:g} minutes until Sysprep is done"
        ]

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome:
        names, watching = self.script.names, Watching(guest.on_line, guest.say)
        environment = with_mark(assignments(PACKER_ENVIRONMENT) + "\n" + around(watching.mark, guest.deadline))
        if failed := put(guest, [(names.environment, environment), (names.script, self.script.content)]):
            return replace(failed, hint=FAILED)
        bound = guest.deadline.within(self.settings.sysprep_timeout)
        try:
            status = guest.communicator.run(self.script.command, deadline=bound, on_line=watching)
        except Expired:
            guest.deadline.check()
            seconds = self.settings.sysprep_timeout * guest.deadline.slowness
            return self._failed(guest, watching, None, f"it did not end within {seconds / 60:.0f} minutes")
        if status.disconnected:
            return Outcome(exit_code=DISCONNECTED, error=_LOST, lost=True, hint=_LOST_HINT)
        if error := ended_badly(status, (0,)):
            return self._failed(guest, watching, status.code, error)
        remove(guest, (names.environment, names.script))
        return Outcome(exit_code=status.code, warnings=watching.warnings())

    def _failed(self, guest: Guest, watching: Watching, code: int | None, error: str) -> Outcome:
        """With what Sysprep's logs say of it: kept with the run, and their last lines shown."""
        if watching.deleted:
            guest.on_line(Stream.STDERR, _DELETED)
            return Outcome(exit_code=code, error=f"{error}: {_DELETED}", hint=_DELETED_HINT)
        logs = fetch_logs(guest.communicator, guest.deadline)
        saved = tuple(
            f"saved: {guest.keep(f'{name}.log', chr(10).join(lines))}" for name, lines in sorted(logs.lines.items())
        )
        found = cause(logs)
        for line in (*logs.last, found.why):
            guest.on_line(Stream.STDERR, line)
        return Outcome(
            exit_code=code, error=f"{error}: {found.why}", details=(*filter(None, (logs.trouble,)), *saved),
            hint=found.fix, warnings=watching.warnings(),
        )  # fmt: skip


class Watching:
    """An `aibemu.communicators.OnLine` that passes the script's lines on, and hears what `last_step.ps1` says."""

    def __init__(self, on_line: OnLine, say: Callable[[str], None]) -> None:
        # No script can guess it.
        self.mark = f"AIBEMU-LAST-{secrets.token_hex(8)}"
        # The script was not there.
        self.deleted = False
        self._on_line, self._say = on_line, say
        self._agents: list[str] = []

    def __call__(self, stream: Stream, line: str) -> None:
        if not line.startswith(self.mark):
            self.deleted = self.deleted or line.startswith("Deprovisioning script [")
            self._on_line(stream, line)
            return
        kind, *rest = line.removeprefix(self.mark).split()
        if kind == "agent":
            self._agents += rest
            self._say(f"aibemu: the script waits for {rest[0]}, which does not run here: told it that it runs")
        elif kind == "state":
            self._say(f"aibemu: ImageState is {' '.join(rest[1:]) or 'not set'} after {rest[0]} s")
        elif kind == "over":
            self._say(f"aibemu: Sysprep has ended, and ImageState is {' '.join(rest) or 'not set'}")

    def unfinished(self, stream: Stream, text: str) -> None:
        """See `aibemu.communicators.unfinished_of`."""
        show = unfinished_of(self._on_line)
        if show is not None and not (text and self.mark.startswith(text[: len(self.mark)])):
            show(stream, text)

    def cut(self, text: str, most: int) -> int:
        """See `aibemu.communicators.cut_of`."""
        return cut_of(self._on_line)(text, most)

    def warnings(self) -> tuple[str, ...]:
        """What people are told of a step that ended well."""
        if not self._agents:
            return ()
        return (
            f"the script waits for {' and '.join(dict.fromkeys(self._agents))}, as Azure's agents run in the service; "
            "aibemu said that they run. Elsewhere it would wait for ever",
        )


def around(mark: str, deadline: Deadline) -> str:
    """What runs around the script: see last_step.ps1."""
    values = {
        "MARK": mark, "GENERALIZED": GENERALIZED, "AGENT_SECONDS": math.ceil(AGENT_SECONDS * deadline.slowness),
        "GONE_SECONDS": math.ceil(GONE_SECONDS * deadline.slowness),
    }  # fmt: skip
    return filled(packaged("aibemu.systems.windows", "last_step.ps1"), values)
