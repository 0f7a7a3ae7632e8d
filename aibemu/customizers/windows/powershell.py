"""The PowerShell customizer and validator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aibemu.customizers import Description, Guest, Need, Outcome, StepSettings, run_in_it
from aibemu.customizers.windows.names import fresh_names
from aibemu.customizers.windows.script import WRAPPED, Account, Script, inline_content, run_script
from aibemu.reading import read_bytes
from aibemu.template.model import StepSpec
from aibemu.text import counted

_WHO = {
    Account.USER: "as the build user", Account.ELEVATED: "as the build user, by a scheduled task with highest rights",
    Account.SYSTEM: "as Local System, by a scheduled task",
}  # fmt: skip
# Bytes of a script, which is held in memory: some carry an archive behind their text.
LARGEST = 64 << 20


class PowerShell:
    """One PowerShell step. A script that was downloaded is put into the guest byte for byte, as Packer does."""

    def __init__(self, spec: StepSpec, settings: StepSettings) -> None:
        self.spec = spec
        self.settings = settings
        self.lines: tuple[str, ...] = tuple(spec.options.get("inline") or ())
        self.uri: str | None = spec.options.get("scriptUri") or None
        self.names = fresh_names(settings.rng)
        self.local_name = (
            f"/tmp/{settings.log_id}.{spec.index}.customizer.fp"
            if self.uri
            else f"/tmp/powershell-provisioner{settings.rng.randrange(10**8, 10**10)}"
        )

    def needs(self) -> Sequence[Need]:
        if self.uri is None:
            return ()
        return (Need(uri=self.uri, sha256=self.spec.options.get("sha256Checksum") or None, limit=LARGEST),)

    def describe(self) -> Description:
        return Description(
            local_name=self.local_name, remote=self.names.script, command=self._script(b"").command,
            lines=self.lines or None, source=self.uri,
        )  # fmt: skip

    def inputs(self) -> object:
        return {
            "inline": list(self.lines), "account": self.account.value, "valid": list(self.valid),
            "wrapped": self.wrapped, "reboot": self.settings.reboot_in_shell,
        }  # fmt: skip

    def would(self) -> Sequence[str]:
        what = self.uri or f"{counted(len(self.lines), 'inline line')} as one script"
        codes = ", ".join(map(str, self.valid))
        return [
            f"put {what} at {self.names.script}", f"run {_WHO[self.account]}: {self._script(b'').command}",
            *run_in_it(self.lines), f"take any exit code but {codes} for a failure",
        ]  # fmt: skip

    @property
    def account(self) -> Account:
        """runAsSystem is nothing without runElevated, as in the service."""
        if not self.spec.options.get("runElevated"):
            return Account.USER
        return Account.SYSTEM if self.spec.options.get("runAsSystem") else Account.ELEVATED

    @property
    def valid(self) -> tuple[int, ...]:
        return tuple(self.spec.options.get("validExitCodes") or (0,))

    @property
    def wrapped(self) -> bool:
        """Packer's newer wrapper is around inline lines only."""
        return self.uri is None and self.settings.powershell_wrapper == WRAPPED

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome:
        content = read_bytes(files[0], limit=LARGEST) if self.uri else inline_content(self.lines, wrapped=self.wrapped)
        return run_script(guest, self._script(content), self.settings)

    def _script(self, content: bytes) -> Script:
        return Script(
            names=self.names, content=content, account=self.account, valid=self.valid, wrapped=self.wrapped
        )  # fmt: skip
