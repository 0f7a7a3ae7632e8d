"""The WindowsRestart customizer, with the semantics of Packer's windows-restart (facts: provisioners 1.4).

Packer asks for a second restart to see whether the first one goes on, and cannot tell a machine that is back from one
that never went down. Here the boot time must have changed, and nothing waits longer than it has to.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.communicators import Stream
from aibemu.customizers import Description, Guest, Need, Outcome, Restart, StepSettings
from aibemu.errors import Expired
from aibemu.template.model import StepSpec
from aibemu.template.rules.durations import seconds

COMMAND = 'shutdown /r /f /t 0 /c "packer restart"'
TIMEOUT = "5m"
# Done; "a system shutdown is in progress"; "a system shutdown has already been scheduled".
ACCEPTED = (0, 1115, 1190)
# Says that PowerShell works again, modules included, in Packer's words.
PROBE = "powershell -executionpolicy bypass -Command \"'{0} restarted.' -f [System.Net.Dns]::GetHostName()\""
TIMED_OUT = "Timeout waiting for machine to restart."
# Seconds: for an answer of a machine that may be away, before scaling; between two tries.
_ANSWER = 15.0
_AGAIN = 1.0


class WindowsRestart:
    """One WindowsRestart step."""

    def __init__(self, spec: StepSpec, settings: StepSettings) -> None:
        self.command = str(spec.options.get("restartCommand") or COMMAND)
        self.check = str(spec.options.get("restartCheckCommand") or "") or None
        self.timeout = str(spec.options.get("restartTimeout") or TIMEOUT)

    def needs(self) -> Sequence[Need]:
        return ()

    def describe(self) -> Description:
        return Description(local_name="", remote="", command=self.command)

    def inputs(self) -> object:
        return {"restart": self.command, "check": self.check, "timeout": self.timeout}

    def would(self) -> Sequence[str]:
        checked = f", and has run: {self.check}" if self.check else ""
        return [
            f"restart Windows by: {self.command}",
            f"wait at most {self.timeout} until it is up again, with another boot time{checked}",
        ]

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome:
        bound = seconds(self.timeout)
        if bound is None:
            why = f"restartTimeout {self.timeout!r} is not a duration"
            return Outcome(exit_code=None, error=why, hint="a number and a unit each: 90s, 10m, 1h30m")
        guest.say("Waiting for machine to restart...")
        done = guest.restart(self.command, None, bound, accept=ACCEPTED)
        if failed := why_not_restarted(guest, done, self.timeout):
            return failed
        rest = guest.deadline.within(bound * guest.deadline.slowness - done.seconds, scaled=False)
        return self._finish(guest, rest)

    def after_restart(self, guest: Guest) -> Outcome:
        """The check again, for it may change the machine; templates have it write a file."""
        return self._finish(guest, guest.deadline.within(seconds(self.timeout) or 0.0))

    def _finish(self, guest: Guest, rest: Deadline) -> Outcome:
        try:
            warnings = self._check(guest, rest)
            _await_powershell(guest, rest)
        except Expired:
            guest.deadline.check()
            why = f"{TIMED_OUT} (it has restarted, and {'restartCheckCommand or ' if self.check else ''}PowerShell "
            error = f"{why}did not answer within {self.timeout})"
            return Outcome(exit_code=None, error=error, hint="a longer restartTimeout")
        guest.say("Machine successfully restarted, moving on")
        return Outcome(exit_code=0, warnings=warnings)

    def _check(self, guest: Guest, bound: Deadline) -> tuple[str, ...]:
        """Until it has run, whatever it ends with: Packer looks at no more."""
        if self.check is None:
            return ()
        while (status := guest.communicator.run(self.check, deadline=bound, on_line=guest.on_line)).disconnected:
            _reconnect(guest, bound)
        if status.ok:
            return ()
        return (
            f"restartCheckCommand ended with {status.code}: Packer, and so the service, only waits until it has run; "
            "to wait for something, let it loop until that is there",
        )


def why_not_restarted(
    guest: Guest, done: Restart, timeout: str, *, accepted: Collection[int] = ACCEPTED
) -> Outcome | None:
    """How a step ends whose machine did not restart; None when it did."""
    code = done.command.code
    if code is not None and code not in accepted:
        return Outcome(exit_code=code, error=f"Restart script exited with non-zero exit status: {code}")
    if done.restarted:
        return None
    if code is not None and _answers(guest):
        error = f"{TIMED_OUT} (the machine answers, and its boot time is the same: it never went down in {timeout})"
        return Outcome(
            exit_code=code, error=error, hint="does restartCommand restart the machine? A longer restartTimeout?"
        )
    error = f"{TIMED_OUT} (it went down, or hangs, and did not answer again within {timeout})"
    return Outcome(exit_code=code, error=error, hint="installing updates may take longer: a longer restartTimeout")


def _answers(guest: Guest) -> bool:
    try:
        return guest.communicator.run("cd .", deadline=guest.deadline.within(_ANSWER)).ok
    except Expired:
        guest.deadline.check()
        return False


def _await_powershell(guest: Guest, bound: Deadline) -> None:
    while True:
        status, said = guest.communicator.output(PROBE, deadline=bound)
        if status.ok and "restarted." in said:
            guest.on_line(Stream.STDOUT, said.strip())
            return
        if status.disconnected:
            _reconnect(guest, bound)
        else:
            bound.sleep(_AGAIN)


def _reconnect(guest: Guest, bound: Deadline) -> None:
    bound.sleep(_AGAIN)
    try:
        guest.communicator.reconnect(bound)
    except OSError:
        # It is asked again: this is what is waited for.
        return
